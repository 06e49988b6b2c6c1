//! Corners that once were wrong.

use std::time::Duration;

use postrider::clock::Clock;
use serde_json::{Value, json};

use crate::support::binary::{self, Process};
use crate::support::engine::House;
use crate::support::gateway::{Gateway, Say};
use crate::support::{client, folder, until, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_twice_in_one_run_is_one_message_whatever_stands_between() {
    let flow = r#"run: |
  let to = "+15417543010";
  let a = send_text(to, "x", #{ key: "k" });
  let b = send_text(to, "x", #{ key: "k" });
  kv::get("a");
  let c = send_text(to, "x", #{ key: "k" });
  sleep("1h");
  let d = send_text(to, "x", #{ key: "k" });
  [a.id == b.id, b.id == c.id, c.id == d.id, d.wait().status]
"#;
    let house = House::open(&[("flows/k.yaml", flow)]).await;
    let id = house.trigger("k", Value::Null).await;
    house.sleep_through(&id).await;
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], json!([true, true, true, "delivered"]));
    assert_eq!(house.get("/messages").await["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_could_not_be_read_again_is_refused_at_the_door() {
    let house = House::open(&[("flows/in.yaml", "triggers:\n  - webhook: /in\nrun: 1\n")]).await;
    let url = format!("http://{}/hooks/in", house.engine.address().listen);
    for body in [r#"{"a":1e999}"#, r#"{"a":"\u12"}"#, "{\"a\":\"\u{1}\"}"] {
        let request = client().post(&url).header("content-type", "application/json").body(body);
        let response = request.send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert!(status == 400 && text.contains("line 1 column"), "{body}: {status} {text}");
    }
    assert!(house.get("/runs").await["runs"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volley_that_fails_counts_once_and_a_probe_that_is_busy_does_not_reopen_the_lane() {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let flow = "run: |\n  for i in 10..50 { send_text(`+154175430${i}`, `m ${i}`); }\n";
    let house = House::open(&[("flows/v.yaml", flow), ("postrider.yaml", &gateway.settings("pace: unlimited"))]).await;
    house.trigger("v", Value::Null).await;
    let account = async || house.get("/accounts").await["accounts"][0].clone();
    let settled = async || {
        until("all to come back", async || {
            let messages = house.get("/messages?state=queued&limit=100").await;
            (messages["messages"].as_array().unwrap().len() == 40).then_some(())
        })
        .await
    };
    until("the volley", async || (gateway.got().len() == 40).then_some(())).await;
    settled().await;
    let paused = until("the pause", async || Some(account().await).filter(|paused| paused["state"] == "paused")).await;
    let probe_at: jiff::Timestamp = paused["probe_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(probe_at.duration_since(house.clock.now()).as_secs(), 5, "{paused}");
    gateway.now_says(|_, _| Say::No(503, "DEVICE_MANAGER_UNAVAILABLE", None));
    house.pass(Duration::from_secs(5));
    until("the probe", async || (gateway.got().len() == 41).then_some(())).await;
    until("its record", async || {
        let at: jiff::Timestamp = account().await["probe_at"].as_str()?.parse().unwrap();
        (at > house.clock.now()).then_some(())
    })
    .await;
    settled().await;
    assert_eq!((gateway.got().len(), account().await["state"].clone()), (41, json!("paused")));
    gateway.now_says(|_, _| Say::Yes);
    house.pass(Duration::from_secs(5));
    until("the lane to go on", async || (account().await["state"] == "ready").then_some(())).await;
    house.pass(Duration::from_secs(10));
    house.messages_are(40, "sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_default_account_does_not_disturb_a_run_that_sleeps() {
    let settings = |default: &str, more: &str| {
        format!("default_account: {default}\naccounts:\n  two: {{ transport: sandbox }}\n{more}")
    };
    let one = "  one: { transport: sandbox }\n";
    let flow =
        "run: |\n  send_text(\"+15417543010\", \"a\");\n  sleep(\"1h\");\n  send_text(\"+15417543010\", \"b\");\n";
    let house = House::open(&[("flows/s.yaml", flow), ("postrider.yaml", &settings("one", one))]).await;
    let id = house.trigger("s", Value::Null).await;
    house.run_is(&id, "waiting").await;
    house.messages_are(1, "delivered").await;
    write(house.folder.path(), "postrider.yaml", &settings("two", ""));
    let house = house.crash().await;
    house.sleep_through(&id).await;
    house.run_is(&id, "succeeded").await;
    let messages = house.messages_are(2, "delivered").await;
    assert_eq!((messages[0]["account"].clone(), messages[1]["account"].clone()), (json!("one"), json!("two")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_no_file() {
    let house = House::open(&[("flows/p.yaml", "run: send_file(\"+15417543010\", \"pipe\")\n")]).await;
    let pipe = house.folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let id = house.trigger("p", Value::Null).await;
    let run = house.run_is(&id, "failed").await;
    assert!(run["error"]["message"].as_str().unwrap().contains("no regular file"), "{run}");
}

#[test]
fn values_that_are_small_in_the_script_and_large_outside_are_bounded() {
    let swell = r#"let s = ""; s.pad(1_000_000, "x"); let a = []; for i in 0..3_000 { a.push(s); }"#;
    let deep = "let a = [[]]; for i in 0..12_000 { a.push([a.pop()]); }";
    let flow = |body: &str, end: &str| format!("run: |\n  {body}\n  {end}\n");
    let files = [
        ("flows/result.yaml", flow(swell, "a")),
        ("flows/print.yaml", flow(swell, "print(a); 1")),
        ("flows/kv.yaml", flow(swell, "kv::set(\"k\", a)")),
        ("flows/deep-print.yaml", flow(deep, "print(a); 2")),
        ("flows/deep-equal.yaml", flow(deep, "let b = a; a == b; 3")),
        ("flows/deep-result.yaml", flow(deep, "a")),
    ];
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    // It is memory that is bounded here.
    files.push(("postrider.yaml", "limits: { cpu_turn: 20s }\n"));
    // A process of its own: others share this one's memory.
    let folder = folder(&files);
    let process = Process::start(folder.path());
    for (name, state, result) in [
        ("result", "succeeded", Value::Null),
        ("print", "succeeded", json!(1)),
        ("kv", "failed", Value::Null),
        ("deep-print", "succeeded", json!(2)),
        ("deep-equal", "succeeded", json!(3)),
        ("deep-result", "succeeded", Value::Null),
    ] {
        let output = binary::run(folder.path(), &["trigger", name, "--wait", "--json"]);
        let run: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&run["state"], &run["result"]), (&json!(state), &result), "{name}");
        let held = process.memory("VmHWM") >> 20;
        assert!(held < 700, "{name}: {held} MiB");
    }
    assert!(binary::run(folder.path(), &["runs"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_only_looks_does_not_keep_the_engine_from_starting() {
    let house = House::open(&[("flows/x.yaml", "run: 1\n")]).await;
    let lock = std::fs::File::open(house.folder.path().join(".postrider/lock")).unwrap();
    // The look ends while the engine is trying; whether before or after its first try, it must start.
    let (begun, go) = std::sync::mpsc::channel::<()>();
    let looking = std::thread::spawn(move || {
        while lock.try_lock_shared().is_err() {
            std::thread::yield_now();
        }
        begun.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    });
    let (folder, clock) = house.down().await;
    go.recv().unwrap();
    let house = House::again(folder, clock).await;
    let id = house.trigger("x", Value::Null).await;
    house.run_is(&id, "succeeded").await;
    looking.join().unwrap();
}
