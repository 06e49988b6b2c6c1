//! The dashboard over a state that has grown for a long time: how long each page and list takes, and what
//! somebody who watches an engine at rest costs. The engine is its own process.
//!
//! `cargo bench --bench pages -- --runs 100000` (ten messages for each)
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/filling.rs"]
mod filling;

use std::path::Path;
use std::time::{Duration, Instant};

use engine::Engine;
use figures::{flag, median};
use postrider::app::{read_address, read_token};
use serde_json::{Value, json};

/// Ten messages, or a failure.
const FLOW: &str = r##"description: Tells ten people
triggers:
  - webhook: /tell
  - cron: "0 3 * * *"
run: |
  for number in 0..10 {
    send_text(`+1541754${3010 + number}`, `Your parcel ${event.body.parcel} is on its way.`);
  }
  sleep("0s");
  if event.body.parcel % 50 == 0 {
    throw "no such parcel"
  }
  event.body.parcel
"##;
/// Runs that are really made; the others are copies of them.
const REAL: usize = 100;
const PERSON: &str = "+15412000007";

fn main() {
    let runs = flag("--runs", 100_000) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(show(runs));
}

/// The engine's private side, and whoever asks it.
struct Visitor {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Visitor {
    fn of(folder: &Path) -> Self {
        let base = format!("http://{}", read_address(folder).expect("an address").admin);
        let token = read_token(folder).expect("a token").reveal().to_owned();
        Self { client: postrider::transport::client(Duration::from_secs(60)).expect("a client"), base, token }
    }

    fn ask(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.ask(path).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        assert!(status.is_success(), "{path}: {status} {text}");
        text
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).expect("JSON")
    }
}

async fn show(runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("flows")).expect("a folder");
    std::fs::write(folder.path().join("flows/tell.yaml"), FLOW).expect("a flow");
    let engine = Engine::start(folder.path());
    let visitor = Visitor::of(folder.path());
    for parcel in 1..=REAL {
        let url = format!("http://{}/hooks/tell", engine.public);
        let request = visitor.client.post(url).header("content-type", "application/json");
        request.body(json!({ "parcel": parcel }).to_string()).send().await.expect("an answer");
    }
    for open in ["/api/v1/runs?state=queued,running,waiting", "/api/v1/messages?state=queued,sending,scheduled"] {
        while visitor.json(open).await["next"].is_string() || visitor.text(open).await.contains("\"id\"") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    engine.stop();
    filling::fill(&folder.path().join(".postrider/state.db"), runs);

    let engine = Engine::start(folder.path());
    let visitor = Visitor::of(folder.path());
    println!("{runs} runs, {} messages: ready after {:?}", runs * 10, engine.ready_after);
    times(&visitor).await;
    rest(&engine, &visitor).await;
    engine.stop();
}

/// Each page and list, first and later.
async fn times(visitor: &Visitor) {
    let run =
        visitor.json("/api/v1/runs?limit=1&state=failed").await["runs"][0]["id"].as_str().expect("an id").to_owned();
    let mut paths: Vec<String> = [
        "/",
        "/flows",
        "/flows/tell",
        "/runs",
        "/runs?state=failed",
        "/runs?state=waiting",
        "/runs?flow=tell&state=succeeded",
        "/runs?q=nothing-is-like-that",
        "/incoming",
        "/messages",
        "/messages?state=unknown",
        "/messages?state=delivered",
        "/messages?q=nothing-is-like-that",
        "/messages?flow=tell",
        "/schedule",
        "/accounts",
        "/phones",
        "/metrics",
        "/api/v1/runs?counts=true",
        "/api/v1/messages?counts=true",
        "/api/v1/stats",
        "/api/v1/activity",
        "/api/v1/people",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend([format!("/runs/{run}"), format!("/people/{PERSON}"), format!("/messages?q={PERSON}")]);
    // Far down in both lists.
    for list in ["runs", "messages"] {
        let mut after = String::new();
        for _ in 0..20 {
            let page = visitor.json(&format!("/api/v1/{list}?limit=1000{after}")).await;
            after = format!("&after={}", page["next"].as_str().expect("more"));
        }
        paths.push(format!("/api/v1/{list}?limit=100{after}"));
    }
    println!("{:<64} {:>9} {:>9} {:>9} {:>9}", "ms, goal 100", "first", "median", "most", "kB");
    for path in paths {
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..9 {
            let begun = Instant::now();
            size = visitor.text(&path).await.len();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let most = times.iter().copied().fold(0.0, f64::max);
        println!("{path:<64} {:>9.1} {:>9.1} {most:>9.1} {:>9}", times[0], median(times.clone()), size / 1000);
    }
}

/// An engine with nothing to do, without and with somebody who has its overview open.
async fn rest(engine: &Engine, visitor: &Visitor) {
    let spent = async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let cpu = engine.cpu();
        tokio::time::sleep(Duration::from_secs(20)).await;
        (engine.cpu() - cpu).as_secs_f64() * 100.0 / 20.0
    };
    let alone = spent().await;
    let page = visitor.text("/").await;
    let mark = page.split("data-feed=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a mark");
    let mut listener = visitor.ask(&format!("/api/v1/events?after={mark}")).send().await.expect("an answer");
    let listens = tokio::spawn(async move { while let Ok(Some(_)) = listener.chunk().await {} });
    let watched = spent().await;
    listens.abort();
    println!("at rest: {alone:.2} % of a core; with the overview open: {watched:.2} % (goal: under 1)");
    println!("{:.1} MiB resident", engine.memory("VmRSS") as f64 / f64::from(1 << 20));
}
