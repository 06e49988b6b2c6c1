//! A live engine: one flow of many is edited, many schedules are due in one second, many triggers
//! are armed and nothing happens. The engine is its own process.
//!
//! `cargo bench --bench live -- --flows 10000`
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/figures.rs"]
mod figures;

use std::path::Path;
use std::time::{Duration, Instant};

use engine::Engine;
use figures::{flag, median};
use jiff::Timestamp;
use postrider::app::{read_address, read_token};
use serde_json::Value;

fn main() {
    let flows = flag("--flows", 10_000) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let few = edits(10).await;
        let many = edits(flows).await;
        println!("an edit among {flows} flows takes {:.1} times as long as one among 10", many / few);
        due_at_once(flows).await;
        idle(1_000).await;
        at_rest(1_000).await;
        at_rest(flows).await;
    });
}

fn workspace(flows: usize, flow: impl Fn(usize) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("flows")).expect("a folder");
    for number in 0..flows {
        write(folder.path(), number, &flow(number));
    }
    folder
}

fn write(folder: &Path, number: usize, flow: &str) {
    std::fs::write(folder.join(format!("flows/flow-{number}.yaml")), flow).expect("a flow");
}

/// From the end of the write to the first answer by the new text, in milliseconds: the median.
async fn edits(flows: usize) -> f64 {
    let flow = |number: usize, text: &str| {
        format!(
            "triggers:\n  - webhook: {{ path: /f/{number}, respond: result }}\n  - cron: \"0 3 * * *\"\nrun: '\"{text}\"'\n"
        )
    };
    let folder = workspace(flows, |number| flow(number, "old"));
    let engine = Engine::start(folder.path());
    let client = postrider::transport::client(Duration::from_secs(60)).expect("a client");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = engine.cpu();
    let mut times = Vec::new();
    for round in 0..15 {
        let number = round * 7 % flows;
        let text = format!("new {round}");
        write(folder.path(), number, &flow(number, &text));
        let written = Instant::now();
        let wanted = format!("\"{text}\"");
        loop {
            let url = format!("http://{}/hooks/f/{number}", engine.public);
            let answer = client.post(url).send().await.expect("an answer").text().await.expect("a text");
            if answer == wanted {
                break;
            }
            assert!(written.elapsed() < Duration::from_secs(10), "the edit does not come through: {answer}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(written.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let most = times.iter().copied().fold(0.0, f64::max);
    let cpu = (engine.cpu() - cpu).as_secs_f64() * 1e3 / 15.0;
    let middle = median(times);
    println!(
        "{flows} flows: ready after {:?}, an edit is live after {middle:.0} ms (most {most:.0}; 60 of it wait for quiet), {cpu:.0} ms of CPU, {} MiB resident",
        engine.ready_after,
        engine.memory("VmRSS") >> 20
    );
    engine.stop();
    middle
}

/// Many schedules are due at the same second.
async fn due_at_once(flows: usize) {
    let at = Timestamp::from_second(Timestamp::now().as_second() + 15).expect("a time");
    let flow = |number: usize| format!("triggers:\n  - at: {at}\nrun: send_text(\"+1541{:07}\", \"now\")\n", number);
    let folder = workspace(flows, flow);
    let engine = Engine::start(folder.path());
    let token = read_token(folder.path()).expect("a token");
    let admin = read_address(folder.path()).expect("an address").admin;
    let client = postrider::transport::client(Duration::from_secs(60)).expect("a client");
    let get = async |path: &str| -> Value {
        let url = format!("http://{admin}/api/v1{path}");
        let answer = client.get(url).bearer_auth(token.reveal()).send().await.expect("an answer");
        serde_json::from_str(&answer.text().await.expect("a text")).expect("JSON")
    };
    let left = at.duration_since(Timestamp::now());
    println!(
        "{flows} schedules: ready after {:?}, {:.1} s before they are due",
        engine.ready_after,
        left.as_secs_f64()
    );
    tokio::time::sleep(left.unsigned_abs() + Duration::from_secs(5)).await;
    let (mut accepted, mut finished) = (Vec::new(), Vec::new());
    let mut after = String::new();
    loop {
        let page = get(&format!("/runs?state=succeeded&limit=1000{after}")).await;
        for run in page["runs"].as_array().expect("runs") {
            let late = |field: &str| {
                let time: Timestamp = run[field].as_str().expect("a time").parse().expect("a time");
                time.duration_since(at).as_millis_f64()
            };
            accepted.push(late("created_at"));
            finished.push(late("finished_at"));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(accepted.len(), flows, "each is a run");
    let most = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    println!(
        "{flows} schedules due in one second: the last run began {:.0} ms late and had ended {:.0} ms after the due time (median {:.0})",
        most(&accepted),
        most(&finished),
        median(finished.clone())
    );
    engine.stop();
}

/// Nothing to do: what flows hold that have a webhook, a cron line and a script of their own each.
async fn at_rest(flows: usize) {
    let flow = |number: usize| {
        let triggers = format!("  - webhook: /orders/{number}\n  - cron: \"{} 3 * * MON-FRI\"\n", number % 60);
        format!("triggers:\n{triggers}script: flow-{number}.rhai\n")
    };
    let folder = workspace(flows, flow);
    std::fs::create_dir_all(folder.path().join("scripts")).expect("a folder");
    for number in 0..flows {
        let script = format!(
            "let order = event.body;\nif order.total > {number} {{\n  send_text(order.phone, `Thank you, ${{order.name}}`);\n}}\n"
        );
        std::fs::write(folder.path().join(format!("scripts/flow-{number}.rhai")), script).expect("a script");
    }
    for start in ["first", "second"] {
        let engine = Engine::start(folder.path());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mebibytes = |what: &str| engine.memory(what) as f64 / f64::from(1 << 20);
        println!(
            "{flows} flows at rest, {start} start: ready after {:?}, {:.1} MiB resident, {:.1} of them anonymous",
            engine.ready_after,
            mebibytes("VmRSS"),
            mebibytes("RssAnon")
        );
        engine.stop();
    }
}

/// Nothing to do, with triggers of all kinds armed.
async fn idle(flows: usize) {
    let flow = |number: usize| {
        let trigger = match number % 4 {
            0 => format!("webhook: /orders/{number}"),
            1 => format!("cron: \"{} 3 * * MON-FRI\"", number % 60),
            2 => "every: 6h".to_owned(),
            _ => format!("watch: \"inbox/{number}/*.csv\""),
        };
        format!("triggers:\n  - {trigger}\nrun: |\n  send_text(\"+15417543010\", `Thank you ${{event.trigger}}`);\n")
    };
    let folder = workspace(flows, flow);
    for number in (3..flows).step_by(4) {
        std::fs::create_dir_all(folder.path().join(format!("inbox/{number}"))).expect("a folder");
    }
    for start in ["first", "second"] {
        let engine = Engine::start(folder.path());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu = engine.cpu();
        tokio::time::sleep(Duration::from_secs(20)).await;
        println!(
            "idle with {flows} flows with triggers, {start} start: ready after {:?}, {:.1} MiB resident, {:.1} ms of CPU a second",
            engine.ready_after,
            engine.memory("VmRSS") as f64 / f64::from(1 << 20),
            (engine.cpu() - cpu).as_secs_f64() * 1e3 / 20.0
        );
        engine.stop();
    }
}
