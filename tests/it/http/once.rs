//! Requests that come again, too often, or from where they may not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::client;
use crate::support::engine::House;

async fn post(house: &House, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let url = format!("http://{}/hooks{path}", house.engine.address().listen);
    let mut request = client().post(url).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn hook(rest: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: /in, {rest} }}\nrun: event.body?.n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_is_known_by_its_name_until_its_window_has_passed() {
    let flow = hook("dedupe: { body: order.id, window: 1h }");
    let mut house = House::open(&[("flows/in.yaml", &flow)]).await;
    let (status, first) = post(&house, "/in", &[], r#"{"order":{"id":7},"n":1}"#).await;
    assert_eq!((status, first.get("duplicate")), (200, None), "{first}");
    let same = json!({ "run": first["run"], "duplicate": true });
    assert_eq!(post(&house, "/in", &[], r#"{"order": {"id": 7}, "n": 2}"#).await, (200, same.clone()));
    // A form says the same, a text is another name, and where none is given each counts.
    let names = [r#""7""#, "8", "7.0", r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, "null", "null", r#""""#, r#""""#];
    let named = names.map(|name| format!(r#"{{"order":{{"id":{name}}}}}"#));
    let bare = [r#"{"order":{}}"#, r#"{"order":{}}"#, "words", ""].map(str::to_owned);
    for body in named.into_iter().chain(bare) {
        let (status, answer) = post(&house, "/in", &[], &body).await;
        assert_eq!((status, answer.get("duplicate")), (200, None), "{body}: {answer}");
    }
    assert_eq!(house.runs_of("in").await.len(), 14);
    // Also over a crash.
    house = house.crash().await;
    assert_eq!(post(&house, "/in", &[], r#"{"order":{"id":7}}"#).await, (200, same));
    house.pass(Duration::from_secs(3_601));
    let (_, later) = post(&house, "/in", &[], r#"{"order":{"id":7}}"#).await;
    assert_eq!(later.get("duplicate"), None, "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_another_address_is_another_event() {
    let flow = "triggers:
  - webhook: { path: \"/of/{shop}\", methods: [POST, GET], dedupe: { body: order.id } }
  - webhook: { path: \"/by/{shop}\", dedupe: { header: x-id } }
  - webhook: { path: \"/whole/{shop}\", methods: [POST, GET], dedupe: { hash: body } }
run: event.path
";
    let house = House::open(&[("flows/in.yaml", flow)]).await;
    let is_new = async |path: &str| {
        let (status, answer) = post(&house, path, &[("x-id", "7")], r#"{"order":{"id":7}}"#).await;
        assert_eq!(status, 200, "{answer}");
        answer.get("duplicate").is_none()
    };
    for (path, new) in [
        ("/of/a", true),
        ("/of/b", true),
        ("/of/b", false),
        ("/by/a", true),
        ("/by/b", true),
        ("/by/a", false),
        ("/whole/a", true),
        ("/whole/b", true),
        ("/whole/b", false),
        ("/whole/b?again", false),
    ] {
        assert_eq!(is_new(path).await, new, "{path}");
    }
    // Where there is no body, the address says all.
    for (query, new) in [("?id=1", true), ("?id=2", true), ("?id=1", false)] {
        let url = format!("http://{}/hooks/whole/a{query}", house.engine.address().listen);
        let answer = client().get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.get("duplicate").is_none(), new, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_come_at_once_one_begins() {
    for (rule, headers, body) in [
        ("{ header: Idempotency-Key }", &[("idempotency-key", "a")][..], r#"{"n":1}"#),
        ("{ hash: body }", &[], r#"{"n":1}"#),
        ("{ body: n }", &[("content-type", "application/x-www-form-urlencoded")], "n=1"),
    ] {
        let house = House::open(&[("flows/in.yaml", &hook(&format!("dedupe: {rule}")))]).await;
        let url = format!("http://{}/hooks/in", house.engine.address().listen);
        let mut calls = JoinSet::new();
        for _ in 0..40 {
            let mut request = client().post(&url).body(body);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            calls.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
        }
        let answers: Vec<Value> =
            calls.join_all().await.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let new = answers.iter().filter(|answer| answer.get("duplicate").is_none()).count();
        assert_eq!(new, 1, "{rule}: {answers:?}");
        assert!(answers.iter().all(|answer| answer["run"] == answers[0]["run"]), "{rule}: {answers:?}");
        assert_eq!(house.runs_of("in").await.len(), 1, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_gets_the_answer_of_the_first_one() {
    let flow = "triggers:\n  - webhook: { path: /in, respond: result, dedupe: { body: id } }\nrun: |\n  if event.body.slow == true { sleep(\"5s\"); }\n  if event.body.teapot == true { respond(418, \"short\", #{ \"X-Pot\": \"1\" }); sleep(\"1h\"); }\n  if event.body.fails == true { throw \"no\"; }\n  event.body.id * 10\n";
    let house = House::open(&[("flows/in.yaml", flow)]).await;
    for (body, wanted) in [(r#"{"id":1}"#, (200, json!(10))), (r#"{"id":2,"fails":true}"#, (500, Value::Null))] {
        for _ in 0..2 {
            let (status, answer) = post(&house, "/in", &[], body).await;
            assert_eq!(status, wanted.0, "{answer}");
            assert!(wanted.1.is_null() || answer == wanted.1, "{answer}");
        }
    }
    let url = format!("http://{}/hooks/in", house.engine.address().listen);
    for _ in 0..2 {
        let response = client().post(&url).body(r#"{"id":3,"teapot":true}"#).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["x-pot"].to_str().unwrap()), (418, "1"));
        assert_eq!(response.text().await.unwrap(), "short");
    }
    // All that come while it is under way wait for the same.
    let (one, two, three, ()) = tokio::join!(
        post(&house, "/in", &[], r#"{"id":4,"slow":true}"#),
        post(&house, "/in", &[], r#"{"id":4,"slow":true}"#),
        post(&house, "/in", &[], r#"{"id":4,"slow":true}"#),
        async {
            crate::support::until("the run to sleep", async || {
                let runs = house.get("/runs?flow=in&state=waiting").await;
                (runs["runs"].as_array().unwrap().len() == 2).then_some(())
            })
            .await;
            house.pass(Duration::from_secs(6));
        }
    );
    assert_eq!([one, two, three], [(200, json!(40)), (200, json!(40)), (200, json!(40))]);
    assert_eq!(house.runs_of("in").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_often_is_told_when_to_come_again() {
    let house = House::open(&[("flows/in.yaml", &hook("rate: 3/10s"))]).await;
    let url = format!("http://{}/hooks/in", house.engine.address().listen);
    let call = async || {
        let response = client().post(&url).body("{}").send().await.unwrap();
        let after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), after)
    };
    for _ in 0..3 {
        assert_eq!(call().await, (200, None));
    }
    assert_eq!(call().await, (429, Some("4".into())));
    house.pass(Duration::from_secs(4));
    assert_eq!(call().await.0, 200);
    assert_eq!(call().await.0, 429);
    // Also by a clock that was put back.
    house.clock.set_back(Duration::from_secs(86_400));
    house.clock.advance(Duration::from_secs(10));
    assert_eq!(call().await.0, 200);
    let refused = house.get("/refused").await;
    assert_eq!(
        (&refused["refused"][0]["status"], &refused["refused"][0]["count"]),
        (&json!(429), &json!(2)),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_take_no_room_from_those_who_show_who_they_are() {
    let flow = hook("rate: 3/10s, verify: { token: \"${T:-a-token-of-some-length}\" }");
    let house = House::open(&[("flows/in.yaml", &flow)]).await;
    for _ in 0..10 {
        assert_eq!(post(&house, "/in", &[("x-token", "a guess")], "{}").await.0, 401);
    }
    let statuses = async || post(&house, "/in", &[("x-token", "a-token-of-some-length")], "{}").await.0;
    assert_eq!([statuses().await, statuses().await, statuses().await, statuses().await], [200, 200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_addresses_that_are_tried_do_not_hide_a_wrong_token() {
    let flow = hook("verify: { token: \"${T:-a-token-of-some-length}\" }");
    let house = House::open(&[("flows/in.yaml", &flow)]).await;
    assert_eq!(post(&house, "/in", &[("x-token", "a guess")], "{}").await.0, 401);
    let mut calls = JoinSet::new();
    for number in 0..1_000 {
        let url = format!("http://{}/hooks/try-{number}", house.engine.address().listen);
        calls.spawn(async move { client().get(url).send().await.unwrap().status().as_u16() });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == 404));
    let refused = async |house: &House| house.get("/refused").await["refused"].as_array().unwrap().clone();
    let wrong = |rows: &[Value]| rows.iter().filter(|row| row["status"] == 401).count();
    let rows = refused(&house).await;
    assert_eq!((rows.len(), wrong(&rows)), (500, 1));
    let house = house.crash().await;
    let rows = refused(&house).await;
    assert!(rows.len() <= 500 && wrong(&rows) == 1, "{} rows", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_that_a_trusted_proxy_names() {
    let flow = "triggers:\n  - webhook: { path: /in, respond: result, from: [\"203.0.113.0/24\", \"2001:db8::7\"] }\n  - webhook: { path: /any, respond: result }\nrun: event.ip\n";
    let settings = "trusted_proxies: [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";
    let house = House::open(&[("flows/in.yaml", flow), ("postrider.yaml", settings)]).await;
    for (forwarded, ip) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (&["198.51.100.1", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["203.0.113.9:1234"], "203.0.113.9"),
    ] {
        let headers: Vec<(&str, &str)> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        let (status, answer) = post(&house, "/in", &headers, "").await;
        assert_eq!((status, answer), (200, json!(ip)), "{forwarded:?}");
    }
    // Whoever is not trusted may say what it likes.
    for forwarded in ["198.51.100.1", "203.0.113.9, 198.51.100.1", "nonsense", ""] {
        let (status, answer) = post(&house, "/in", &[("x-forwarded-for", forwarded)], "").await;
        assert_eq!(status, 403, "{forwarded}: {answer}");
    }
    assert_eq!(post(&house, "/any", &[("x-forwarded-for", "nonsense, 10.0.0.1")], "").await.1, json!("10.0.0.1"));
    let house = House::open(&[("flows/in.yaml", flow)]).await;
    assert_eq!(post(&house, "/any", &[("x-forwarded-for", "203.0.113.9")], "").await.1, json!("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_has_the_status_that_the_sender_wants() {
    for (rest, status) in
        [("respond: accepted", 200), ("respond: { status: 202 }", 202), ("respond: { status: 201 }", 201)]
    {
        let house = House::open(&[("flows/in.yaml", &hook(rest))]).await;
        assert_eq!(post(&house, "/in", &[], "{}").await.0, status, "{rest}");
    }
}
