//! What happened on a day, and why, in plain sentences.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{client, until};

const OPENING: &str = "timezone: Europe/Berlin\ntriggers:\n  - cron: { schedule: \"30 8 * * *\", not_after: 2h }\n  - cron: { schedule: \"0 9 * * *\", except: [2026-11-20, 2026-12-24..2026-12-26] }\n  - webhook: { path: \"/open/{shop}\", verify: { token: a-token-of-some-length } }\nrun: |\n  if event.trigger == \"webhook\" {\n    let x = event.body.missing.deep;\n  }\n  send_text(\"+15417543010\", \"The shop opens\");\n";

async fn told(house: &House, of: &str) -> Vec<(String, Value)> {
    let answer = house.get(&format!("/why?of={of}&day=2026-11-20")).await;
    let facts = answer["facts"].as_array().unwrap().clone();
    let said =
        |fact: &Value| format!("{} {}", fact["said"].as_str().unwrap(), fact["because"].as_str().unwrap_or_default());
    facts.iter().map(|fact| (said(fact).trim().to_owned(), fact.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_told_in_sentences() {
    let house = House::open(&[("flows/opening.yaml", OPENING), ("postrider.yaml", "timezone: Europe/Berlin\n")]).await;
    until("it to be on record that the engine is there", async || house.engine.store().last_beat().await.unwrap())
        .await;
    // It is 8:00 in Berlin. The power goes until 9:50.
    let (folder, clock) = house.down().await;
    clock.advance(Duration::from_secs(110 * 60));
    let house = House::again(folder, clock).await;
    until("the late run to end", async || {
        (house.runs_of("opening").await.iter().filter(|run| run["state"] == "succeeded").count() == 1).then_some(())
    })
    .await;
    house.pass(Duration::from_secs(60));
    let url = |path: &str| format!("http://{}/hooks{path}", house.engine.address().listen);
    for _ in 0..3 {
        assert_eq!(client().post(url("/open/berlin")).send().await.unwrap().status(), 401);
    }
    assert_eq!(client().post(url("/elsewhere")).send().await.unwrap().status(), 404);
    house.pass(Duration::from_secs(60));
    let token = ("x-token", "a-token-of-some-length");
    let taken = client().post(url("/open/berlin")).header(token.0, token.1).body("{}").send().await.unwrap();
    assert_eq!(taken.status(), 200);
    until("the run to fail", async || {
        house.runs_of("opening").await.iter().any(|run| run["state"] == "failed").then_some(())
    })
    .await;
    house.messages_are(1, "delivered").await;
    let facts = told(&house, "opening").await;
    let said: Vec<&str> = facts.iter().map(|(said, _)| said.as_str()).collect();
    for (wanted, count) in [
        ("The engine was down from 08:00 to 09:50. It had ended without a word", 1),
        ("It was due by `cron 30 8 * * *`, and ran 1 h 20 min late: nobody was there in time.", 1),
        ("`cron 0 9 * * *`, and was passed over. 2026-11-20 is left out (`except`).", 1),
        ("It had a message for", 1),
        ("A request was refused with 401, 3 times: POST /hooks/open/berlin from 127.0.0.1. A token is missing", 1),
        ("A request came: POST /hooks/open/berlin.", 1),
        ("The run failed at line 8", 1),
        ("elsewhere", 0),
    ] {
        let found = said.iter().filter(|said| said.contains(wanted)).count();
        assert_eq!(found, count, "{wanted}: {said:#?}");
    }
    let times: Vec<&Value> = facts.iter().map(|(_, fact)| &fact["at"]).collect();
    assert!(times.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str()), "{times:?}");
    // What was refused is known after a restart.
    until("the list to be on record", async || {
        let rows = house.engine.store().refused().await.unwrap();
        rows.iter().any(|row| row.count == 3).then_some(())
    })
    .await;
    let (folder, clock) = house.stop().await;
    clock.advance(Duration::from_secs(600));
    let house = House::again(folder, clock).await;
    let refused = house.get("/refused").await;
    assert!(refused["refused"].as_array().unwrap().iter().any(|row| row["count"] == 3), "{refused}");
    let facts = told(&house, "opening").await;
    assert!(facts.iter().any(|(said, _)| said == "The engine was stopped from 09:52 to 10:02."), "{facts:#?}");
    // Another day, and nobody at all.
    let empty = house.get("/why?of=opening&day=2026-11-18").await;
    assert_eq!(empty["facts"], json!([]), "{empty}");
    for of in ["openin", "OPENING"] {
        let (status, answer) = house.api(reqwest::Method::GET, &format!("/why?of={of}"), None).await;
        assert_eq!(status, 404);
        assert!(answer["error"]["message"].as_str().unwrap().contains("did you mean the flow `opening`"), "{answer}");
    }
}

async fn sentences(house: &House, of: &str) -> Vec<String> {
    let answer = house.get(&format!("/why?of={of}&day=2026-11-20")).await;
    let notes = answer["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned());
    notes.chain(told(house, of).await.into_iter().map(|(said, _)| said)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_matter_with_the_flow_itself_is_told() {
    let replaced = "concurrency: { limit: 1, when_full: replace }\nrun: sleep(\"1h\")\n";
    let queued = "triggers: [{ every: 10m }]\nconcurrency: { limit: 1 }\nrun: sleep(\"1h\")\n";
    let silent = "triggers: [{ webhook: /in }]\nexpect: { every: 25m }\non_failure: hears\nrun: 1\n";
    let house = House::open(&[
        ("flows/off.yaml", "enabled: false\ntriggers: [{ every: 10m }]\nrun: 1\n"),
        ("flows/gone.yaml", "triggers: [{ every: 10m }, { cron: \"*/10 * * * *\" }]\nrun: 1\n"),
        ("flows/wrong.yaml", "trigers: 1\nrun: 1\n"),
        ("flows/stale.yaml", "run: 1\n"),
        ("flows/replaced.yaml", replaced),
        ("flows/queued.yaml", queued),
        ("flows/silent.yaml", silent),
        ("flows/hears.yaml", "run: event.what\n"),
    ])
    .await;
    for _ in 0..2 {
        house.trigger("replaced", Value::Null).await;
    }
    for round in 1..=3 {
        house.pass(Duration::from_secs(600));
        until("the runs of the clock", async || (house.runs_of("gone").await.len() == 2 * round).then_some(())).await;
    }
    until("the lines", async || (house.runs_of("queued").await.len() == 3).then_some(())).await;
    until("the silence to be told", async || (house.runs_of("hears").await.len() == 1).then_some(())).await;
    std::fs::remove_file(house.folder.path().join("flows/gone.yaml")).unwrap();
    std::fs::write(house.folder.path().join("flows/stale.yaml"), "run: nonsense()\n").unwrap();
    until("the flow to be gone", async || {
        house.pass(Duration::from_secs(1));
        let flows = house.get("/flows").await;
        let flows = flows["flows"].as_array().unwrap();
        let is_stale = flows.iter().any(|flow| flow["name"] == "stale" && flow["stale"] == true);
        (is_stale && flows.iter().all(|flow| flow["name"] != "gone")).then_some(())
    })
    .await;
    for (of, wanted) in [
        ("off", "the flow is disabled (`enabled: false`)"),
        ("gone", "there is no such flow any more"),
        ("gone", "It was due by `every 10m`, and ran."),
        ("gone", "It was due by `cron */10 * * * *`, and ran."),
        ("stale", "its last good version goes on: flows/stale.yaml:1:6: there is no function `nonsense`"),
        ("replaced", "The run was cancelled. A newer run of the flow took its place (`concurrency`)."),
        ("queued", "It was due; its run has not begun yet. It waits for its turn among the runs of its flow."),
        ("queued", "The run waits, until 08:10."),
        ("silent", "Nothing had come for longer than `expect` says; `hears` was told."),
        ("hears", "It was told that nothing had come to `silent` for longer than 25m."),
    ] {
        let said = sentences(&house, of).await;
        assert!(said.iter().any(|said| said.contains(wanted)), "{of}: {wanted}: {said:#?}");
    }
    let (status, answer) = house.api(reqwest::Method::GET, "/why?of=wrong", None).await;
    assert_eq!(status, 404);
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains("flows/wrong.yaml:1") && said.contains("`trigers`"), "{said}");
    let later = house.get("/why?of=silent&day=2030-01-01").await;
    assert!(later["notes"][0].as_str().unwrap().contains("yet to come"), "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_times_that_went_well_are_one_sentence_and_the_bad_one_stands_out() {
    let flow =
        "triggers: [{ every: 1m }]\nrun: |\n  if event.scheduled_at.to_string().contains(\"08:20\") { throw \"no\" }\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    for minute in 1..=100 {
        house.pass(Duration::from_secs(60));
        until("the minute", async || (house.runs_of("f").await.len() >= minute.min(100)).then_some(())).await;
    }
    until("all to be over", async || {
        house.runs_of("f").await.iter().all(|run| run["finished_at"].is_string()).then_some(())
    })
    .await;
    let said = sentences(&house, "f").await;
    assert!(said.len() < 10, "{said:#?}");
    assert!(said.iter().any(|said| said.contains("times until") && said.contains("ran each time")), "{said:#?}");
    assert!(said.iter().any(|said| said.contains("The run failed at line")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_day_says_why_nothing_came() {
    let flow = "triggers:\n  - webhook: /news\nrun: send_text(\"+15417543010\", \"News\")\n";
    let house = House::open(&[("flows/news.yaml", flow)]).await;
    house.hook("/news", &json!({})).await;
    house.messages_are(1, "delivered").await;
    house.pass(Duration::from_secs(60));
    house.post("/sandbox/messages", json!({ "from": "+15417543010", "text": "stop" })).await;
    house.pass(Duration::from_secs(60));
    house.hook("/news", &json!({})).await;
    house.messages_are(1, "rejected").await;
    let facts = told(&house, "%2B1%20541-754-3010").await;
    let said: Vec<&str> = facts.iter().map(|(said, _)| said.as_str()).collect();
    for wanted in
        ["news had a message: ", "Wrote to sandbox: asked for no more messages", "news had a message: refused. "]
    {
        assert!(said.iter().any(|said| said.starts_with(wanted)), "{wanted}: {said:#?}");
    }
    assert!(said.iter().any(|said| said.contains("refused") && said.contains("no more")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_moved_and_a_computer_that_slept_are_on_record() {
    let flow = "triggers: [{ every: 10m }]\nrun: 1\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let gaps = async |count: usize| {
        until(&format!("{count} gaps"), async || {
            let gaps = house.engine.store().gaps(jiff::Timestamp::MIN, jiff::Timestamp::MAX).await.unwrap();
            (gaps.len() == count).then_some(gaps)
        })
        .await
    };
    // Time that passes is nothing.
    house.pass(Duration::from_secs(600));
    house.pass(Duration::from_secs(60));
    house.clock.sleep(Duration::from_secs(3_600));
    let slept = gaps(1).await[0];
    assert_eq!((slept.kind.name(), slept.to.duration_since(slept.from).as_secs()), ("asleep", 3_600));
    house.clock.put_forward(Duration::from_secs(3_600));
    let forward = gaps(2).await;
    let forward = forward.iter().find(|gap| gap.kind.name() == "clock_forward").unwrap();
    assert_eq!(forward.to.duration_since(forward.from).as_secs(), 3_600);
    house.clock.set_back(Duration::from_secs(3_600));
    let back = gaps(3).await;
    let back = back.iter().find(|gap| gap.kind.name() == "clock_back").unwrap();
    assert_eq!(back.to.duration_since(back.from).as_secs(), -3_600);
    // Each time of the schedule has one fate all the same, and goes on.
    house.pass(Duration::from_secs(3_600 + 1_200));
    until("the schedule to go on", async || {
        let rows = house.get("/occurrences?flow=f&limit=1000").await;
        let mut times: Vec<i64> = Vec::new();
        for row in rows["occurrences"].as_array().unwrap() {
            let at = |name: &str| row[name].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap().as_second());
            let (first, last) = (at("at").unwrap(), at("until").or(at("at")).unwrap());
            times.extend((first..=last).step_by(600));
        }
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "twice: {times:?}");
        let whole = times.windows(2).all(|pair| pair[1] - pair[0] == 600);
        (whole
            && times.last().copied() >= Some(house.clock_text().parse::<jiff::Timestamp>().unwrap().as_second() - 600))
        .then_some(())
    })
    .await;
}
