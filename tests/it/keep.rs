//! What is over goes when it is old enough (`keep:`); what waits stays.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::json;

use crate::support::engine::House;
use crate::support::until;

const HOUR: Duration = Duration::from_secs(3600);
/// A little more than it takes until somebody looks.
const LOOK: Duration = Duration::from_secs(601);

const QUICK: &str = "triggers:\n  - webhook: /quick\nrun: send_text(\"+15417543010\", \"hi\")\n";
const SLOW: &str =
    "triggers:\n  - webhook: /slow\nrun: |\n  send_text(\"+15417543010\", \"wait\");\n  sleep(\"30d\");\n  1\n";
const MINUTES: &str = "triggers:\n  - every: 15m\nrun: 1\n";

async fn run_of(house: &House, hook: &str) -> String {
    house.hook(hook, &json!({})).await.1["run"].as_str().unwrap().to_owned()
}

async fn is_gone(house: &House, path: &str) {
    until(&format!("{path} to be gone"), async || (house.api(Method::GET, path, None).await.0 == 404).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_when_it_is_old_enough_and_what_waits_stays() {
    let files = [
        ("postrider.yaml", "keep: { runs: 1h, messages: 3h }\n"),
        ("flows/quick.yaml", QUICK),
        ("flows/slow.yaml", SLOW),
        ("flows/minutes.yaml", MINUTES),
    ];
    let house = House::open(&files).await;
    let (quick, slow) = (run_of(&house, "/quick").await, run_of(&house, "/slow").await);
    house.run_is(&quick, "succeeded").await;
    house.run_is(&slow, "waiting").await;
    let messages = house.messages_are(2, "delivered").await;
    let id = |run: &str| messages.iter().find(|message| message["run"] == run).unwrap()["id"].as_str().unwrap();
    house.pass(HOUR / 2);
    until("an occurrence", async || (!house.fates_of("minutes").await.is_empty()).then_some(())).await;
    let first = house.fates_of("minutes").await[0].clone();
    house.pass(HOUR / 2 + LOOK);
    is_gone(&house, &format!("/runs/{quick}")).await;
    assert_eq!(house.get("/messages").await["messages"].as_array().unwrap().len(), 2, "messages are kept for longer");
    house.pass(2 * HOUR + LOOK);
    is_gone(&house, &format!("/messages/{}", id(&quick))).await;
    until("the first occurrence to go", async || (!house.fates_of("minutes").await.contains(&first)).then_some(()))
        .await;
    // However old it is, a run that waits is there with all that it promised.
    house.run_is(&slow, "waiting").await;
    assert_eq!(house.get(&format!("/messages/{}", id(&slow))).await["state"], "delivered");
    house.pass(HOUR * 24 * 30);
    house.run_is(&slow, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_count_at_once() {
    let house = House::open(&[("flows/quick.yaml", QUICK)]).await;
    let quick = run_of(&house, "/quick").await;
    house.run_is(&quick, "succeeded").await;
    house.messages_are(1, "delivered").await;
    house.pass(HOUR);
    house.run_is(&quick, "succeeded").await;
    house.write("postrider.yaml", "keep: { runs: 30m }\n");
    is_gone(&house, &format!("/runs/{quick}")).await;
    assert_eq!(house.get("/messages").await["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_file_goes_with_the_last_message_that_has_it() {
    let send = "triggers:\n  - webhook: /quick\nrun: send_file(\"+15417543010\", \"files/a.txt\")\n";
    let house = House::open(&[
        ("postrider.yaml", "keep: { runs: 1h, messages: 1h }\n"),
        ("flows/quick.yaml", send),
        ("files/a.txt", "some words"),
    ])
    .await;
    let run = run_of(&house, "/quick").await;
    house.run_is(&run, "succeeded").await;
    house.messages_are(1, "delivered").await;
    let folder = house.folder.path().join(".postrider/blobs");
    let copies = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let taken = copies();
    assert_eq!(taken.len(), 1);
    // One that nothing hangs on may belong to a turn that is under way, if it is new.
    let (stray, fresh) = (folder.join("e".repeat(64)), folder.join("f".repeat(64)));
    std::fs::write(&stray, "left by a crash").unwrap();
    std::fs::write(&fresh, "just taken").unwrap();
    for old in taken.iter().chain([&stray]) {
        let file = std::fs::File::options().write(true).open(old).unwrap();
        file.set_modified(SystemTime::now() - HOUR * 48).unwrap();
    }
    house.pass(LOOK);
    until("the stray copy to go", async || (!stray.exists()).then_some(())).await;
    assert!(taken[0].exists(), "a message has it");
    house.pass(HOUR + LOOK);
    until("the copy to go", async || (!taken[0].exists()).then_some(())).await;
    assert_eq!(copies(), [fresh]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_too_large_lets_go_of_the_oldest() {
    let house = House::open(&[
        ("postrider.yaml", "keep: { size: 4MiB }\n"),
        ("flows/large.yaml", "triggers:\n  - webhook: /large\nrun: 1\n"),
        ("flows/slow.yaml", SLOW),
    ])
    .await;
    let slow = run_of(&house, "/slow").await;
    house.run_is(&slow, "waiting").await;
    let large = json!({ "text": "x".repeat(400 << 10) });
    let mut runs = Vec::new();
    for _ in 0..16 {
        let run = house.hook("/large", &large).await.1["run"].as_str().unwrap().to_owned();
        house.run_is(&run, "succeeded").await;
        house.pass(Duration::from_secs(1));
        runs.push(run);
    }
    house.pass(LOOK);
    is_gone(&house, &format!("/runs/{}", runs[0])).await;
    until("most of the rest to be let go", async || {
        let left = house.runs_of("large").await;
        (left.len() < 10).then_some(left)
    })
    .await;
    let left: Vec<_> = house.runs_of("large").await.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    assert!(!left.is_empty() && left == runs[runs.len() - left.len()..], "the newest stay: {left:?}");
    house.run_is(&slow, "waiting").await;
}
