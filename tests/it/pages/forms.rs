//! What people do on pages, without any script.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{ADA, ASKS, MANAGER, MINUTE, Visitor, page_says};
use crate::gateways::fake::{self, Fake, Mood};
use crate::support::engine::House;
use crate::support::{until, write};

/// What an outsider may write everywhere.
const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>*bold*</b>";

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_made_from_a_template_broken_mended_and_started() {
    let house = House::open(&[]).await;
    let visitor = Visitor::of(&house).await;
    let welcome = visitor.page("/").await;
    assert!(welcome.contains("Make your first flow") && welcome.contains("/flows/new?use=ask"), "{welcome}");
    let text = {
        let page = visitor.page("/flows/new?use=ask").await;
        assert!(page.contains("value=\"ask\"") && page.contains("no mistakes"), "{page}");
        include_str!("../../../src/http/pages/examples/ask.yaml")
    };
    let broken = text.replace("send_text(", "send_txt(");
    let page = visitor.form("/flows/new", &[("name", "ask"), ("text", &broken), ("do", "save")]).await;
    assert!(page.contains("1 mistake") && page.contains("Did you mean"), "{page}");
    assert!(!house.folder.path().join("flows/ask.yaml").exists(), "a mistake is not saved unasked");
    let page =
        visitor.form("/flows/new", &[("name", "ask"), ("text", &text.replace('\n', "\r\n")), ("do", "save")]).await;
    assert!(page.contains("flows/ask.yaml is saved"), "{page}");
    assert_eq!(std::fs::read_to_string(house.folder.path().join("flows/ask.yaml")).unwrap(), text);
    // There it is already.
    let again = visitor.send("/flows/new", &[("name", "ask"), ("text", text), ("do", "save")]).await;
    assert_eq!(again.status(), 409);
    for name in ["../evil", "UP", "", "a b", "a/../b", ".hidden"] {
        let refused = visitor.send("/flows/new", &[("name", name), ("text", text), ("do", "save")]).await;
        assert_eq!(refused.status(), 400, "{name}");
    }
    // Saved with a mistake: what was live goes on.
    let hash = house.get("/flows/ask/source").await["hash"].as_str().unwrap().to_owned();
    let page = visitor.form("/flows/ask/edit", &[("text", &broken), ("hash", &hash), ("do", "anyway")]).await;
    assert!(page.contains("It has a mistake"), "{page}");
    let page = page_says(&visitor, "/flows/ask", "This file has a mistake in").await;
    assert!(page.contains("class=\"l bad\"") && page.contains("old version live"), "{page}");
    // Somebody else saved meanwhile: nothing is overwritten.
    let theirs = format!("{text}# mine\n");
    write(house.folder.path(), "flows/ask.yaml", &theirs);
    let conflict = visitor.send("/flows/ask/edit", &[("text", text), ("hash", &hash), ("do", "save")]).await;
    assert_eq!(conflict.status(), 409);
    let page = conflict.text().await.unwrap();
    assert!(page.contains("changed by somebody else meanwhile") && page.contains("# mine"), "{page}");
    assert_eq!(std::fs::read_to_string(house.folder.path().join("flows/ask.yaml")).unwrap(), theirs);
    let page = visitor.form("/flows/ask/start", &[("data", "")]).await;
    assert!(page.contains("Run of <bdi>ask</bdi>"), "{page}");
    let page = visitor.form("/flows/ask/start", &[("data", "{no")]).await;
    assert!(page.contains("It was not started") && page.contains("{no"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_pipes_among_the_flows_are_neither_shown_nor_waited_for() {
    let house = House::open(&[ASKS]).await;
    let root = house.folder.path();
    std::os::unix::fs::symlink("../.postrider/admin-token", root.join("flows/token.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("flows/zero.yaml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(root.join("flows/pipe.yaml")).status().unwrap().success());
    let visitor = Visitor::of(&house).await;
    page_says(&visitor, "/flows", "flows/token.yaml").await;
    let token = std::fs::read_to_string(root.join(".postrider/admin-token")).unwrap();
    for name in ["token", "zero", "pipe"] {
        let request = visitor.request(Method::GET, &format!("/file?path=flows/{name}.yaml"));
        let response = request.send().await.unwrap();
        assert!(response.status().is_client_error(), "{name}: {}", response.status());
        assert!(!response.text().await.unwrap().contains(token.trim()), "{name}");
        let saved = visitor.send("/flows/new", &[("name", name), ("text", "run: 1\n"), ("do", "save")]).await;
        assert_eq!(saved.status(), 409, "{name}");
        assert!(!saved.text().await.unwrap().contains(token.trim()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_template_is_a_flow_without_a_mistake() {
    let house = House::open(&[]).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.page("/flows/new").await;
    let keys: Vec<&str> = page.split("?use=").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(keys.len(), 8);
    for key in keys {
        let page = visitor.page(&format!("/flows/new?use={key}")).await;
        assert!(page.contains("no mistakes") && !page.contains("hint"), "{key}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_on_a_phone_by_a_button_and_by_typing() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    for (typed, verdict) in [(false, "It was Yes"), (true, "It was No")] {
        let run = house.trigger("approval", json!(null)).await;
        let page = page_says(&visitor, "/phones", "waits <bdi>for an answer from").await;
        assert!(page.contains("May <strong>Ada</strong> buy a chair?"), "{page}");
        let page = match typed {
            false => {
                assert!(page.contains("name=\"choice\" value=\"Yes\""), "{page}");
                visitor.form(&format!("/phones/{MANAGER}/choose"), &[("choice", "Yes")]).await
            }
            true => visitor.form(&format!("/phones/{MANAGER}/type"), &[("text", "no!")]).await,
        };
        assert!(page.contains("Phones"), "{page}");
        house.run_is(&run, "succeeded").await;
        page_says(&visitor, "/phones", verdict).await;
        page_says(&visitor, &format!("/runs/{run}"), "The answer was").await;
    }
    // Who wrote has seen what stands there.
    let asked = house.get(&format!("/messages?to={MANAGER}")).await;
    assert!(asked["messages"].as_array().unwrap().iter().all(|message| message["state"] == "read"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_is_off_gets_what_waited_when_it_is_on() {
    let house = House::open(&[("flows/hello.yaml", "run: send_text(\"+15417543010\", \"hello\")\n")]).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.form("/phones", &[("phone", "+1 541-754-3015 Chloé D.")]).await;
    assert!(page.contains("Chloé D.") && page.contains("+1 541-754-3015"), "{page}");
    let page = visitor.form("/phones", &[("phone", "12 nobody")]).await;
    assert!(page.contains("There is no such phone") && page.contains("12 nobody"), "{page}");
    visitor.form(&format!("/phones/{ADA}/switch"), &[("off", "true")]).await;
    house.trigger("hello", json!(null)).await;
    let message = house.messages_are(1, "sent").await.remove(0);
    page_says(&visitor, "/phones", "1 message comes when it is on").await;
    visitor.form(&format!("/phones/{ADA}/switch"), &[("off", "false")]).await;
    let message = house.get(&format!("/messages/{}", message["id"].as_str().unwrap())).await;
    assert_eq!(message["state"], "delivered");
    let reached: Vec<&str> = message["attempts"][0]["reached"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(reached, ["sent", "delivered"]);
    visitor.form("/phones/empty", &[]).await;
    assert!(!visitor.page("/phones").await.contains("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_sent_from_a_phone_and_only_pictures_are_shown() {
    let hears = ("flows/hear.yaml", "triggers:\n  - message: {}\nrun: event.kind\n");
    let house = House::open(&[hears]).await;
    let visitor = Visitor::of(&house).await;
    let png =
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89"[..], &[0; 40]].concat();
    let send = async |name: &str, bytes: Vec<u8>| {
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().text("back", "/phones").part("file", part);
        let request = visitor.request(Method::POST, &format!("/phones/{ADA}/picture")).multipart(form);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("cake.png", png.clone()).await, 303);
    let page = page_says(&visitor, "/phones", "/pictures/").await;
    let path = page.split('"').find(|part| part.starts_with("/pictures/")).unwrap().to_owned();
    let response = visitor.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(response.bytes().await.unwrap(), png);
    let run = until("the run", async || house.runs_of("hear").await.first().cloned()).await;
    let run = house.run_is(run["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!(run["result"], "image");
    // A page that calls itself a picture is kept, and never shown as anything.
    assert_eq!(send("evil.png", b"<html><script>alert(1)</script></html>".to_vec()).await, 303);
    let blobs = std::fs::read_dir(house.folder.path().join(".postrider/blobs")).unwrap();
    for blob in blobs.flatten().map(|entry| entry.file_name().into_string().unwrap()) {
        let response = visitor.request(Method::GET, &format!("/pictures/{blob}")).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind == "image/png" || response.status() == 415, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_message_is_decided_for_one_and_for_all() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    let settings = fake.settings("pace: unlimited\nunknown_after: 1h");
    let house = House::open(&[("postrider.yaml", &settings)]).await;
    let visitor = Visitor::of(&house).await;
    fake.is(Mood::Breaks);
    for _ in 0..4 {
        let wish = json!({ "kind": "template", "to": ADA, "name": "t", "language": "en" });
        house.post("/messages", wish).await;
    }
    let messages = house.messages_are(4, "unknown").await;
    let ids: Vec<&str> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
    let page = visitor.page("/").await;
    assert!(page.contains("We do not know whether 4 messages of main went out"), "{page}");
    let page = visitor.page("/messages?state=unknown").await;
    assert!(page.contains("How to find out") && page.contains("All were sent"), "{page}");
    let back = ("back", "/messages?state=unknown");
    let page = visitor.form(&format!("/messages/{}/release", ids[0]), &[("as", "sent"), back]).await;
    assert!(page.contains("Noted: it was sent"), "{page}");
    let page = visitor.form(&format!("/messages/{}/release", ids[0]), &[("as", "sent"), back]).await;
    assert!(page.contains("Nothing was done") && page.contains("Only an unknown message"), "{page}");
    let all = ids.join(",");
    let page =
        visitor.form("/messages/decisions", &[("decision", "release"), ("as", "sent"), ("ids", &all), back]).await;
    assert!(page.contains("3 messages are settled"), "{page}");
    house.messages_are(4, "sent").await;
    // The same by the API.
    let (_, answer) =
        house.api(Method::POST, "/messages/decisions", Some(json!({ "decision": "cancel", "ids": ids }))).await;
    assert_eq!((answer["done"].as_array().unwrap().len(), answer["refused"].as_array().unwrap().len()), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_back_repeated_and_let_go_on() {
    let waits = ("flows/waits.yaml", "run: |\n  sleep(\"3h\");\n  send_text(\"+15417543010\", \"late\");\n  7\n");
    let fails = ("flows/fails.yaml", "run: |\n  sleep(\"1h\");\n  throw \"no\"\n");
    let house = House::open(&[waits, fails, ASKS]).await;
    let visitor = Visitor::of(&house).await;
    let run = house.trigger("waits", json!(null)).await;
    house.run_is(&run, "waiting").await;
    let page = visitor.page(&format!("/runs/{run}")).await;
    assert!(page.contains("Waiting <bdi>until") && page.contains("(in 3 h)"), "{page}");
    let page = visitor.form(&format!("/runs/{run}/skip"), &[]).await;
    assert!(page.contains("The wait is over"), "{page}");
    assert_eq!(house.run_is(&run, "succeeded").await["result"], 7);
    let page = visitor.form(&format!("/runs/{run}/skip"), &[]).await;
    assert!(page.contains("Nothing was done") && page.contains("it is succeeded"), "{page}");
    let page = visitor.form(&format!("/runs/{run}/replay"), &[("latest", "true")]).await;
    assert!(page.contains("A new run has begun") && page.contains("waits"), "{page}");
    // A question's wait ends as if its time were up.
    let asks = house.trigger("approval", json!(null)).await;
    house.run_is(&asks, "waiting").await;
    visitor.form(&format!("/runs/{asks}/skip"), &[]).await;
    assert_eq!(house.run_is(&asks, "succeeded").await["result"], json!(null));
    let failed = house.trigger("fails", json!(null)).await;
    house.run_is(&failed, "waiting").await;
    visitor.form(&format!("/runs/{failed}/skip"), &[]).await;
    house.run_is(&failed, "failed").await;
    let page = visitor.page(&format!("/runs/{failed}")).await;
    assert!(page.contains("failed at line 3") && page.contains("Go on"), "{page}");
    let page = visitor.form(&format!("/runs/{failed}/cancel"), &[]).await;
    assert!(page.contains("Nothing was done") && page.contains("over already"), "{page}");
    let other = house.trigger("waits", json!(null)).await;
    house.run_is(&other, "waiting").await;
    let page = visitor.form(&format!("/runs/{other}/cancel"), &[]).await;
    assert!(page.contains("The run is cancelled"), "{page}");
    house.run_is(&other, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_shows_both_sides_and_a_person_can_be_forgotten() {
    let hears =
        ("flows/hear.yaml", "triggers:\n  - message: { text: hello }\nrun: send_text(event.from, \"good day\")\n");
    let house = House::open(&[hears]).await;
    let visitor = Visitor::of(&house).await;
    house.post("/sandbox/messages", json!({ "from": ADA, "text": "hello *there*", "name": "Ada Lovelace" })).await;
    house.messages_are(1, "delivered").await;
    house.post("/sandbox/messages", json!({ "from": ADA, "text": "anybody?" })).await;
    let page = visitor.page(&format!("/people/{ADA}")).await;
    for says in ["Ada Lovelace", "hello <strong>there</strong>", "good day", "nobody wanted it", "+1 541-754-3010"] {
        assert!(page.contains(says), "{says}: {page}");
    }
    let row = house.get("/messages").await["messages"][0].clone();
    assert_eq!(row["name"], "Ada Lovelace");
    let page =
        visitor.form("/messages", &[("to", ADA), ("text", "by hand"), ("back", &format!("/people/{ADA}"))]).await;
    assert!(page.contains("The message goes out"), "{page}");
    let page = visitor.form("/messages", &[("to", "nobody"), ("text", "kept words")]).await;
    assert!(page.contains("The message was not written") && page.contains("kept words"), "{page}");
    house.post("/sandbox/messages", json!({ "from": ADA, "text": "STOP" })).await;
    page_says(&visitor, &format!("/people/{ADA}"), "Wants no more messages of sandbox").await;
    let page = visitor.form(&format!("/people/{ADA}/opt-in"), &[("account", "sandbox")]).await;
    assert!(page.contains("sandbox may write again") && !page.contains("Wants no more messages"), "{page}");
    let page = visitor.form(&format!("/people/{ADA}/forget"), &[("confirm", MANAGER)]).await;
    assert!(page.contains("Nobody was forgotten"), "{page}");
    let page = visitor.form(&format!("/people/{ADA}/forget"), &[("confirm", "1 541 754 3010")]).await;
    assert!(page.contains("The person is forgotten"), "{page}");
    let page = visitor.page(&format!("/people/{ADA}")).await;
    assert!(!page.contains("Lovelace") && page.contains("Nothing was said yet"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_outsider_writes_is_markup() {
    let hook = (
        "flows/hook.yaml",
        "triggers:\n  - webhook: /in\n  - message: {}\nrun: |\n  log::info(event?.body?.text ?? event?.text);\n  kv::set(\"k\", event?.body?.text ?? event?.text);\n  send_text(\"+15417543010\", event?.body?.text ?? event?.text);\n  if event?.body != () { throw event.body.text }\n  sleep(\"0s\");\n  throw event.text\n",
    );
    let house = House::open(&[hook]).await;
    let visitor = Visitor::of(&house).await;
    house.hook("/in", &json!({ "text": MARKUP, MARKUP: MARKUP })).await;
    house.post("/sandbox/messages", json!({ "from": ADA, "text": MARKUP, "name": MARKUP })).await;
    house.hook("/<script>alert(3)<%2Fscript>", &json!(1)).await;
    until("both runs", async || {
        let runs = house.runs_of("hook").await;
        (runs.len() == 2 && runs.iter().all(|run| run["state"] == "failed")).then_some(())
    })
    .await;
    visitor.form("/phones", &[("phone", &format!("{MANAGER} {MARKUP}"))]).await;
    let runs = house.runs_of("hook").await;
    let mut paths: Vec<String> = [
        "/",
        "/flows",
        "/flows/hook",
        "/flows/hook?view=values",
        "/runs",
        "/incoming",
        "/messages",
        "/accounts",
        "/phones",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(format!("/people/{ADA}"));
    paths.extend(runs.iter().map(|run| format!("/runs/{}", run["id"].as_str().unwrap())));
    let query: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
    paths.push(format!("/runs?q={query}"));
    paths.push(format!("/messages?q={query}"));
    paths.push(format!("/flows?q={query}&show={query}"));
    paths.push(format!("/incoming?q={query}"));
    for path in paths {
        let page = visitor.page(&path).await;
        for bad in ["<script>alert", "<img src=x", "onerror=alert(2)>\"", "'><b>"] {
            assert!(!page.contains(bad), "{path} holds {bad}: {page}");
        }
    }
    // And where it stands it can be read.
    let page = visitor.page("/messages").await;
    assert!(page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_tested_and_its_secret_address_shown_only_when_asked_for() {
    let fake = Fake::away(fake::gowa::DIALECT);
    let settings =
        format!("public_url: https://hooks.example.com\n{}", fake.settings("inbound_token: very-secret-token-1234"));
    let house = House::open(&[("postrider.yaml", &settings)]).await;
    let visitor = Visitor::of(&house).await;
    house.post("/messages", json!({ "to": ADA, "text": "hello" })).await;
    until("the pause", async || (house.get("/accounts").await["accounts"][0]["state"] == "paused").then_some(())).await;
    house.pass(Duration::from_secs(1));
    let page = visitor.page("/accounts").await;
    assert!(page.contains("Nothing goes out") && page.contains("1 message waits"), "{page}");
    assert!(page.contains("hooks.example.com/gateways/main/••••••") && !page.contains("very-secret"), "{page}");
    let page = visitor.page("/accounts?address=main").await;
    assert!(page.contains("gateways/main/very-secret-token-1234"), "{page}");
    let page = visitor.form("/accounts/main/check", &[]).await;
    assert!(page.contains("main cannot send"), "{page}");
    let page = visitor.form("/accounts/main/probe", &[]).await;
    assert!(page.contains("main tries now"), "{page}");
    let overview = visitor.page("/").await;
    assert!(overview.contains("Account main cannot send") && !overview.contains("very-secret"), "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_shows_what_ran_what_did_not_and_when_the_clock_changes() {
    let daily = ("flows/daily.yaml", "triggers:\n  - cron: \"30 8 * * *\"\nrun: 1\n");
    let often = ("flows/often.yaml", "triggers:\n  - every: 15m\nrun: 1\n");
    let house = House::open(&[daily, often, ("postrider.yaml", "timezone: Europe/Berlin\n")]).await;
    let visitor = Visitor::of(&house).await;
    house.pass(MINUTE * 30);
    until("the runs", async || (house.runs_of("daily").await.len() == 1).then_some(())).await;
    let page = page_says(&visitor, "/schedule", "08:30: 1 ran").await;
    assert!(page.contains("96 due") && page.contains("17 November to 23 November"), "{page}");
    // The week in which the clock goes back.
    let page = visitor.page("/schedule?from=2026-10-23").await;
    assert!(page.contains("the clock goes back by an hour at 03:00 in Berlin"), "{page}");
    let next = house.get("/next?to=2026-11-21T00:00:00Z&limit=3").await;
    assert_eq!(next["occurrences"].as_array().unwrap().len(), 3);
    let shifts = house.get("/next?from=2026-10-20T00:00:00Z&to=2026-10-30T00:00:00Z&limit=1").await;
    assert_eq!(
        shifts["shifts"],
        json!([{ "at": "2026-10-25T01:00:00.000Z", "timezone": "Europe/Berlin", "minutes": -60 }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_to_come_counts_all_that_is_due_or_says_that_nobody_counted() {
    let flow = |trigger: &str| format!("triggers:\n  - {trigger}\nrun: 1\n");
    let triggers = ["cron: \"@daily\"", "cron: \"* * * * *\"", "every: 30s", "every: 1s"].map(flow);
    let names = ["flows/a.yaml", "flows/b.yaml", "flows/c.yaml", "flows/d.yaml", "postrider.yaml"];
    let texts = triggers.iter().map(String::as_str).chain(["timezone: UTC\n"]);
    let files: Vec<(&str, &str)> = names.into_iter().zip(texts).collect();
    let house = House::open(&files).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.page("/schedule?from=2026-12-05").await;
    for said in ["00:00: 1 due", "1,440 due", "2,880 due", "more than 3,000 due"] {
        assert_eq!(page.matches(&format!("aria-label=\"{said}\"")).count(), 7, "{said}: {page}");
    }
    assert!(page.contains("These days have yet to come: more than 51,247 times are due."), "{page}");
    let next = house.get("/next?from=2026-12-05T00:00:00Z&limit=4").await;
    let rows = next["occurrences"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["at"] == "2026-12-05T00:00:00.000Z"), "{next}");
    let page = visitor.page("/schedule?from=2025-03-01").await;
    assert!(page.contains("Nothing was due on these days, as far as is on record."), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_change_are_named_once_for_each_time_by_the_hands_before() {
    let flow = |zone: &str| format!("timezone: {zone}\ntriggers:\n  - at: 2020-01-01T00:00:00Z\nrun: 1\n");
    let files = ["Europe/Paris", "Europe/London", "America/New_York", "Asia/Tokyo"].map(flow);
    let names = ["flows/a.yaml", "flows/b.yaml", "flows/c.yaml", "flows/d.yaml"];
    let mut all: Vec<(&str, &str)> = names.into_iter().zip(files.iter().map(String::as_str)).collect();
    all.push(("postrider.yaml", "timezone: Europe/Berlin\n"));
    let house = House::open(&all).await;
    let visitor = Visitor::of(&house).await;
    for (from, said) in [
        ("2027-03-26", &["goes on by an hour at 02:00 in Berlin, Paris", "goes on by an hour at 01:00 in London"][..]),
        ("2027-10-29", &["goes back by an hour at 03:00 in Berlin, Paris", "goes back by an hour at 02:00 in London"]),
        ("2026-10-30", &["goes back by an hour at 02:00 in New York"]),
        ("2026-12-05", &[]),
    ] {
        let page = visitor.page(&format!("/schedule?from={from}")).await;
        assert!(said.iter().all(|said| page.contains(&format!("the clock {said}<"))), "{from}: {page}");
        assert_eq!(page.matches("class=\"shift\"").count(), said.len(), "{from}: {page}");
    }
    let page = visitor.page("/schedule?from=2026-12-05").await;
    assert!(page.contains("These days have yet to come. Nothing is due on them."), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_in_the_viewers_zone() {
    let house = House::open(&[ASKS, ("postrider.yaml", "timezone: Europe/Berlin\n")]).await;
    let visitor = Visitor::of(&house).await;
    house.trigger("approval", json!(null)).await;
    let at = async |cookie: &str| {
        let cookie = format!("{}; {cookie}", visitor.cookie);
        let request = visitor.request(Method::GET, "/runs").header("cookie", cookie);
        request.send().await.unwrap().text().await.unwrap()
    };
    for (cookie, clock, city) in [
        ("a=b", "08:00", "Berlin"),
        ("tz=America/New_York", "02:00", "New York"),
        ("tz=Asia%2FKolkata", "12:30", "Kolkata"),
        ("tz=Nowhere/At_All", "08:00", "Berlin"),
        ("tz=<script>", "08:00", "Berlin"),
    ] {
        let page = at(cookie).await;
        assert!(
            page.contains(&format!(">{clock}</time>")) && page.contains(&format!("<span id=\"zone\">{city}")),
            "{cookie}: {page}"
        );
    }
    let dark = at("theme=dark").await;
    assert!(dark.contains("<html lang=\"en\" data-theme=\"dark\">"), "{dark}");
    let odd = at("theme=\"><script>").await;
    assert!(odd.contains("<html lang=\"en\">"), "{odd}");
}
