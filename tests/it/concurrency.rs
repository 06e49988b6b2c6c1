//! Flows that limit how many of their runs are under way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::engine::House;
use crate::support::until;

fn flow(concurrency: &str) -> String {
    format!(
        "triggers:\n  - webhook: /in\nconcurrency: {concurrency}\nrun: |\n  send_text(\"+15417543010\", `begin ${{event.body.n}}`);\n  sleep(\"1m\");\n  if event.body.fails == true {{ throw \"no\"; }}\n  event.body.n\n"
    )
}

async fn begin(house: &House, body: Value) -> String {
    let (status, answer) = house.hook("/in", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["run"].as_str().unwrap().to_owned()
}

async fn waits_for(house: &House, run: &str) -> Option<String> {
    let run = house.get(&format!("/runs/{run}")).await;
    run["waiting_for"]["kind"].as_str().map(str::to_owned)
}

async fn is(house: &House, run: &str, kind: &str) {
    let what = format!("{run} to wait for {kind}");
    until(&what, async || (waits_for(house, run).await.as_deref() == Some(kind)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_stand_in_line_by_their_key_in_the_order_in_which_they_came() {
    let mut house = House::open(&[("flows/in.yaml", &flow("{ limit: 1, key: body.customer }"))]).await;
    let event = |customer: &str, n: u32| json!({ "customer": customer, "n": n, "fails": n == 2 });
    let mut ada = Vec::new();
    for n in 1..=4 {
        ada.push(begin(&house, event("ada", n)).await);
    }
    let bob = begin(&house, event("bob", 10)).await;
    let nobody = [begin(&house, json!({ "n": 20 })).await, begin(&house, json!({ "n": 21 })).await];
    is(&house, &ada[0], "time").await;
    is(&house, &bob, "time").await;
    is(&house, &nobody[0], "time").await;
    // What is missing is a value of its own, counted together.
    is(&house, &nobody[1], "slot").await;
    for run in &ada[1..] {
        is(&house, run, "slot").await;
        assert_eq!(house.get(&format!("/runs/{run}")).await["state"], "queued");
    }
    // One that leaves the line does not hold up the others; a crash changes nothing.
    house.messages_are(3, "delivered").await;
    house.post(&format!("/runs/{}/cancel", ada[2]), json!({})).await;
    house = house.crash().await;
    is(&house, &ada[1], "slot").await;
    house.pass(Duration::from_secs(61));
    house.run_is(&ada[0], "succeeded").await;
    is(&house, &ada[1], "time").await;
    is(&house, &ada[3], "slot").await;
    house.pass(Duration::from_secs(61));
    // Also one that fails makes room.
    house.run_is(&ada[1], "failed").await;
    is(&house, &ada[3], "time").await;
    house.pass(Duration::from_secs(61));
    house.run_is(&ada[3], "succeeded").await;
    house.run_is(&nobody[1], "succeeded").await;
    house.run_is(&ada[2], "cancelled").await;
    let messages = house.messages_are(6, "delivered").await;
    assert_eq!(messages.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_two_at_once() {
    let house = House::open(&[("flows/in.yaml", &flow("{ limit: 2 }"))]).await;
    let mut runs = Vec::new();
    for n in 0..5 {
        runs.push(begin(&house, json!({ "n": n })).await);
    }
    for under_way in [[0, 1], [2, 3]] {
        for place in under_way {
            is(&house, &runs[place], "time").await;
        }
        for run in &runs[under_way[1] + 1..] {
            is(&house, run, "slot").await;
        }
        house.pass(Duration::from_secs(61));
        for place in under_way {
            house.run_is(&runs[place], "succeeded").await;
        }
    }
    is(&house, &runs[4], "time").await;
    house.pass(Duration::from_secs(61));
    house.run_is(&runs[4], "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_is_passed_over_and_says_so() {
    let timed = "triggers: [{ every: 30s }]\nconcurrency: { limit: 1, when_full: skip }\nrun: sleep(\"100s\")\n";
    let files = [("flows/in.yaml", flow("{ limit: 1, when_full: skip }")), ("flows/timed.yaml", timed.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let house = House::open(&files).await;
    let first = begin(&house, json!({ "n": 1 })).await;
    is(&house, &first, "time").await;
    let (status, answer) = house.hook("/in", &json!({ "n": 2 })).await;
    assert_eq!((status, &answer["skipped"]), (200, &json!(true)), "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("still under way"), "{answer}");
    let skipped = house.run_is(answer["run"].as_str().unwrap(), "skipped").await;
    assert!(skipped["error"]["message"].as_str().unwrap().contains("still under way"), "{skipped}");
    house.pass(Duration::from_secs(61));
    house.run_is(&first, "succeeded").await;
    let third = begin(&house, json!({ "n": 3 })).await;
    is(&house, &third, "time").await;
    // Times of the clock have a fate instead.
    until("the fates", async || {
        house.pass(Duration::from_secs(15));
        let fates = house.fates_of("timed").await;
        (fates.iter().any(|fate| fate.contains("skipped")) && fates.iter().any(|fate| fate.contains("ran")))
            .then_some(())
    })
    .await;
    let rows = house.get("/occurrences?flow=timed").await;
    let row = rows["occurrences"].as_array().unwrap().iter().find(|row| row["fate"] == "skipped").unwrap().clone();
    assert!(row["reason"].as_str().unwrap().contains("still under way") && row["run"].is_null(), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_line_is_overtaken_when_the_rule_changes() {
    let house = House::open(&[("flows/in.yaml", &flow("{ limit: 1 }"))]).await;
    let mut runs = Vec::new();
    for n in 1..=4 {
        runs.push(begin(&house, json!({ "n": n })).await);
    }
    is(&house, &runs[0], "time").await;
    let rule_is = async |rule: &str| {
        let before = house.get("/flows/in").await["version"].clone();
        house.write("flows/in.yaml", &rule_of(rule));
        until("the rule to be live", async || (house.get("/flows/in").await["version"] != before).then_some(())).await;
    };
    // Two at once: the one that came second begins, and the new one stands behind all of them.
    rule_is("concurrency: { limit: 2 }\n").await;
    runs.push(begin(&house, json!({ "n": 5 })).await);
    for (place, kind) in ["time", "time", "slot", "slot", "slot"].into_iter().enumerate() {
        is(&house, &runs[place], kind).await;
    }
    // Whoever stands in line is told who is ahead.
    for (place, ahead) in [(2, "it is the next"), (3, "1 run stands in line"), (4, "2 runs stand in line before it")] {
        let run = house.get(&format!("/runs/{}", runs[place])).await;
        let detail = run["waiting_for"]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(ahead) && detail.contains(&runs[0]) && detail.contains(&runs[1]), "{detail}");
    }
    // The newest alone: whoever stood in line makes way too.
    rule_is("concurrency: { limit: 1, when_full: replace }\n").await;
    runs.push(begin(&house, json!({ "n": 6 })).await);
    is(&house, &runs[5], "time").await;
    for run in &runs[..5] {
        house.run_is(run, "cancelled").await;
    }
    // No rule: nobody stands in line.
    rule_is("concurrency: { limit: 1 }\n").await;
    runs.push(begin(&house, json!({ "n": 7 })).await);
    is(&house, &runs[6], "slot").await;
    rule_is("").await;
    runs.push(begin(&house, json!({ "n": 8 })).await);
    for run in &runs[5..] {
        is(&house, run, "time").await;
    }
}

/// The flow, with these lines about how many may be under way.
fn rule_of(lines: &str) -> String {
    format!("triggers:\n  - webhook: /in\n{lines}run: |\n  sleep(\"60s\");\n  event.body.n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_stands_for_missed_times_where_it_is_passed_over_itself() {
    let flow = "triggers: [{ every: 10m }]\nconcurrency: { limit: 1, when_full: skip }\nrun: ask(\"+15417543010\", \"Well?\")\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    house.pass(Duration::from_secs(600));
    let run = until("the first run", async || house.runs_of("f").await.first().cloned()).await;
    house.run_is(run["id"].as_str().unwrap(), "waiting").await;
    let fates = async |house: &House| -> Vec<(String, Value)> {
        let rows = house.get("/occurrences?flow=f").await["occurrences"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["fate"].as_str().unwrap().to_owned(), row["count"].clone())).collect()
    };
    // While it asks, the times are passed over: one row for all of them, also for those of a time without an engine.
    for count in 1..=3 {
        house.pass(Duration::from_secs(600));
        let wanted = [("skipped".to_owned(), json!(count)), ("ran".to_owned(), json!(1))];
        until("the fate", async || (fates(&house).await == wanted).then_some(())).await;
    }
    let (folder, clock) = house.down().await;
    clock.advance(Duration::from_secs(3 * 600 + 60));
    let house = House::again(folder, clock).await;
    let wanted = [("skipped".to_owned(), json!(6)), ("ran".to_owned(), json!(1))];
    until("the fates of the missed ones", async || (fates(&house).await == wanted).then_some(())).await;
    assert_eq!(house.runs_of("f").await.len(), 1);
    let why = house.get("/why?of=f&day=2026-11-20").await;
    let said: Vec<&str> = why["facts"].as_array().unwrap().iter().filter_map(|fact| fact["said"].as_str()).collect();
    assert!(said.contains(&"It was due 6 times until 08:10, and was passed over."), "{said:#?}");
    assert!(!said.iter().any(|said| said.contains("stands for")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_takes_the_place_of_the_oldest_with_what_that_has_not_sent() {
    let replaces = "triggers:\n  - webhook: { path: /in, respond: result }\nconcurrency: { limit: 1, key: body.customer, when_full: replace }\nrun: |\n  let to = \"+15417543010\";\n  send_text(to, `now ${event.body.n}`);\n  send_text(to, `later ${event.body.n}`, #{ at: \"10m\" });\n  send_text(to, `kept ${event.body.n}`, #{ at: \"10m\", keep: true });\n  sleep(\"1m\");\n  event.body.n\n";
    let house = House::open(&[("flows/in.yaml", replaces)]).await;
    let event = |n: u32| json!({ "customer": "ada", "n": n });
    let told = Notify::new();
    let (first, second, ()) = tokio::join!(
        async {
            let answer = house.hook("/in", &event(1)).await;
            told.notify_one();
            answer
        },
        async {
            until("the first to sleep", async || {
                let runs = house.get("/runs?flow=in&state=waiting").await;
                (runs["runs"].as_array().unwrap().len() == 1).then_some(())
            })
            .await;
            house.hook("/in", &event(2)).await
        },
        async {
            until("the second to sleep", async || {
                let runs = house.runs_of("in").await;
                let has = |state: &str| runs.iter().any(|run| run["state"] == state);
                (has("waiting") && has("cancelled")).then_some(())
            })
            .await;
            // The one that was replaced is told before the other one ends.
            told.notified().await;
            for _ in 0..4 {
                house.pass(Duration::from_secs(9));
            }
        }
    );
    assert_eq!((first.0, &first.1["reason"]), (409, &json!("cancelled")), "{}", first.1);
    assert_eq!(second.0, 202, "{}", second.1);
    house.pass(Duration::from_secs(700));
    until("all messages to be settled", async || {
        let answer = house.get("/messages?limit=100").await;
        let mut said: Vec<String> = Vec::new();
        for message in answer["messages"].as_array().unwrap() {
            said.push(format!("{} {}", message["body"]["text"].as_str().unwrap(), message["state"].as_str().unwrap()));
        }
        said.sort();
        let wanted = [
            "kept 1 delivered",
            "kept 2 delivered",
            "later 1 cancelled",
            "later 2 delivered",
            "now 1 delivered",
            "now 2 delivered",
        ];
        (said == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_meant_is_refused() {
    let house = House::open(&[]).await;
    for (rule, part) in [
        ("{ limit: 0 }", "from 1 to 1000"),
        ("{ limit: 1.5 }", "whole number from 1 to 1000"),
        ("{ limit: 1, key: \"a..b\" }", "no path of names"),
        ("{ when_full: drop }", "none of `queue`, `skip`, `replace`"),
        ("3", "is a map"),
        // What may be meant is warned of.
        ("{ limit: 2 }", "`sleep` at line 6 waits, and others wait for its run meanwhile"),
        ("{ limit: 2, when_full: skip }", "`sleep` at line 6 waits, and what comes meanwhile is passed over"),
        ("{ limit: 2, when_full: replace }", "`sleep` at line 6 waits, and a newer run ends it meanwhile"),
    ] {
        house.write("flows/in.yaml", &flow(rule));
        house.flows_are(rule, |flows| flows["diagnostics"].to_string().contains(part)).await;
    }
}
