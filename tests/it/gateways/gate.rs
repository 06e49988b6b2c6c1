//! Messages that are prepared beside the wire: they keep the pace when they go out, take no room
//! from others, and have touched nothing until they do.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{self, Dialect, Fake, Mood};
use super::media::Held;
use crate::support::engine::House;
use crate::support::until;

const ADA: &str = "+15417543010";
const FREE: &str = "rate: 1000/s, burst: 1000, per_recipient: 1000/s";

async fn desk(dialect: Dialect, pace: &str) -> (House, Fake, Held) {
    let (fake, held) = (Fake::start(dialect).await, Held::start().await);
    let settings =
        format!("http: {{ allow: [\"{}\"] }}\n{}", held.address, fake.settings(&format!("pace: {{ {pace} }}")));
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    (house, fake, held)
}

/// A picture that is fetched before it goes: nothing tells what it is.
fn picture(held: &Held, to: &str) -> Value {
    json!({ "kind": "image", "to": to, "source": format!("http://{}/picture", held.address) })
}

/// Waits until the gateway got so many, and a little longer for one too many.
async fn got(fake: &Fake, wanted: usize) {
    let mut count = 0;
    until("the gateway to get them", async || {
        count += fake.take().len();
        (count >= wanted).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(count + fake.take().len(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_arrive_all_at_once_go_out_at_the_pace() {
    for pace in ["rate: 1/10s, burst: 1, per_recipient: 1000/s", "rate: 1000/s, burst: 1, jitter: 10s"] {
        let (house, fake, mut held) = desk(fake::gowa::DIALECT, pace).await;
        for (count, to) in [ADA, "+15417543011", "+15417543012"].into_iter().enumerate() {
            house.post("/messages", picture(&held, to)).await;
            if pace.contains("jitter") {
                house.pass(Duration::from_secs(11));
            }
            held.asked(count + 1).await;
        }
        if pace.contains("jitter") {
            house.pass(Duration::from_secs(11));
        }
        held.give();
        got(&fake, 1).await;
        for _ in 0..2 {
            house.pass(Duration::from_secs(10));
            got(&fake, 1).await;
        }
        assert_eq!(house.messages_are(3, "sent").await.len(), 3, "{pace}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_distance_counts_from_the_wire() {
    let (house, fake, mut held) = desk(fake::gowa::DIALECT, "rate: 1000/s, burst: 1000, per_recipient: 1/10s").await;
    house.post("/messages", picture(&held, ADA)).await;
    held.asked(1).await;
    house.post("/messages", json!({ "to": ADA, "text": "after it" })).await;
    house.pass(Duration::from_secs(20));
    held.give();
    got(&fake, 1).await;
    house.pass(Duration::from_secs(9));
    got(&fake, 0).await;
    house.pass(Duration::from_secs(1));
    got(&fake, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_distance_counts_from_the_last_part() {
    let (house, fake, held) = desk(fake::wapim::DIALECT, "rate: 1000/s, burst: 1000, per_recipient: 1/10s").await;
    drop(held);
    let wish = json!({ "kind": "file", "to": ADA, "source": "https://e.com/a.pdf", "caption": "The bill" });
    house.post("/messages", wish).await;
    house.post("/messages", json!({ "to": ADA, "text": "after it" })).await;
    got(&fake, 1).await;
    for _ in 0..2 {
        house.pass(Duration::from_secs(9));
        got(&fake, 0).await;
        house.pass(Duration::from_secs(1));
        got(&fake, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_files_of_one_account_hold_up_no_other() {
    let (fake, mut held) = (Fake::start(fake::gowa::DIALECT).await, Held::start().await);
    let media = super::media::start().await;
    let other = fake.settings("pace: unlimited").replace("accounts:\n  main:", "  other:");
    let settings = format!(
        "default_account: main\nhttp: {{ allow: [\"{}\", \"{media}\"] }}\n{}{other}",
        held.address,
        fake.settings("pace: unlimited")
    );
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    for number in 10..18 {
        house.post("/messages", picture(&held, &format!("+154175430{number}"))).await;
    }
    held.asked(4).await;
    let wish = json!({ "kind": "image", "to": ADA, "source": format!("http://{media}/picture"), "account": "other" });
    house.post("/messages", wish).await;
    got(&fake, 1).await;
    held.give();
    got(&fake, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_wire_when_the_engine_dies_is_unknown_however_it_got_there() {
    // A link that is sent as text needs nothing from its page.
    for dialect in [fake::wapim::DIALECT, fake::wawp::DIALECT] {
        let (house, fake, _held) = desk(dialect, FREE).await;
        fake.is(Mood::Hangs(Duration::from_secs(20)));
        house.post("/messages", json!({ "kind": "link", "to": ADA, "url": "https://e.com/", "preview": false })).await;
        got(&fake, 1).await;
        fake.is(Mood::Strict);
        let house = house.crash().await;
        house.messages_are(1, "unknown").await;
        got(&fake, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_made_of_a_link_has_touched_nothing_while_it_is_fetched() {
    let (house, fake, mut held) = desk(fake::meta::DIALECT, FREE).await;
    let thumbnail = format!("http://{}/picture", held.address);
    let wish = json!({ "kind": "link", "to": ADA, "url": "https://e.com/", "thumbnail": thumbnail, "on_unsupported": "emulate" });
    house.post("/messages", wish).await;
    held.asked(1).await;
    let house = house.crash().await;
    held.give();
    house.messages_are(1, "accepted").await;
    assert!(!fake.take().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_meta_has_lost_is_given_to_it_again() {
    let (house, fake, held) = desk(fake::meta::DIALECT, FREE).await;
    drop(held);
    let file = house.folder.path().join("files");
    std::fs::create_dir_all(&file).unwrap();
    std::fs::write(file.join("a.png"), super::media::PNG).unwrap();
    let send = async |to: &str| {
        house.post("/messages", json!({ "kind": "image", "to": to, "source": "files/a.png" })).await;
    };
    let paths =
        || fake.take().into_iter().map(|got| got.path.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>();
    send(ADA).await;
    house.messages_are(1, "accepted").await;
    assert_eq!(paths(), ["media", "messages"]);
    let lost = r#"{"error":{"message":"Media upload error","type":"OAuthException","code":131053}}"#;
    fake.is(Mood::Says(400, Vec::new(), lost.into()));
    fake.then(Mood::Strict);
    send("+15417543011").await;
    house.messages_are(2, "accepted").await;
    assert_eq!(paths(), ["messages", "media", "messages"]);
    fake.is(Mood::Strict);
    send("+15417543012").await;
    house.messages_are(3, "accepted").await;
    assert_eq!(paths(), ["messages"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_last_place_is_not_held_up_by_those_who_want_it() {
    // One may be out, and one may be prepared beside it.
    let (house, fake, mut held) = desk(fake::wapim::DIALECT, &format!("{FREE}, jitter: 60s")).await;
    house.post("/messages", picture(&held, "+15417543011")).await;
    held.asked(1).await;
    house.pass(Duration::from_secs(60));
    // Two parts; it is on the wire with the first one when the file arrives.
    fake.is(Mood::Slow(Duration::from_secs(1)));
    fake.then(Mood::Strict);
    let wish = json!({ "kind": "file", "to": ADA, "source": "https://e.com/a.pdf", "caption": "The bill" });
    house.post("/messages", wish).await;
    until("the first part", async || (!fake.take().is_empty()).then_some(())).await;
    held.give();
    until("the second part", async || {
        house.pass(Duration::from_secs(60));
        fake.take().iter().any(|got| got.path == "/message/text").then_some(())
    })
    .await;
}
