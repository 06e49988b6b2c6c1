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
        ("It was due, and ran 1 h 20 min late: nobody was there in time.", 1),
        ("It was due, and was passed over. 2026-11-20 is left out (`except`).", 1),
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
