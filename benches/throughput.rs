//! The main job under load: webhook → durable run → script → durable message → gateway, against a
//! bare forwarder that stores nothing. Load, gateway, engine and forwarder share the machine, so
//! only the ratio means anything.
//!
//! `cargo bench --bench throughput -- --seconds 60 --rounds 5`; `--note 3000` makes each order as long as those that
//! shops send.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use support::engine::Engine;
use support::figures::{flag, median};
use support::gateway::{self, Count};
use support::load::{self, Outcome, Press};
use tokio::net::TcpListener;

const CONNECTIONS: usize = 64;

fn main() {
    // The forwarder is its own process, as the engine is.
    if let Some(gateway) = std::env::args().skip_while(|arg| arg != "--forward-to").nth(1) {
        return runtime().block_on(forward(gateway));
    }
    let seconds = Duration::from_secs(flag("--seconds", 10));
    let rounds = flag("--rounds", 3);
    runtime().block_on(async {
        let (address, count) = gateway::serve().await;
        let mut ratios = Vec::new();
        for round in 1..=rounds {
            let bare = forwarder(address, count.clone(), seconds).await;
            println!("round {round}: bare forwarder {:>8.0}/s", bare.delivered);
            let ours = engine(address, count.clone(), seconds).await;
            let ratio = ours.delivered / bare.delivered;
            println!("round {round}: ratio {ratio:.3}");
            ratios.push(ratio);
        }
        println!("median ratio of {rounds} rounds: {:.3}", median(ratios));
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads")
}

async fn press(target: SocketAddr, path: &str, count: Count, seconds: Duration) -> Outcome {
    let keep_up = Press::KeepUp { most_open: 1_000 };
    load::run(target, path, count.clone(), CONNECTIONS, Duration::from_secs(2), keep_up).await;
    load::run(target, path, count, CONNECTIONS, seconds, keep_up).await
}

async fn forwarder(gateway: SocketAddr, count: Count, seconds: Duration) -> Outcome {
    let mut child = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--forward-to", &gateway.to_string()])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the forwarder");
    let mut line = String::new();
    let mut output = tokio::io::BufReader::new(child.stdout.take().expect("its output"));
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut line).await.expect("its address");
    press(line.trim().parse().expect("an address"), "/hooks/orders", count, seconds).await
}

/// axum in, reqwest out, nothing between.
async fn forward(gateway: String) {
    type Out = (reqwest::Client, String);
    async fn pass(State((client, url)): State<Out>, body: Bytes) -> StatusCode {
        let sent = client.post(url).header("content-type", "application/json").body(body).send().await;
        let read = match sent {
            Ok(response) => response.bytes().await,
            Err(error) => Err(error),
        };
        if read.is_ok() { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY }
    }
    let client = postrider::transport::client(Duration::from_secs(60)).expect("a client");
    let url = format!("http://{gateway}/send/message");
    let router = Router::new().route("/hooks/orders", post(pass)).with_state((client, url));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("to serve");
}

async fn engine(gateway: SocketAddr, count: Count, seconds: Duration) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    workspace(folder.path(), gateway);
    let engine = Engine::start(folder.path());
    let before = count.arrived.load(Ordering::Relaxed);
    let outcome = press(engine.public, "/hooks/orders", count.clone(), seconds).await;
    let cpu = engine.cpu().as_secs_f64() * 1e6 / (count.arrived.load(Ordering::Relaxed) - before) as f64;
    let size = |name: &str| std::fs::metadata(folder.path().join(".postrider").join(name)).map_or(0, |file| file.len());
    println!(
        "         engine {:>8.0} webhooks/s, {:.0} delivered/s, {} open at the end; p50 {:?}, p99 {:?}, {} over {:?}",
        outcome.answered,
        outcome.delivered,
        outcome.backlog,
        outcome.percentile(50.0),
        outcome.percentile(99.0),
        outcome.slow.len(),
        load::SLOW,
    );
    println!(
        "         ready after {:?}; {cpu:.0} µs of CPU for each message; peak memory {} MiB, store {} MiB, log {} MiB",
        engine.ready_after,
        engine.memory("VmHWM") >> 20,
        size("state.db") >> 20,
        size("state.db-wal") >> 20,
    );
    for rate in [100, 400, 2_000] {
        calm(&engine, count.clone(), rate).await;
    }
    let log = engine.stop();
    let traffic = log.lines().find(|line| line.contains("commits=")).unwrap_or("no word about commits");
    println!("         {}", traffic.split("engine:").last().unwrap_or(traffic).trim());
    outcome
}

/// So many requests a second: times to the answer, and to the request that the gateway gets.
async fn calm(engine: &Engine, count: Count, rate: u64) {
    drop(count.times());
    let answers =
        load::run(engine.public, "/hooks/orders", count.clone(), 32, Duration::from_secs(5), Press::Rate(rate)).await;
    let times = count.times();
    let end = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    println!(
        "         at {rate}/s: answer p50 {:?}, p99 {:?}; in to out p50 {:?}, p99 {:?} ({} messages)",
        answers.percentile(50.0),
        answers.percentile(99.0),
        end(50).copied().unwrap_or_default(),
        end(99).copied().unwrap_or_default(),
        times.len(),
    );
}

fn workspace(folder: &Path, gateway: SocketAddr) {
    std::fs::create_dir_all(folder.join("flows")).expect("a folder");
    let flow = "triggers:\n  - webhook: /orders\nrun: |\n  let order = event.body;\n  send_text(order.customer.phone, `Thank you, ${order.customer.name}: order ${order.order} has arrived`);\n";
    std::fs::write(folder.join("flows/orders.yaml"), flow).expect("a flow");
    let settings = format!("accounts:\n  main: {{ transport: gowa, url: \"http://{gateway}\", pace: unlimited }}\n");
    std::fs::write(folder.join("postrider.yaml"), settings).expect("settings");
}
