//! Webhooks over real HTTP: what is taken, what is refused, and what is answered.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{client, until};

const ECHO: &str = r#"
triggers:
  - webhook: { path: "/echo/{shop}/{id}", methods: [POST, GET, PUT], respond: result }
run: event
"#;
const ENDINGS: &str = r#"
triggers:
  - webhook: { path: /end, respond: result }
run: |
  let how = event.body.how;
  if how == "respond" { respond(418, #{ tea: true }, #{ "X-Pot": "yes" }); sleep("1h"); }
  if how == "text" { respond(200, "plain"); }
  if how == "empty" { respond(204); }
  if how == "fail" { fail("no stock"); }
  if how == "throw" { let x = 1 / 0; }
  if how == "sleep" { sleep("1h"); }
  #{ value: how }
"#;

struct Caller<'a>(&'a House);

impl Caller<'_> {
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Value, reqwest::header::HeaderMap) {
        let url = format!("http://{}{path}", self.0.engine.address().listen);
        let mut request = client().request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)), headers)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_sees_the_request() {
    let house = House::open(&[("flows/echo.yaml", ECHO)]).await;
    let caller = Caller(&house);
    let json = ("content-type", "application/json; charset=utf-8");
    let (status, event, _) = caller
        .call(
            Method::POST,
            "/hooks/echo/k%C3%B6ln/17?a=1&b=x&b=y",
            &[json, ("X-Shop", "s"), ("Cookie", "c"), ("Authorization", "Bearer b")],
            br#"{"n": 1.50, "big": 12345678901234567890, "list": [null, true]}"#.to_vec(),
        )
        .await;
    assert_eq!(status, 200);
    for (pointer, wanted) in [
        ("/trigger", json!("webhook")),
        ("/method", json!("POST")),
        ("/path", json!("/echo/k%C3%B6ln/17")),
        ("/params", json!({ "shop": "köln", "id": "17" })),
        ("/query", json!({ "a": "1", "b": ["x", "y"] })),
        ("/body/n", json!(1.5)),
        ("/body/list", json!([null, true])),
        ("/headers/x-shop", json!("s")),
        ("/ip", json!("127.0.0.1")),
        ("/flow", json!("echo")),
        ("/raw", json!(r#"{"n": 1.50, "big": 12345678901234567890, "list": [null, true]}"#)),
    ] {
        assert_eq!(event.pointer(pointer), Some(&wanted), "{pointer}");
    }
    assert!(event["headers"].get("cookie").is_none() && event["headers"].get("authorization").is_none());

    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = async |headers: &[(&str, &str)], text: &str| {
        caller.call(Method::POST, "/hooks/echo/a/b", headers, text.as_bytes().to_vec()).await.1["body"].clone()
    };
    assert_eq!(body(&[form], "name=Ada+L&x=%26&x=2").await, json!({ "name": "Ada L", "x": ["&", "2"] }));
    assert_eq!(body(&[form], r#"{"curl": "says nothing"}"#).await, json!({ "curl": "says nothing" }));
    // What begins as JSON and is none is a form, if it has names as a form does.
    assert_eq!(body(&[form], "[0]=a&[1]=b").await, json!({ "[0]": "a", "[1]": "b" }));
    assert_eq!(body(&[form], "{x}=1").await, json!({ "{x}": "1" }));
    assert_eq!(body(&[("content-type", "text/plain")], "{words}").await, json!("{words}"));
    assert_eq!(body(&[], "").await, Value::Null);
    let (status, event, _) = caller.call(Method::GET, "/hooks/echo/a/b", &[], Vec::new()).await;
    assert_eq!((status, event["method"].clone()), (200, json!("GET")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_with_its_reason_and_the_next_one_is_served() {
    let files = [
        ("flows/echo.yaml", ECHO),
        ("flows/token.yaml", "triggers:\n  - webhook: { path: /token, verify: { token: \"${T:-s3cret}\" } }\nrun: 1\n"),
        ("flows/off.yaml", "enabled: false\ntriggers:\n  - webhook: /off\nrun: 1\n"),
    ];
    let house = House::open(&files).await;
    let caller = Caller(&house);
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let deep = "[".repeat(200_000);
    let nested = format!("{}{}", "[".repeat(120), "]".repeat(120));
    for (method, path, headers, body, wanted, part) in [
        (Method::POST, "/hooks/echo/a/b", vec![json], b"{\"a\": nope}".to_vec(), 400, "line 1 column 8"),
        (Method::POST, "/hooks/echo/a/b", vec![json], b"{\"a\": 1} trailing".to_vec(), 400, "line 1 column 10"),
        // Curl calls it a form; in a form it would be written another way.
        (Method::POST, "/hooks/echo/a/b", vec![form], b"{\"a\":".to_vec(), 400, "no JSON: EOF"),
        (
            Method::POST,
            "/hooks/echo/a/b",
            vec![json],
            deep.into_bytes(),
            400,
            "nested more than 100 deep, at line 1 column 101",
        ),
        (
            Method::POST,
            "/hooks/echo/a/b",
            vec![json],
            nested.into_bytes(),
            400,
            "nested more than 100 deep, at line 1 column 101",
        ),
        (
            Method::POST,
            "/hooks/echo/a/b",
            vec![json],
            b"{\n \"a\": 1,\n \"b\": tru\n}".to_vec(),
            400,
            "line 3 column 10",
        ),
        (Method::POST, "/hooks/echo/a/b", vec![json], "{\"\u{e9}\": x}".into(), 400, "line 1 column 7"),
        (Method::POST, "/hooks/echo/a/b", vec![json], b"{\"a\":1e400}".to_vec(), 400, "a number that is too large"),
        (Method::POST, "/hooks/echo/a/b", vec![form], b"{\"a\": \"x=1\", }".to_vec(), 400, "no JSON: "),
        (Method::POST, "/hooks/echo/a/b", vec![], vec![b'x'; (1 << 20) + 1], 413, "larger than 1048576 bytes"),
        (Method::POST, "/hooks/nowhere", vec![], Vec::new(), 404, "no flow has a webhook at /nowhere"),
        (Method::POST, "/hooks/off", vec![], Vec::new(), 404, "no flow has"),
        (Method::POST, "/elsewhere", vec![], Vec::new(), 404, "below /hooks"),
        (Method::DELETE, "/hooks/echo/a/b", vec![], Vec::new(), 405, "takes POST and GET and PUT, not DELETE"),
        (Method::GET, "/hooks/token", vec![], Vec::new(), 405, "takes POST"),
        (Method::POST, "/hooks/token", vec![], Vec::new(), 401, "a token is missing"),
        (Method::POST, "/hooks/token", vec![("x-token", "wrong")], Vec::new(), 401, "the token is wrong"),
        (Method::POST, "/hooks/token", vec![("authorization", "Bearer s3cret!")], Vec::new(), 401, "wrong"),
        (Method::GET, "/api/v1/runs", vec![], Vec::new(), 404, "below /hooks"),
    ] {
        let (status, answer, headers) = caller.call(method.clone(), path, &headers, body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{method} {path}: {message}");
        assert_eq!(headers.contains_key("allow"), status == 405);
    }
    for header in [("x-token", "s3cret"), ("authorization", "bearer s3cret")] {
        let (status, answer, headers) = caller.call(Method::POST, "/hooks/token", &[header], Vec::new()).await;
        assert_eq!(status, 200);
        let place = format!("/api/v1/runs/{}", answer["run"].as_str().unwrap());
        assert_eq!(headers["location"], place.as_str());
    }
    assert_eq!(house.get("/runs").await["runs"].as_array().unwrap().len(), 2, "only the good ones became runs");
    // The owner is told what only the owner can do; callers are not. What is long is cut.
    let newest = async || house.get("/refused").await["refused"][0].clone();
    let (_, answer, _) = caller.call(Method::POST, "/hooks/echo/a/b", &[], vec![b'x'; (1 << 20) + 1]).await;
    assert_eq!(
        answer["error"],
        json!({ "kind": "too_large", "message": "the body is larger than 1048576 bytes", "hint": null })
    );
    assert_eq!(
        newest().await["reason"],
        "the body is larger than 1048576 bytes; raise `limits.body` in postrider.yaml"
    );
    let long = Method::from_bytes(&[b'X'; 3_000]).unwrap();
    for (method, path) in
        [(long, "/hooks/echo/a/b".to_owned()), (Method::POST, format!("/hooks/{}", "x".repeat(3_000)))]
    {
        caller.call(method, &path, &[], Vec::new()).await;
        let row = newest().await;
        assert!(row["reason"].as_str().unwrap().chars().count() < 300, "{row}");
        assert!(row["what"].as_str().unwrap().contains(" /hooks/"), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_checked_over_the_raw_body() {
    let flow = |path: &str, rule: &str| {
        format!("triggers:\n  - webhook: {{ path: {path}, verify: {{ hmac: {{ {rule} }} }} }}\nrun: 1\n")
    };
    let plain = flow("/plain", "header: X-Signature, secret: one");
    let github = flow("/prefix", "header: X-Sig, secret: [old, new], algorithm: sha1, prefix: \"sha1=\"");
    let base64 = flow("/base64", "header: X-Sig, secret: one, algorithm: sha512, encoding: base64");
    let house = House::open(&[("flows/a.yaml", &plain), ("flows/b.yaml", &github), ("flows/c.yaml", &base64)]).await;
    let caller = Caller(&house);
    let body = br#"{ "a":1 }"#;
    macro_rules! sign {
        ($hash:ty, $key:expr) => {{
            let mut mac = Hmac::<$hash>::new_from_slice($key).unwrap();
            mac.update(body);
            mac.finalize().into_bytes().to_vec()
        }};
    }
    use base64::Engine as _;
    let one = hex::encode(sign!(sha2::Sha256, b"one"));
    let new = format!("sha1={}", hex::encode(sign!(sha1::Sha1, b"new")));
    let old = format!("sha1={}", hex::encode(sign!(sha1::Sha1, b"old")));
    let long = base64::engine::general_purpose::STANDARD.encode(sign!(sha2::Sha512, b"one"));
    let mut flipped = one.clone().into_bytes();
    flipped[5] ^= 1;
    let flipped = String::from_utf8(flipped).unwrap();
    for (path, header, signature, sent, wanted) in [
        ("/hooks/plain", "x-signature", one.as_str(), &body[..], 200),
        ("/hooks/plain", "x-signature", &one.to_uppercase(), &body[..], 200),
        ("/hooks/plain", "x-signature", &flipped, &body[..], 401),
        ("/hooks/plain", "x-signature", &one, br#"{"a":1}"#, 401),
        ("/hooks/plain", "x-other", &one, &body[..], 401),
        ("/hooks/plain", "x-signature", "", &body[..], 401),
        ("/hooks/prefix", "x-sig", &new, &body[..], 200),
        ("/hooks/prefix", "x-sig", &old, &body[..], 200),
        ("/hooks/prefix", "x-sig", new.trim_start_matches("sha1="), &body[..], 401),
        ("/hooks/base64", "x-sig", &long, &body[..], 200),
        ("/hooks/base64", "x-sig", &one, &body[..], 401),
    ] {
        let (status, answer, _) = caller.call(Method::POST, path, &[(header, signature)], sent.to_vec()).await;
        assert_eq!(status, wanted, "{path} {signature}");
        assert!(!answer.to_string().contains(&one), "nothing computed is told");
    }
    for run in house.get("/runs").await["runs"].as_array().unwrap() {
        let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
        let headers = run["event"]["headers"].to_string();
        assert!(!headers.contains("x-sig"), "{headers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_gets_what_the_run_says() {
    let house = House::open(&[("flows/end.yaml", ENDINGS)]).await;
    let caller = Caller(&house);
    let end = async |how: &str| {
        let body = json!({ "how": how }).to_string().into_bytes();
        caller.call(Method::POST, "/hooks/end", &[("content-type", "application/json")], body).await
    };
    let (status, body, headers) = end("respond").await;
    assert_eq!((status, body, headers["x-pot"].to_str().unwrap()), (418, json!({ "tea": true }), "yes"));
    let (status, body, headers) = end("text").await;
    assert_eq!(
        (status, body, headers["content-type"].to_str().unwrap()),
        (200, json!("plain"), "text/plain; charset=utf-8")
    );
    assert_eq!(end("empty").await.0, 204);
    let (status, body, _) = end("value").await;
    assert_eq!((status, body), (200, json!({ "value": "value" })));
    for how in ["fail", "throw"] {
        let (status, body, _) = end(how).await;
        assert_eq!((status, body["error"].clone()), (500, json!({ "kind": "failed" })));
        assert!(body["run"].is_string());
    }
    // A run that takes longer than the caller's patience: its id, after thirty seconds.
    let (answer, ()) = tokio::join!(end("sleep"), async {
        until("the run to sleep", async || {
            let runs = house.get("/runs?state=waiting").await;
            (runs["runs"].as_array().unwrap().len() == 2).then_some(())
        })
        .await;
        house.pass(std::time::Duration::from_secs(31));
    });
    assert_eq!(answer.0, 202);
    assert!(answer.1["run"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_sends_callers_away_until_there_is_room() {
    let files = [
        ("postrider.yaml", "limits: { backlog: 2, cpu_turn: 10s }\n"),
        ("flows/busy.yaml", "triggers:\n  - webhook: /busy\nrun: |\n  let i = 0; while i < 3_000_000 { i += 1; }\n"),
    ];
    let house = House::open(&files).await;
    let caller = Caller(&house);
    let mut refused = 0;
    for _ in 0..8 {
        let (status, answer, headers) = caller.call(Method::POST, "/hooks/busy", &[], Vec::new()).await;
        if status == 503 {
            refused += 1;
            assert!(
                headers.contains_key("retry-after")
                    && answer["error"]["message"].as_str().unwrap().contains("limits.backlog")
            );
        } else {
            assert_eq!(status, 200);
        }
    }
    assert!(refused > 0);
    until("room", async || {
        let (status, ..) = caller.call(Method::POST, "/hooks/busy", &[], Vec::new()).await;
        (status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_script_that_takes_long() {
    let slow = "triggers:\n  - webhook: /slow\nrun: |\n  let n = 0;\n  while n < 100000 { n += 1; }\n  n\n";
    let quick = "triggers:\n  - webhook: /quick\nrun: event.body.n\n";
    let house = House::open(&[("flows/slow.yaml", slow), ("flows/quick.yaml", quick)]).await;
    let (status, answer) = house.hook("/slow", &json!({})).await;
    assert_eq!(status, 200);
    // It is on record before its first turn is over, and that turn counts all the same.
    let id = answer["run"].as_str().unwrap();
    let run = house.get(&format!("/runs/{id}")).await;
    assert_eq!(run["finished_at"], Value::Null, "{run}");
    assert_eq!(house.run_is(id, "succeeded").await["result"], 100_000);
    let mut runs = Vec::new();
    for n in 0..20 {
        let (status, answer) = house.hook("/quick", &json!({ "n": n })).await;
        assert_eq!(status, 200);
        runs.push(answer["run"].as_str().unwrap().to_owned());
    }
    for (n, run) in runs.iter().enumerate() {
        assert_eq!(house.run_is(run, "succeeded").await["result"], n);
    }
    assert_eq!(house.runs_of("quick").await.len(), 20, "each once");
}
