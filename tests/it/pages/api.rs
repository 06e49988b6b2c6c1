//! The API: that it is what its description says, that lists stay what they are while rows come in, and figures.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, ASKS};
use crate::support::engine::House;
use crate::support::{client, until};

/// The routes as they are written, each with its methods.
fn routes() -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/private.rs")).unwrap();
    let api = text.split("fn api()").nth(1).unwrap().split("\n}").next().unwrap();
    let mut routes = BTreeSet::new();
    for line in api.split(".route(\"").skip(1) {
        let (path, handlers) = line.split_once('"').unwrap();
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!(" {method}(")) || handlers.contains(&format!(".{method}(")) {
                routes.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_and_the_routes_are_the_same() {
    let house = House::open(&[ASKS]).await;
    let document = house.get("/openapi.json").await;
    assert_eq!(document["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            described.insert((method.clone(), path.clone()));
            let said = about["summary"].as_str().or(about["description"].as_str()).unwrap_or_default();
            assert!(!said.is_empty(), "{method} {path} says nothing");
        }
    }
    // A flow's name may have several parts: what hangs below it is told apart by its end.
    let of_flows = |(method, path): &(String, String)| {
        path.starts_with("/flows/{name}").then(|| (method.clone(), "/flows/{*name}".to_owned()))
    };
    let folded: BTreeSet<_> = described.iter().map(|route| of_flows(route).unwrap_or_else(|| route.clone())).collect();
    assert_eq!(folded, routes());
    for (method, path) in described {
        let path = path.replace("{name}", "approval").replace("{phone}", ADA).replace("{address}", ADA);
        let path = path.replace("{id}", "01900000-0000-7000-8000-000000000000").replace("{decision}", "cancel");
        if path == "/events" {
            continue;
        }
        let method: Method = method.to_uppercase().parse().unwrap();
        let (status, answer) = house.api(method.clone(), &path, Some(json!({}))).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(status != 405 && !message.contains("no such route"), "{method} {path}: {status} {answer}");
    }
    // What is described is what comes: each field of a run, and no other.
    house.trigger("approval", json!(null)).await;
    let run = house.get("/runs").await["runs"][0].clone();
    let fields: BTreeSet<&str> = document["components"]["schemas"]["RunRow"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let came: BTreeSet<&str> = run.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, came);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_list_neither_skip_nor_repeat_while_rows_come_in() {
    let house = House::open(&[("flows/hello.yaml", "run: send_text(\"+15417543010\", event.data)\n")]).await;
    for number in 0..25 {
        // An order needs times that differ.
        house.pass(Duration::from_millis(2));
        let run = house.trigger("hello", json!(format!("m {number}"))).await;
        house.run_is(&run, "succeeded").await;
    }
    for (list, rows) in [("runs", "/runs?limit=10"), ("messages", "/messages?limit=10")] {
        let mut seen: Vec<String> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let path = after.as_ref().map_or(rows.to_owned(), |after| format!("{rows}&after={after}"));
            let page = house.get(&path).await;
            seen.extend(page[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            // What comes meanwhile is on no page that was not read yet.
            house.pass(Duration::from_millis(2));
            house.trigger("hello", json!("more")).await;
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        let different: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(seen.len(), different.len(), "{list}");
        assert!(seen.len() >= 25, "{list}: {}", seen.len());
        // And back again.
        let newest = house.get(rows).await;
        let top: Vec<&str> = newest[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        let first = house.get(&format!("{rows}&after={}", top[9])).await;
        let back = house.get(&format!("{rows}&before={}", first[list][0]["id"].as_str().unwrap())).await;
        let ids: Vec<&str> = back[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, top, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_narrowed_by_states_words_and_counted() {
    let fails = ("flows/fails.yaml", "run: throw event.data\n");
    let waits = ("flows/waits.yaml", "run: sleep(\"1h\")\n");
    let house = House::open(&[fails, waits, ASKS]).await;
    for word in ["apple", "Pear"] {
        let run = house.trigger("fails", json!(word)).await;
        house.run_is(&run, "failed").await;
    }
    house.pass(Duration::from_secs(1));
    let waiting = house.trigger("waits", json!(null)).await;
    house.run_is(&waiting, "waiting").await;
    let ids = async |query: &str| house.get(&format!("/runs?{query}")).await["runs"].as_array().unwrap().len();
    assert_eq!(ids("state=failed,waiting").await, 3);
    assert_eq!(ids("state=failed").await, 2);
    assert_eq!(ids("state=failed&flow=waits").await, 0);
    assert_eq!(ids("q=pear").await, 1);
    assert_eq!(ids("q=PEAR&state=failed").await, 1);
    assert_eq!(ids("state=succeeded").await, 0);
    assert_eq!(ids(&format!("q={}", &waiting[24..])).await, 1);
    let counts = house.get("/runs?counts=true&limit=1").await["counts"].clone();
    let of = |name: &str| counts[name].as_u64();
    assert_eq!((of("failed"), of("waiting"), of("cancelled"), of("all")), (Some(2), Some(1), Some(0), Some(3)));
    // An id may be short, and the last one has a name.
    assert_eq!(house.get(&format!("/runs/{}", &waiting[30..])).await["id"], waiting.as_str());
    assert_eq!(house.get("/runs/last").await["id"], waiting.as_str());
    let (status, _) = house.api(Method::GET, "/runs/ffffffffff", None).await;
    assert_eq!(status, 404);
    let asks = house.trigger("approval", json!(null)).await;
    let run = house.run_is(&asks, "waiting").await;
    assert_eq!(run["waiting_for"]["who"], super::MANAGER);
    assert_eq!(run["waiting_for"]["question"], "May *Ada* buy a chair?");
    // What is open stands in the journal too.
    assert_eq!((run["open_entry"]["kind"].clone(), run["entries"].clone()), (json!("ask"), json!([])));
    let (status, answer) = house.api(Method::GET, "/runs?state=failed,odd", None).await;
    assert_eq!(status, 400, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_listed_by_when_they_were_written_whenever_their_run_began() {
    let late = ("flows/late.yaml", "run: |\n  sleep(\"1h\");\n  send_text(\"+15417543010\", \"late\")\n");
    let soon = ("flows/soon.yaml", "run: send_text(\"+15417543010\", \"soon\")\n");
    let house = House::open(&[late, soon]).await;
    let run = house.trigger("late", json!(null)).await;
    house.run_is(&run, "waiting").await;
    house.pass(super::MINUTE);
    let run = house.trigger("soon", json!(null)).await;
    house.run_is(&run, "succeeded").await;
    house.pass(super::MINUTE * 60);
    house.messages_are(2, "delivered").await;
    let texts = async |path: &str| -> Vec<Value> {
        house.get(path).await["messages"].as_array().unwrap().iter().map(|row| row["body"]["text"].clone()).collect()
    };
    assert_eq!(texts("/messages").await, ["late", "soon"]);
    assert_eq!(texts(&format!("/messages?to={ADA}")).await, ["late", "soon"]);
    let first = house.get("/messages?limit=1").await;
    assert_eq!(texts(&format!("/messages?after={}", first["next"].as_str().unwrap())).await, ["soon"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_is_listed_with_what_became_of_it() {
    let hook = (
        "flows/hook.yaml",
        "triggers:\n  - webhook: { path: /in, verify: { token: s3cret } }\n  - message: { text: hello }\nrun: 1\n",
    );
    let house = House::open(&[hook]).await;
    assert_eq!(house.hook("/in", &json!(1)).await.0, 401);
    assert_eq!(house.hook("/in", &json!(2)).await.0, 401);
    assert_eq!(house.hook("/nowhere", &json!(2)).await.0, 404);
    let url = format!("http://{}/hooks/in", house.engine.address().listen);
    assert_eq!(client().post(url).header("x-token", "s3cret").body("{}").send().await.unwrap().status(), 200);
    for text in ["hello", "what?"] {
        house.post("/sandbox/messages", json!({ "from": ADA, "text": text })).await;
    }
    let all = house.get("/incoming").await["incoming"].as_array().unwrap().clone();
    let told: BTreeSet<(&str, &str)> =
        all.iter().map(|row| (row["kind"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect();
    let expected = [("message", "began"), ("message", "unwanted"), ("webhook", "began"), ("webhook", "refused")];
    assert_eq!(told, BTreeSet::from(expected));
    let refused = house.get("/refused").await["refused"].as_array().unwrap().clone();
    assert_eq!(refused.len(), 2, "those that are alike are one");
    let wrong = refused.iter().find(|row| row["status"] == 401).unwrap();
    assert_eq!((wrong["count"].clone(), wrong["what"].clone()), (json!(2), json!("POST /hooks/in")));
    assert!(!wrong.to_string().contains("s3cret"));
    assert_eq!(house.get("/incoming?outcome=refused&q=nowhere").await["incoming"].as_array().unwrap().len(), 1);
    assert_eq!(house.get(&format!("/incoming?from={ADA}")).await["incoming"].as_array().unwrap().len(), 2);
    let needs = house.get("/needs").await["needs"].as_array().unwrap().clone();
    assert_eq!(needs.len(), 1, "{needs:?}");
    assert_eq!(needs[0]["title"], "2 calls to POST /hooks/in turned away");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_on_another_day_is_found_behind_all_that_came_later() {
    let hook = ("flows/hook.yaml", "triggers:\n  - webhook: /in\n  - every: 1m\nrun: 1\n");
    let house = House::open(&[hook]).await;
    assert_eq!(house.hook("/in?first=1", &json!(1)).await.0, 200);
    let run = house.get("/runs").await["runs"][0]["id"].as_str().unwrap().to_owned();
    house.run_is(&run, "succeeded").await;
    house.pass(Duration::from_secs(1));
    let then = house.clock_text();
    for count in 2..=5 {
        house.pass(super::MINUTE);
        until("the clock's run", async || (house.runs_of("hook").await.len() == count).then_some(())).await;
    }
    assert_eq!(house.hook("/in", &json!(2)).await.0, 200);
    let found =
        async |query: &str| house.get(&format!("/incoming?{query}")).await["incoming"].as_array().unwrap().len();
    assert_eq!(found("kind=webhook").await, 2);
    // More runs of the clock are newer than a page holds.
    assert_eq!(found("kind=webhook&limit=2").await, 2);
    assert_eq!(found(&format!("until={}&limit=1", then)).await, 1);
    assert_eq!(found("kind=file").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answered_a_question_leads_to_its_run() {
    let house = House::open(&[super::ASKS]).await;
    let run = house.trigger("approval", json!(null)).await;
    house.run_is(&run, "waiting").await;
    house.messages_are(1, "delivered").await;
    for text in ["perhaps", "Yes"] {
        house.post("/sandbox/messages", json!({ "from": super::MANAGER, "text": text })).await;
    }
    house.run_is(&run, "succeeded").await;
    let rows = house.get("/incoming").await["incoming"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((&row["run"], &row["flow"]), (&json!(run), &json!("approval")), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_of_the_sandbox_is_called_by_its_name_everywhere() {
    let hello = ("flows/hello.yaml", "triggers:\n  - message: {}\nrun: send_text(event.from, `Hello ${event.name}`)\n");
    let house = House::open(&[hello]).await;
    let phone = format!("/sandbox/phones/{ADA}");
    assert_eq!(house.api(Method::PUT, &phone, Some(json!({ "name": "Ada" }))).await.1["phone"], ADA);
    house.post("/sandbox/messages", json!({ "from": ADA, "text": "hi" })).await;
    house.messages_are(1, "delivered").await;
    let message = house.get("/messages").await["messages"][0].clone();
    assert_eq!((&message["name"], &message["body"]["text"]), (&json!("Ada"), &json!("Hello Ada")));
    // Called otherwise, it is so at once, also where it has written before.
    house.api(Method::PUT, &phone, Some(json!({ "name": "Grace" }))).await;
    assert_eq!(house.get("/messages").await["messages"][0]["name"], "Grace");
    assert_eq!(house.get("/sandbox/phones").await["phones"][0]["name"], "Grace");
    let long = "a".repeat(5_000);
    house.post("/sandbox/messages", json!({ "from": ADA, "text": long })).await;
    let people = house.get("/people").await;
    assert!(people.to_string().len() < 1_000, "{people}");
    let status =
        house.api(Method::POST, "/sandbox/messages", Some(json!({ "from": ADA, "text": "a".repeat(65_537) }))).await.0;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_not_there_are_refused_by_every_list() {
    let house = House::open(&[super::ASKS]).await;
    for path in
        ["engine", "stats", "needs", "refused", "flows", "accounts", "sandbox/phones", "runs", "messages", "people"]
    {
        let status = house.api(Method::GET, &format!("/{path}?nothing=1"), None).await.0;
        assert_eq!(status, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_nobody_knows_are_refused_and_do_nothing() {
    let house = House::open(&[("flows/hook.yaml", "triggers:\n  - webhook: /in\nrun: 1\n")]).await;
    let (_, run) = house.hook("/in", &json!({})).await;
    let run = run["run"].as_str().unwrap();
    let sent = house.post("/messages", json!({ "to": ADA, "text": "x" })).await;
    let message = sent["message"].as_str().unwrap();
    for (method, path, body, takes) in [
        (Method::POST, "/flows/hook/trigger", json!({ "evnt": {} }), "data, event"),
        (Method::POST, "/flows/hook/trigger", json!({ "data": 1, "wait": true }), "data, event"),
        (Method::POST, "/flows/hook/trigger", json!([1]), ""),
        (Method::PUT, "/flows/hook/source", json!({ "text": "", "txt": "" }), "text"),
        (Method::POST, "/flows", json!({ "name": "a", "text": "", "file": "" }), "name, text"),
        (Method::POST, "/check", json!({ "text": "", "name": "" }), "file, text"),
        (Method::POST, &format!("/runs/{run}/replay"), json!({ "resent": true }), "latest, resend"),
        (Method::POST, &format!("/runs/{run}/cancel"), json!({ "why": "" }), "no fields"),
        (Method::POST, &format!("/messages/{message}/release"), json!({ "how": "sent" }), "as"),
        (Method::POST, &format!("/messages/{message}/cancel"), json!({ "as": "sent" }), "no fields"),
        (Method::POST, "/messages/decisions", json!({ "decision": "cancel", "ids": [], "id": 1 }), "decision, as, ids"),
        (Method::POST, &format!("/people/{ADA}/opt-in"), json!({ "account": "sandbox", "to": 1 }), "account"),
        (Method::PUT, &format!("/sandbox/phones/{ADA}"), json!({ "nmae": "Ada" }), "name, off"),
        (Method::POST, "/sandbox/messages", json!({ "from": ADA, "txt": "x" }), "from, text"),
        (Method::POST, "/forget", json!({ "recipient": ADA, "all": true }), "recipient"),
    ] {
        let (status, answer) = house.api(method, path, Some(body.clone())).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        let hint = answer["error"]["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(takes), "{path} {body}: {answer}");
    }
    assert_eq!(house.runs_of("hook").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_there_writes_to_nobody_again() {
    let house = House::open(&[super::ASKS]).await;
    let status = async |account: &str| {
        house.api(Method::POST, &format!("/people/{ADA}/opt-in"), Some(json!({ "account": account }))).await.0
    };
    assert_eq!((status("sandbox").await, status("nobody").await), (200, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_checked_and_saved_only_over_the_text_that_it_changes() {
    let house = House::open(&[ASKS]).await;
    let check = async |text: &str| {
        house.post("/check", json!({ "file": "flows/approval.yaml", "text": text })).await["diagnostics"].clone()
    };
    assert_eq!(check(ASKS.1).await, json!([]));
    let wrong = check("run: send_txt(1, 2)\n").await;
    assert_eq!((wrong[0]["line"].clone(), wrong[0]["severity"].clone()), (json!(1), json!("error")));
    // What it would do to others is said too.
    let clash = house.post("/check", json!({ "file": "flows/other.yaml", "text": "name: approval\nrun: 1\n" })).await;
    assert!(clash["diagnostics"][0]["message"].as_str().unwrap().contains("has the name"), "{clash}");
    let source = house.get("/flows/approval/source").await;
    let url = format!("http://{}/api/v1/flows/approval/source", house.engine.address().admin);
    let token = std::fs::read_to_string(house.folder.path().join(".postrider/admin-token")).unwrap();
    let put = async |hash: Option<&str>, text: &str| {
        let mut request = client().put(&url).bearer_auth(token.trim()).body(json!({ "text": text }).to_string());
        if let Some(hash) = hash {
            request = request.header("if-match", hash);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let text = format!("{}# changed\n", ASKS.1);
    assert_eq!(put(None, &text).await, 428);
    assert_eq!(put(Some("another"), &text).await, 409);
    assert_eq!(put(source["hash"].as_str(), &text).await, 200);
    assert_eq!(put(source["hash"].as_str(), &text).await, 409, "the same change twice is one");
    assert_eq!(std::fs::read_to_string(house.folder.path().join("flows/approval.yaml")).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_in_the_form_that_prometheus_reads() {
    let fails = ("flows/fails.yaml", "run: throw 1\n");
    let cron = ("flows/cron.yaml", "triggers:\n  - every: 1m\nrun: send_text(\"+15417543010\", \"hello\")\n");
    let house = House::open(&[fails, cron]).await;
    let run = house.trigger("fails", json!(null)).await;
    house.run_is(&run, "failed").await;
    house.pass(super::MINUTE);
    house.messages_are(1, "delivered").await;
    assert_eq!(house.hook("/nowhere", &json!(1)).await.0, 404);
    let url = format!("http://{}/metrics", house.engine.address().admin);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 401);
    let token = std::fs::read_to_string(house.folder.path().join(".postrider/admin-token")).unwrap();
    let response = client().get(&url).bearer_auth(token.trim()).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    let value = |line: &str| -> f64 {
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
    };
    assert_eq!(value("postrider_runs_total{state=\"failed\"}"), 1.0);
    assert_eq!(value("postrider_runs_total{state=\"succeeded\"}"), 1.0);
    assert_eq!(value("postrider_messages_total{account=\"sandbox\",state=\"delivered\"}"), 1.0);
    assert_eq!(value("postrider_backlog{account=\"sandbox\"}"), 0.0);
    assert_eq!(value("postrider_account_ready{account=\"sandbox\"}"), 1.0);
    assert_eq!(value("postrider_oldest_waiting_seconds{account=\"sandbox\"}"), 0.0);
    assert_eq!(value("postrider_requests_refused_total{side=\"public\",status=\"404\"}"), 1.0);
    assert_eq!(value("postrider_schedule_lateness_seconds_count"), 1.0);
    assert_eq!(value("postrider_flows"), 2.0);
    assert!(value("postrider_commit_seconds_count") > 3.0 && value("process_resident_memory_bytes") > 1e6);
    assert!(value("postrider_commit_seconds_bucket{le=\"+Inf\"}") == value("postrider_commit_seconds_count"));
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    // Every name that the dashboard for Grafana asks for is there.
    let grafana = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana.json")).unwrap();
    let grafana: Value = serde_json::from_str(&grafana).unwrap();
    let mut asked = 0;
    for panel in grafana["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let names = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in names.filter(|name| name.starts_with("postrider_") || name.starts_with("process_")) {
                asked += 1;
                assert!(text.contains(&format!("\n{name}")), "{name} in {expr}");
            }
        }
    }
    assert!(asked >= 8, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_only_when_work_can_be_done() {
    let house = House::open(&[]).await;
    let url = format!("http://{}/readyz", house.engine.address().admin);
    let ready = async || client().get(&url).send().await.unwrap().status().as_u16();
    assert_eq!(ready().await, 200);
    let other = rusqlite::Connection::open(house.folder.path().join(".postrider/state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = tokio::time::timeout(std::time::Duration::from_secs(1), ready()).await;
    assert!(held.is_err(), "it waits for the file, which somebody holds");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ready().await, 200);
}
