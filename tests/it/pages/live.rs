//! What changes, told to whoever listens.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ASKS, Visitor};
use crate::support::engine::House;
use crate::support::{client, write};

/// A listener at `/events`.
struct Ear {
    response: reqwest::Response,
    text: String,
    /// What was told and not yet asked for: of two changes of one moment either may be told first.
    kept: Vec<(String, Value, Option<String>)>,
}

impl Ear {
    async fn at(house: &House, after: Option<&str>) -> Self {
        let token = std::fs::read_to_string(house.folder.path().join(".postrider/admin-token")).unwrap();
        let mut request = client().get(format!("http://{}/api/v1/events", house.engine.address().admin));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.bearer_auth(token.trim()).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), kept: Vec::new() }
    }

    /// The next event: its name, its data, and its id if it has one.
    async fn next(&mut self) -> (String, Value, Option<String>) {
        loop {
            let split = self.text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned()));
            if let Some((event, rest)) = split {
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
                };
                if let Some(kind) = field("event") {
                    return (kind, serde_json::from_str(&field("data").unwrap()).unwrap(), field("id"));
                }
                continue;
            }
            let piece = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            self.text.push_str(std::str::from_utf8(&piece.unwrap().unwrap().unwrap()).unwrap());
        }
    }

    /// An event of a kind for which something holds.
    async fn hears(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> (Value, Option<String>) {
        loop {
            if let Some(place) = self.kept.iter().position(|(name, data, _)| name == kind && fits(data)) {
                let (_, data, id) = self.kept.remove(place);
                return (data, id);
            }
            let event = self.next().await;
            self.kept.push(event);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_what_changed() {
    let house = House::open(&[ASKS]).await;
    let mut ear = Ear::at(&house, None).await;
    assert_eq!(ear.next().await.0, "engine");
    let run = house.trigger("approval", json!(null)).await;
    ear.hears("run", |data| data["id"] == run.as_str() && data["state"] == "waiting").await;
    let (message, _) = ear.hears("message", |data| data["state"] == "delivered").await;
    assert_eq!((message["run"].clone(), message["to"].clone()), (json!(run), json!(super::MANAGER)));
    ear.hears("phone", |data| data["phone"] == super::MANAGER).await;
    house.post("/sandbox/messages", json!({ "from": super::MANAGER, "text": "yes" })).await;
    ear.hears("incoming", |data| data["outcome"] == "answered").await;
    ear.hears("run", |data| data["state"] == "succeeded").await;
    write(house.folder.path(), "flows/new.yaml", "run: 1\n");
    ear.hears("flows", |data| data["hash"].is_string()).await;
    house.hook("/nowhere", &json!(1)).await;
    ear.hears("incoming", |data| data["what"] == "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_hears_what_was_missed_and_is_told_when_that_is_not_known() {
    let house = House::open(&[ASKS]).await;
    let mut ear = Ear::at(&house, None).await;
    let mark = ear.next().await.2.unwrap();
    drop(ear);
    let run = house.trigger("approval", json!(null)).await;
    house.run_is(&run, "waiting").await;
    let mut ear = Ear::at(&house, Some(&mark)).await;
    ear.hears("run", |data| data["id"] == run.as_str()).await;
    // A mark of another life of the engine, and none at all.
    for mark in ["00000000-1", "odd"] {
        let mut ear = Ear::at(&house, Some(mark)).await;
        let names = [ear.next().await.0, ear.next().await.0];
        assert!(names.contains(&"reset".to_owned()), "{mark}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_listener_holds_nothing_up_and_the_end_of_the_engine_ends_it() {
    let house =
        House::open(&[("flows/hello.yaml", "run: for n in 0..200 { send_text(\"+15417543010\", `m ${n}`) }\n")]).await;
    // Nobody reads what it is told.
    let _deaf = Ear::at(&house, None).await;
    for _ in 0..20 {
        house.trigger("hello", json!(null)).await;
    }
    crate::support::until("all runs", async || {
        let runs = house.runs_of("hello").await;
        (runs.len() == 20 && runs.iter().all(|run| run["state"] == "succeeded")).then_some(())
    })
    .await;
    let mut ear = Ear::at(&house, None).await;
    assert_eq!(ear.next().await.0, "engine");
    let ended = async { while ear.response.chunk().await.is_ok_and(|piece| piece.is_some()) {} };
    let (_, ended) = tokio::join!(house.stop(), tokio::time::timeout(Duration::from_secs(20), ended));
    ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_from_where_it_is_to_be_followed() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.page("/").await;
    let mark = page.split("data-feed=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // What changes between the page and the listener is not lost.
    let run = house.trigger("approval", json!(null)).await;
    house.run_is(&run, "waiting").await;
    let mut ear = Ear::at(&house, Some(&mark)).await;
    ear.hears("run", |data| data["id"] == run.as_str()).await;
}
