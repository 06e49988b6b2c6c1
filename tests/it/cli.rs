//! The real binary, as a person uses it.

use serde_json::{Value, json};

use crate::support::binary::{self, Process, said};
use crate::support::{client, folder, until};

const HOOK: &str = "triggers:\n  - webhook: /in\nrun: |\n  send_text(event.body.to, event.body.text)\n";

async fn post(process: &Process, body: &Value) -> (u16, Value) {
    let url = format!("http://{}/hooks/in", process.public);
    let request = client().post(url).header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_and_everything_that_can_be_seen_of_it() {
    let shop =
        "triggers:\n  - every: 1d\n  - webhook: { path: \"/shop/{id}\", methods: [PUT, POST] }\nrun: event.path\n";
    let folder = folder(&[("flows/in.yaml", HOOK), ("flows/shop.yaml", shop)]);
    let path = folder.path();
    let process = Process::start(path);
    assert!(
        process.ready_line.starts_with("postrider is ready: webhooks on http://127.0.0.1:"),
        "{}",
        process.ready_line
    );
    let (status, answer) = post(&process, &json!({ "to": "+1 541-754-3010", "text": "hello" })).await;
    assert_eq!(status, 200);
    let run = answer["run"].as_str().unwrap().to_owned();
    until("the delivery", async || {
        (binary::json(path, &["messages"])["messages"][0]["state"] == "delivered").then_some(())
    })
    .await;

    let wrong = binary::run(path, &["why", "in", "xx"]);
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(2) && why.contains("`xx` is no day; write one such as"), "{why}");
    assert_eq!(binary::run(path, &["why", "nobody"]).status.code(), Some(1));

    let runs = binary::json(path, &["runs"]);
    assert_eq!(
        (runs["runs"][0]["id"].as_str(), runs["runs"][0]["state"].as_str()),
        (Some(run.as_str()), Some("succeeded"))
    );
    let shown = binary::json(path, &["runs", "show", &run]);
    assert_eq!((shown["entries"][0]["kind"].clone(), shown["entries"][0]["line"].clone()), (json!("send"), json!(4)));
    assert_eq!(shown["messages"][0]["to"], "+15417543010");
    let phones = binary::json(path, &["sandbox", "list"]);
    assert_eq!(
        (phones["messages"][0]["text"].clone(), phones["messages"].as_array().unwrap().len()),
        (json!("hello"), 1)
    );
    assert_eq!(binary::json(path, &["accounts"])["accounts"][0]["state"], "ready");
    assert_eq!(binary::json(path, &["flows"])["flows"][0]["triggers"][0]["path"], "/hooks/in");
    for (args, part) in [
        (&["runs"][..], "succeeded"),
        (&["runs", "show", &run], "TIMELINE"),
        (&["messages"], "delivered"),
        (&["sandbox", "list"], "hello"),
        (&["sandbox"], "hello"),
        (&["accounts"], "unlimited"),
        (&["flows"], "webhook /hooks/in"),
        (&["check"], "nothing to complain about"),
    ] {
        assert!(said(path, args).contains(part), "{args:?}");
    }
    said(path, &["send", "text", "+15417543011", "by hand"]);
    said(path, &["send", "link", "+15417543011", "https://example.com", "--title", "T", "--caption", "C"]);
    until("both", async || (binary::json(path, &["sandbox"])["messages"].as_array().unwrap().len() == 3).then_some(()))
        .await;
    let waited = binary::json(
        path,
        &["trigger", "in", "--event", "event.json", "--wait"].map(|arg| {
            std::fs::write(
                path.join("event.json"),
                r#"{"trigger":"webhook","body":{"to":"+15417543010","text":"tried"}}"#,
            )
            .unwrap();
            arg
        }),
    );
    assert_eq!((waited["state"].clone(), waited["trigger"].clone()), (json!("succeeded"), json!("webhook")));
    let asked = binary::json(path, &["trigger", "shop", "--body", "{}", "--wait"]);
    assert_eq!((&asked["result"], &asked["event"]["method"]), (&json!("/shop/{id}"), &json!("PUT")), "{asked}");

    for (args, code, part) in [
        (&["run"][..], 1, "another Postrider runs on this workspace (process "),
        (&["trigger", "im"], 1, "did you mean `in`?"),
        (&["trigger", "in", "--data", "{"], 1, "--data is no JSON"),
        (&["trigger", "in", "--wait"], 1, ""),
        (&["runs", "show", "nonsense"], 1, "is no run id"),
        (&["runs", "--state", "sleeping"], 1, "`sleeping` is none of queued, running"),
        (&["messages", "show", "01a1f7ed-7c14-712a-80cb-c2c157eaa1ff"], 1, "there is no message"),
        (&["send", "text", "abc", "x"], 1, "no phone number"),
        (&["send", "image", "+15417543010", "../x.png"], 1, "stay inside it"),
        (&["send", "fax", "+15417543010", "x"], 2, "possible values"),
        (&["fly"], 2, "unrecognized subcommand"),
    ] {
        let output = binary::run(path, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
    let (code, log) = process.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    let output = binary::run(path, &["runs"]);
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("not running on this workspace; start it with `postrider run`")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_side_is_for_whoever_holds_the_token_and_calls_it_by_name() {
    let folder = folder(&[("flows/in.yaml", HOOK)]);
    let process = Process::start(folder.path());
    let token = std::fs::read_to_string(folder.path().join(".postrider/admin-token")).unwrap();
    let ask = async |path: &str, host: Option<&str>, token: Option<&str>| {
        let mut request = client().get(format!("http://{}{path}", process.admin));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("/api/v1/runs", None, Some(&token)).await, 200);
    assert_eq!(ask("/api/v1/runs", Some("localhost:1"), Some(&token)).await, 200);
    assert_eq!(ask("/api/v1/runs", Some("evil.example"), Some(&token)).await, 403);
    assert_eq!(ask("/api/v1/runs", None, None).await, 401);
    assert_eq!(ask("/api/v1/runs", None, Some("wrong")).await, 401);
    assert_eq!(ask("/api/v1/nothing", None, None).await, 401);
    assert_eq!(ask("/api/v1/runs?colour=red", None, Some(&token)).await, 400);
    assert_eq!(ask("/healthz", None, None).await, 200);
    assert_eq!(ask("/readyz", None, None).await, 200);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    let modes = [".postrider", ".postrider/admin-token", ".postrider/state.db", ".postrider/lock"].map(mode);
    assert_eq!(modes, [0o700, 0o600, 0o600, 0o600]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_is_said_so_and_loses_nothing() {
    let folder = folder(&[("flows/in.yaml", HOOK)]);
    let mut command = std::process::Command::new("sh");
    // No file may grow beyond a mebibyte or half of one, as shells count; the signal for it is ignored, so that writes fail instead.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" run --listen 127.0.0.1:0 --admin 127.0.0.1:0";
    command.args(["-c", script, env!("CARGO_BIN_EXE_postrider")]).current_dir(folder.path());
    let process = Process::of(command, folder.path());
    let mut accepted = 0;
    let text = "x".repeat(20_000);
    let refused = until("the disk to be full", async || {
        let (status, answer) = post(&process, &json!({ "to": "+15417543010", "text": text })).await;
        accepted += usize::from(status == 200);
        (status == 503).then_some(answer)
    })
    .await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot be written") && message.contains("free some disk space"), "{message}");
    process.kill();
    // With room again, everything that was accepted is there and goes on.
    let process = Process::start(folder.path());
    until("all runs to end", async || {
        let runs = binary::json(folder.path(), &["runs", "--state", "succeeded", "--limit", "1000"]);
        (runs["runs"].as_array().unwrap().len() == accepted).then_some(())
    })
    .await;
    assert_eq!(post(&process, &json!({ "to": "+15417543010", "text": "again" })).await.0, 200);
    println!("{accepted} were accepted before the disk was full");
}

#[test]
fn a_state_file_that_is_not_ours_is_refused_and_left_alone() {
    type Make = fn(&std::path::Path);
    let newer: Make = |path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection
            .execute_batch("CREATE TABLE t (x); PRAGMA application_id = 0x706f7374; PRAGMA user_version = 99;")
            .unwrap();
    };
    let foreign: Make = |path| {
        rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE bills (x)").unwrap();
    };
    let damaged: Make = |path| std::fs::write(path, vec![7; 20_000]).unwrap();
    let cases = [
        (newer, "has format 99, this Postrider knows up to 12; use the newer version"),
        (foreign, "is no Postrider state file"),
        (damaged, "is damaged"),
    ];
    for (make, part) in cases {
        let folder = folder(&[(".postrider/keep", ""), ("flows/in.yaml", HOOK)]);
        let file = folder.path().join(".postrider/state.db");
        make(&file);
        let before = std::fs::read(&file).unwrap();
        let output = binary::run(folder.path(), &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(part), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "the file was changed");
    }
}
