//! Order to one recipient, through trouble; others are not held up.

use std::time::Duration;

use serde_json::json;

use crate::support::engine::House;
use crate::support::gateway::{Gateway, Say};
use crate::support::until;

const BURST: &str = "run: |\n  for i in 0..event.data.count { send_text(event.data.to, `${event.data.name} ${i}`); }\n";

/// Moves the clock whenever nothing moves by itself, until `done`.
async fn let_pass(house: &House, done: impl Fn() -> bool) {
    until("the messages to go out", async || {
        house.pass(Duration::from_secs(2));
        done().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_messages_through_429_and_503_arrive_in_order_once_each() {
    let gateway = Gateway::with(|number, got| match number % 7 {
        _ if got.text().starts_with("other") => Say::Yes,
        2 => Say::No(429, "RATE_LIMIT", Some(3)),
        5 => Say::No(503, "DEVICE_MANAGER_UNAVAILABLE", None),
        _ => Say::Yes,
    })
    .await;
    let settings = gateway.settings("pace: unlimited, retry: { attempts: 50, first: 1s, max: 5s }");
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &settings)]).await;
    house.trigger("burst", json!({ "to": "+15417543010", "count": 200, "name": "m" })).await;
    house.trigger("burst", json!({ "to": "+15417543011", "count": 20, "name": "other" })).await;

    // The clock stands still: the first recipient backs off, the other is served all the same.
    until("the other recipient to be served", async || {
        (gateway.texts().iter().filter(|text| text.starts_with("other")).count() == 20).then_some(())
    })
    .await;
    let arrived = || -> Vec<String> {
        gateway
            .got()
            .iter()
            .enumerate()
            .filter(|(number, got)| got.text().starts_with("m ") && ![2, 5].contains(&(number % 7)))
            .map(|(_, got)| got.text())
            .collect()
    };
    // The last one may be refused too, and then needs the clock once more.
    let_pass(&house, || arrived().len() >= 200).await;
    let messages = house.messages_are(220, "sent").await;

    let wanted: Vec<String> = (0..200).map(|number| format!("m {number}")).collect();
    assert_eq!(arrived(), wanted);
    let tries: usize = messages.iter().map(|message| message["attempts"].as_array().unwrap().len()).sum();
    assert_eq!(tries, gateway.got().len(), "every try is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_answer_makes_a_message_unknown_and_its_successors_go_on() {
    let gateway = Gateway::with(|_, got| match got.text().as_str() {
        "m 3" => Say::No(500, "INTERNAL_SERVER_ERROR", None),
        "m 6" => Say::Vanish,
        "m 8" => Say::Raw(200, "<html>welcome</html>".into()),
        _ => Say::Yes,
    })
    .await;
    let settings = gateway.settings("pace: unlimited");
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &settings)]).await;
    house.trigger("burst", json!({ "to": "+15417543010", "count": 10, "name": "m" })).await;
    let messages = house.messages_are(7, "sent").await;
    let unknown: Vec<_> = messages.iter().filter(|message| message["state"] == "unknown").collect();
    assert_eq!(
        unknown.iter().map(|message| message["body"]["text"].as_str().unwrap()).collect::<Vec<_>>(),
        ["m 3", "m 6", "m 8"]
    );
    assert_eq!(gateway.texts().len(), 10, "nothing was sent twice");

    // A person's word settles it: one did go out, one is sent again, after everything else.
    let id = |number: usize| unknown[number]["id"].as_str().unwrap();
    let released = house.post(&format!("/messages/{}/release", id(0)), json!({ "as": "sent" })).await;
    assert_eq!(released["state"], "sent");
    gateway.now_says(|_, _| Say::Yes);
    house.post(&format!("/messages/{}/release", id(1)), json!({ "as": "resend" })).await;
    house.messages_are(9, "sent").await;
    assert_eq!(gateway.texts().last().unwrap(), "m 6");
    let (status, refused) =
        house.api(reqwest::Method::POST, &format!("/messages/{}/retry", id(0)), Some(json!({}))).await;
    assert_eq!((status, refused["error"]["kind"].as_str()), (409, Some("state")));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_messages_are_sent_again_when_the_account_says_so() {
    let gateway = Gateway::with(|number, _| if number == 0 { Say::Vanish } else { Say::Yes }).await;
    let settings = gateway.settings("pace: unlimited, on_unknown: resend, unknown_after: 10m");
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &settings)]).await;
    house.trigger("burst", json!({ "to": "+15417543010", "count": 1, "name": "m" })).await;
    house.messages_are(1, "unknown").await;
    house.pass(Duration::from_secs(599));
    house.messages_are(1, "unknown").await;
    assert_eq!(gateway.texts().len(), 1);
    house.pass(Duration::from_secs(1));
    let messages = house.messages_are(1, "sent").await;
    let outcomes: Vec<_> =
        messages[0]["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ambiguous", "sent"]);
    assert_eq!(gateway.texts().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_message_says_when_it_is_sent_again_and_that_it_is_not_any_more() {
    let gateway = Gateway::with(|_, _| Say::Vanish).await;
    let resend = "pace: unlimited, on_unknown: resend, unknown_after: 10m, retry: { attempts: 2 }";
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &gateway.settings(resend))]).await;
    house.trigger("burst", json!({ "to": "+15417543010", "count": 1, "name": "m" })).await;
    let message = house.messages_are(1, "unknown").await[0].clone();
    let (at, why) = (message["attempts"][0]["at"].as_str().unwrap(), message["why"].as_str().unwrap());
    let then = at.parse::<jiff::Timestamp>().unwrap() + Duration::from_secs(600);
    let said = format!(
        "; it is sent again at {then:.3} if nothing tells more until then; `postrider messages release` settles it"
    );
    assert!(why.starts_with("unknown: ") && why.ends_with(&said), "{why}, not {said}");
    house.pass(Duration::from_secs(600));
    let why = until("the second try", async || {
        let message = house.messages_are(1, "unknown").await[0].clone();
        (message["attempts"].as_array().unwrap().len() == 2).then(|| message["why"].as_str().unwrap().to_owned())
    })
    .await;
    let said = "; after 2 tries it is not sent again (`attempts` of `retry`); `postrider messages release` settles it";
    assert!(why.ends_with(said), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_cannot_send_pauses_and_probes_and_loses_nothing() {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let settings = gateway.settings("pace: unlimited");
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &settings)]).await;
    house.trigger("burst", json!({ "to": "+15417543010", "count": 5, "name": "m" })).await;
    let account = until("the pause", async || {
        let account = house.get("/accounts").await["accounts"][0].clone();
        (account["state"] == "paused").then_some(account)
    })
    .await;
    assert!(account["reason"].as_str().unwrap().contains("AUTHENTICATION_ERROR"), "{account}");
    assert_eq!((gateway.got().len(), account["backlog"].as_u64()), (1, Some(5)));
    let why = house.messages_are(5, "queued").await[0]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("pause: gowa answered 401"), "{why}");
    // Probes come further and further apart: after 5, 15, 35, 75 seconds.
    for (seconds, requests) in [(5, 2), (10, 3), (20, 4), (40, 5)] {
        house.pass(Duration::from_secs(seconds));
        until("a probe", async || (gateway.got().len() == requests).then_some(())).await;
        until("its record", async || {
            let account = house.get("/accounts").await["accounts"][0].clone();
            let next = account["probe_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            use postrider::clock::Clock;
            (next > house.clock.now()).then_some(())
        })
        .await;
    }
    gateway.now_says(|_, _| Say::Yes);
    house.pass(Duration::from_secs(80));
    house.messages_are(5, "sent").await;
    assert_eq!(gateway.texts()[5..], ["m 0", "m 1", "m 2", "m 3", "m 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_of_a_phone_is_kept() {
    let gateway = Gateway::start().await;
    let settings = gateway.settings("pace: { rate: 30/min, burst: 3, per_recipient: 1/10s }");
    let house = House::open(&[("flows/burst.yaml", BURST), ("postrider.yaml", &settings)]).await;
    for number in 0..5 {
        house.trigger("burst", json!({ "to": format!("+1541754301{number}"), "count": 2, "name": number })).await;
    }
    let went_out = async |count: usize| {
        house.messages_are(count, "sent").await;
        assert_eq!(gateway.got().len(), count);
    };
    went_out(3).await;
    house.pass(Duration::from_secs(2));
    went_out(4).await;
    house.pass(Duration::from_secs(2));
    went_out(5).await;
    let whys = house.messages_are(5, "queued").await;
    assert!(
        whys.iter()
            .filter(|message| message["state"] == "queued")
            .all(|message| message["why"].as_str().unwrap().starts_with("pace"))
    );
    // All five have got one; each waits for its distance of ten seconds now.
    house.pass(Duration::from_secs(2));
    went_out(5).await;
    // At ten seconds three have waited long enough, and three tokens have come together.
    house.pass(Duration::from_secs(4));
    went_out(8).await;
}
