//! Scripts that call other servers: many calls in a row, and many runs that wait for a slow server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::house::{House, LONGEST};
use crate::posts::{self, Post};
use crate::row;

const SETTINGS: &str = "http: { allow: [\"127.0.0.1\"] }\n";
const LOOP: &str = r##"triggers:
  - webhook: /loop
run: |
  let good = 0;
  for number in 0..event.body.times {
    let answer = http::get(`${event.body.url}?number=${number}`);
    if answer.ok {
      good += 1;
    }
  }
  good
"##;
const SLOW: &str = r##"triggers:
  - webhook: /slow
run: |
  http::get(event.body.url, #{ expect: "2xx" }).status
"##;
/// How long the slow server takes.
const LATE: Duration = Duration::from_secs(3);

/// What the slow server sees.
#[derive(Default)]
struct Counts {
    /// Requests under way.
    open: AtomicUsize,
    /// The most there were of them.
    most: AtomicUsize,
    /// Requests that were answered.
    done: AtomicUsize,
}

/// So many calls in one script, then so many runs with one slow call each.
pub async fn show(gets: usize, slow: usize, connections: usize) {
    let (server, counts) = serve().await;
    let house = House::open(SETTINGS, &[("loop", LOOP), ("slow", SLOW)]);
    if gets > 0 {
        in_a_row(&house, server, gets).await;
    }
    if slow > 0 {
        at_once(&house, server, &counts, slow, connections).await;
    }
    house.stop();
}

async fn in_a_row(house: &House, server: SocketAddr, gets: usize) {
    let url = format!("http://{server}/fast");
    let client = postrider::transport::client(Duration::from_secs(60)).expect("a client");
    let begun = Instant::now();
    for number in 0..gets {
        let answer = client.get(format!("{url}?number={number}")).send().await.expect("an answer");
        answer.bytes().await.expect("a body");
    }
    let bare = begun.elapsed().as_secs_f64();
    let cpu = house.engine.cpu();
    house.post("/hooks/loop", &json!({ "url": url, "times": gets })).await;
    // The list shows no journal, which would take longer with each call.
    let run = loop {
        let mut page = house.get("/runs?flow=loop&limit=1").await;
        if page["runs"][0]["finished_at"].is_string() {
            break page["runs"][0].take();
        }
        assert!(begun.elapsed() < LONGEST, "the loop does not end: {page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let cpu = (house.engine.cpu() - cpu).as_secs_f64();
    let run = house.get(&format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
    assert_eq!(run["result"], json!(gets), "each call got its answer: {}", run["error"]);
    let time = |field: &str| -> Timestamp { text(&run[field]).parse().expect("a time") };
    let ours = time("finished_at").duration_since(time("created_at")).as_secs_f64();
    let each = ours * 1e3 / gets as f64;
    row(&format!("{gets} calls of http::get in one script"), &format!("{ours:.2} s, {each:.2} ms each"), "");
    row("  CPU of the engine", &format!("{cpu:.2} s"), "");
    row("  the same by a bare client, and the ratio", &format!("{bare:.2} s, {:.1}", ours / bare), "");
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

async fn at_once(house: &House, server: SocketAddr, counts: &Counts, runs: usize, connections: usize) {
    // Lists are read on a thread that stays for a while; it does not count among the new ones.
    house.get("/runs?limit=1").await;
    let before = house.threads();
    let begun = Instant::now();
    let body = json!({ "url": format!("http://{server}/slow") }).to_string();
    let slow = move |_: usize| Post { path: "/hooks/slow", signature: None, body: body.clone() };
    posts::all(house.engine.public, connections, runs, slow).await;
    let mut threads = house.threads();
    house.empty(&[("runs", "flow=slow&state=queued"), ("runs", "flow=slow&state=running")]).await;
    let waiting = house.rows("runs", "flow=slow&state=waiting", |_| ()).await;
    // The engine lets 128 requests at once go to one server; half of that is slow enough.
    let patience = LONGEST / 10 + LATE * u32::try_from(runs / 64).unwrap_or(u32::MAX);
    let done = || counts.done.load(Ordering::Relaxed);
    while done() < runs {
        threads = threads.max(house.threads());
        assert!(begun.elapsed() < patience, "only {} of {runs} runs have got their answers", done());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut succeeded = 0;
    while succeeded < runs {
        assert!(begun.elapsed() < patience, "only {succeeded} of {runs} runs have succeeded");
        succeeded = house.rows("runs", "flow=slow&state=succeeded", |_| ()).await;
    }
    let spent = begun.elapsed().as_secs_f64();
    let most = counts.most.load(Ordering::Relaxed);
    row(&format!("{runs} runs with a slow call: waiting together"), &waiting.to_string(), "");
    row("  threads of the engine before, and the most meanwhile", &format!("{before}, {threads}"), "the same");
    row("  all have succeeded", &format!("after {spent:.0} s, {most} calls at once"), "");
}

async fn late(State(counts): State<Arc<Counts>>) -> &'static str {
    let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
    counts.most.fetch_max(open, Ordering::Relaxed);
    tokio::time::sleep(LATE).await;
    counts.open.fetch_sub(1, Ordering::Relaxed);
    counts.done.fetch_add(1, Ordering::Relaxed);
    "at last"
}

/// Serves until the process ends.
async fn serve() -> (SocketAddr, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let router = Router::new().route("/fast", get(|| async { "at once" })).route("/slow", get(late));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = router.with_state(counts.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, counts)
}
