//! Pace that protects the number: the day's messages, new people, quiet hours, chance.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::gateway::Gateway;
use crate::support::until;

const HOUR: Duration = Duration::from_secs(3600);

/// A house in Berlin, where it is 08:00 on a Friday.
async fn house(pace: &str, gateway: &Gateway) -> House {
    let settings = format!("timezone: Europe/Berlin\n{}", gateway.settings(&format!("pace: {{ {pace} }}")));
    House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await
}

async fn send(house: &House, to: &str, text: &str) {
    house.post("/messages", json!({ "to": to, "text": text })).await;
}

/// Waits until so many messages are out and the rest waits; gives why, by text.
async fn rest(house: &House, out: usize) -> Vec<String> {
    let messages = house.messages_are(out, "sent").await;
    let count = messages.len();
    until("the lane to rest", async || {
        let answer = house.get("/messages?limit=1000").await;
        let waiting: Vec<String> = answer["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["state"] == "queued")
            .map(|message| message["why"].as_str().unwrap().to_owned())
            .collect();
        let known = waiting.iter().all(|why| !why.contains("its turn comes"));
        (waiting.len() == count - out && known).then_some(waiting)
    })
    .await
}

/// Each of these has no other limit.
const FREE: &str = "rate: 1000/s, burst: 1000, per_recipient: 1000/s";

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_so_many_messages_also_across_a_restart() {
    let gateway = Gateway::start().await;
    let house = house(&format!("{FREE}, daily: 3"), &gateway).await;
    for number in 0..5 {
        send(&house, &format!("+1541754301{number}"), "hi").await;
        let waits = rest(&house, (number + 1).min(3)).await;
        assert!(
            waits.iter().all(|why| why.contains("(`daily`)") && why.contains("2026-11-20T23:00:00.000Z")),
            "{waits:?}"
        );
    }
    let house = house.crash().await;
    let waits = rest(&house, 3).await;
    assert_eq!(waits.len(), 2);
    // 23:59:59 in Berlin.
    house.pass(15 * HOUR + Duration::from_secs(3599));
    rest(&house, 3).await;
    house.pass(Duration::from_secs(1));
    assert!(rest(&house, 5).await.is_empty());
    assert_eq!(gateway.got().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_tried_again_counts_once() {
    let gateway = Gateway::with(|number, _| match number {
        0 => crate::support::gateway::Say::No(503, "STARTING", None),
        _ => crate::support::gateway::Say::Yes,
    })
    .await;
    let house = house(&format!("{FREE}, daily: 2"), &gateway).await;
    send(&house, "+15417543010", "one").await;
    // Its next try is due only when the end of the first one is on record.
    until("the first try", async || {
        let message = &house.get("/messages").await["messages"][0];
        (message["state"] == "queued" && message["attempts"][0]["outcome"].is_string()).then_some(())
    })
    .await;
    house.pass(Duration::from_secs(3));
    rest(&house, 1).await;
    send(&house, "+15417543011", "two").await;
    rest(&house, 2).await;
    send(&house, "+15417543012", "three").await;
    assert_eq!(rest(&house, 2).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_new_people_a_day_and_the_others_are_not_held_up() {
    let gateway = Gateway::start().await;
    let house = house(&format!("{FREE}, new_recipients: 2/day"), &gateway).await;
    for (number, to) in ["+15417543010", "+15417543011", "+15417543012"].into_iter().enumerate() {
        send(&house, to, "hi").await;
        rest(&house, (number + 1).min(2)).await;
    }
    // Who is known already gets as much as there is.
    house.pass(Duration::from_secs(1));
    send(&house, "+15417543010", "again").await;
    let waits = rest(&house, 3).await;
    assert!(waits[0].contains("(`new_recipients`)"), "{waits:?}");
    house.pass(16 * HOUR);
    assert!(rest(&house, 4).await.is_empty());
    // Two new ones yesterday, one today: one more has room.
    for to in ["+15417543013", "+15417543014"] {
        send(&house, to, "hi").await;
    }
    assert_eq!(rest(&house, 5).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_got_something_before_the_limit_was_set_are_known() {
    let gateway = Gateway::start().await;
    let house = house(FREE, &gateway).await;
    send(&house, "+15417543010", "before").await;
    rest(&house, 1).await;
    let settings = gateway.settings(&format!("pace: {{ {FREE}, new_recipients: 1/day }}"));
    house.write("postrider.yaml", &settings);
    until("the new pace", async || {
        let accounts = house.get("/accounts").await;
        (accounts["accounts"][0]["pace"]["new_recipients"] == 1).then_some(())
    })
    .await;
    // A changed account begins without its burst.
    house.pass(Duration::from_secs(2));
    send(&house, "+15417543011", "new").await;
    rest(&house, 2).await;
    send(&house, "+15417543010", "known").await;
    rest(&house, 3).await;
    send(&house, "+15417543012", "too new").await;
    assert_eq!(rest(&house, 3).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_are_those_of_the_person() {
    let gateway = Gateway::start().await;
    // 08:00 in Berlin and 16:00 in Tokyo; a number in America does not tell where it is.
    let house = house(&format!("{FREE}, quiet: \"15:00-09:00\""), &gateway).await;
    for to in ["+4930123456", "+81312345678", "+15417543010", "+447700900123"] {
        send(&house, to, "hi").await;
    }
    let waits = rest(&house, 0).await;
    assert!(waits.iter().all(|why| why.starts_with("quiet hours: it goes out at")), "{waits:?}");
    house.pass(HOUR);
    let waits = rest(&house, 2).await;
    assert!(waits.iter().any(|why| why.contains("2026-11-20T09:00:00.000Z")), "London: {waits:?}");
    assert!(waits.iter().any(|why| why.contains("2026-11-21T00:00:00.000Z")), "Tokyo: {waits:?}");
    house.pass(HOUR);
    rest(&house, 3).await;
    house.pass(15 * HOUR);
    assert!(rest(&house, 4).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chance_spreads_messages_and_sends_them_one_by_one() {
    let gateway = Gateway::start().await;
    let house = house(&format!("{FREE}, jitter: 10s"), &gateway).await;
    let to: Vec<String> = (10..30).map(|number| format!("+154175430{number}")).collect();
    house.post("/messages", json!({ "to": to, "text": "hi" })).await;
    let begun = postrider::clock::Clock::now(&*house.clock);
    let mut at: Vec<Timestamp> = Vec::new();
    while at.len() < 20 {
        let count = gateway.got().len();
        at.resize(count, postrider::clock::Clock::now(&*house.clock));
        house.pass(Duration::from_millis(250));
        until("the lane to have looked", async || {
            let answer = house.get("/messages?limit=1000").await;
            let rests = |message: &Value| match message["state"].as_str() {
                Some("queued") => message["why"].as_str().is_some_and(|why| why.contains("may send again at")),
                state => state == Some("sent"),
            };
            answer["messages"].as_array().unwrap().iter().all(rests).then_some(())
        })
        .await;
    }
    let took = at[19].duration_since(begun).as_secs_f64();
    // 19 waits of 0 to 10 s by chance: about 95 s.
    assert!((40.0..160.0).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pace_that_makes_no_sense_is_refused_with_its_place() {
    for (pace, part) in [
        ("daily: 0", "no number of messages a day"),
        ("new_recipients: many", "no number of messages a day"),
        ("quiet: \"22-7\"", "22:00-07:00"),
        ("quiet: \"22:00-22:00\"", "the whole day"),
        ("jitter: soon", "no duration"),
    ] {
        let settings = format!("accounts:\n  main: {{ transport: gowa, pace: {{ {pace} }} }}\n");
        let folder = crate::support::folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]);
        let output = crate::support::binary::run(folder.path(), &["check", "--json"]);
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let finding = &findings["diagnostics"][0];
        assert!(finding["message"].as_str().unwrap().contains(part), "{finding}");
        assert_eq!(finding["line"], 2);
    }
}
