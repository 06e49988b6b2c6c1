//! What is under way, or known, outlives whatever becomes of settings, secrets and files.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::engine::{House, flow_in};
use crate::support::gateway::{Gateway, Say};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_run_keeps_its_constants_and_its_zone_and_needs_no_secret_of_its_webhook() {
    let flow = r#"
triggers:
  - webhook: { path: /in, verify: { token: "${TOKEN}" } }
params: { phone: "${PHONE}" }
secrets: [UNUSED]
run: |
  send_text(params.phone, now().format("%H:%M"));
  sleep("1h");
  send_text(params.phone, now().format("%H:%M"))
"#;
    let house = House::open(&[
        ("flows/in.yaml", flow),
        ("postrider.yaml", "timezone: Europe/Berlin\n"),
        (".env", "TOKEN=a-long-token\nPHONE=+15417543010\nUNUSED=x\n"),
    ])
    .await;
    let first = house.trigger("in", Value::Null).await;
    house.run_is(&first, "waiting").await;
    house.messages_are(1, "delivered").await;
    // Everything that it was read against changes; then the engine starts anew, with nothing in memory.
    house.write("postrider.yaml", "timezone: America/New_York\n");
    house.write(".env", "PHONE=+15417543099\n");
    house.flows_are("in to be stale", |flows| flow_in(flows, "in")["stale"] == true).await;
    let house = house.crash().await;
    let flows = house.get("/flows").await;
    assert!(flow_in(&flows, "in").is_null(), "without its secrets it is not live: {flows}");
    house.pass(Duration::from_secs(3600));
    house.run_is(&first, "succeeded").await;
    let messages = house.messages_are(2, "delivered").await;
    let mut said: Vec<(String, String)> = messages
        .iter()
        .map(|message| {
            (message["to"].as_str().unwrap().to_owned(), message["body"]["text"].as_str().unwrap().to_owned())
        })
        .collect();
    said.sort();
    let phone = "+15417543010".to_owned();
    assert_eq!(said, [(phone.clone(), "08:00".to_owned()), (phone, "09:00".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_cannot_be_built_for_a_while_forgets_nothing() {
    let flow = |trigger: &str| format!("triggers:\n  - {trigger}\nsecrets: [KEY]\nrun: event.path\n");
    let house = House::open(&[
        ("flows/files.yaml", &flow("watch: \"inbox/*.csv\"")),
        ("flows/clock.yaml", &format!("timezone: UTC\n{}", flow("cron: \"30 7 * * *\""))),
        ("inbox/before.csv", "was there"),
        (".env", "KEY=x\n"),
    ])
    .await;
    let (folder, clock) = house.stop().await;
    std::fs::remove_file(folder.path().join(".env")).unwrap();
    crate::support::write(folder.path(), "inbox/down.csv", "came while it was down");
    clock.advance(Duration::from_secs(900));
    let house = House::again(folder, clock).await;
    assert!(house.get("/flows").await["flows"].as_array().unwrap().is_empty());
    house.write("inbox/later.csv", "came while it could not be built");
    house.pass(Duration::from_secs(1_200));
    let house = house.crash().await;
    house.write(".env", "KEY=y\n");
    house.flows_are("both to be back", |flows| flows["flows"].as_array().unwrap().len() == 2).await;
    until("two files", async || {
        house.pass(Duration::from_secs(1));
        (house.runs_of("files").await.len() == 2).then_some(())
    })
    .await;
    until("the missed time", async || (house.runs_of("clock").await.len() == 1).then_some(())).await;
    assert!(house.fates_of("clock").await[0].starts_with("07:30:00 late by 5m"), "{:?}", house.fates_of("clock").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_may_wait_all_have_their_runs_and_hold_up_nobody() {
    let house = House::open(&[
        ("flows/files.yaml", "triggers:\n  - watch: \"inbox/*.csv\"\nrun: 1\n"),
        ("flows/tick.yaml", "triggers:\n  - every: 1s\nrun: 1\n"),
        ("postrider.yaml", "limits: { backlog: 20 }\n"),
        ("inbox/.gitkeep", ""),
    ])
    .await;
    for number in 0..300 {
        house.write(&format!("inbox/{number}.csv"), &number.to_string());
    }
    until("300 runs", async || {
        house.pass(Duration::from_secs(1));
        (house.runs_of("files").await.len() == 300).then_some(())
    })
    .await;
    let before = house.runs_of("tick").await.len();
    assert!(before > 0, "the clock went on meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_goes_and_comes_back_during_a_send_keeps_the_order() {
    let gateway = Gateway::with(|number, _| match number {
        0 => Say::Late(Duration::from_millis(900), 429, "RATE_LIMITED"),
        _ => Say::Yes,
    })
    .await;
    let settings = gateway.settings("pace: unlimited");
    let flow =
        "triggers:\n  - webhook: /in\naccount: main\nrun: for n in 0..3 { send_text(\"+15417543010\", `${n}`) }\n";
    let house = House::open(&[("flows/in.yaml", flow), ("postrider.yaml", &settings)]).await;
    assert_eq!(house.hook("/in", &json!({})).await.0, 200);
    until("the first one to be on the wire", async || (gateway.got().len() == 1).then_some(())).await;
    let accounts = async |wanted: &str| {
        until(wanted, async || (house.get("/accounts").await["accounts"][0]["name"] == wanted).then_some(())).await;
    };
    house.write("postrider.yaml", "accounts: { other: { transport: sandbox } }\n");
    accounts("other").await;
    house.write("postrider.yaml", &settings);
    accounts("main").await;
    until("all three", async || {
        house.pass(Duration::from_secs(1));
        (gateway.got().len() == 4).then_some(())
    })
    .await;
    assert_eq!(gateway.texts(), ["0", "0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_still_open_is_not_read_although_it_looks_whole() {
    let hook = |text: &str| {
        format!("triggers:\n  - webhook: {{ path: /in, respond: result }}\nrun: |\n  let said = \"{text}\";\n")
    };
    let house = House::open(&[("flows/in.yaml", &format!("{}  said\n", hook("old")))]).await;
    let mut file = File::create(house.folder.path().join("flows/in.yaml")).unwrap();
    file.write_all(hook("half").as_bytes()).unwrap();
    // A file that stays open for two seconds is read as it is.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        let said = house.hook("/in", &json!({})).await;
        assert!(said == (200, json!("old")) || begun.elapsed() > Duration::from_millis(1_900), "{said:?}");
    }
    file.write_all(b"  said + \" and whole\"\n").unwrap();
    drop(file);
    until("the whole file", async || (house.hook("/in", &json!({})).await.1 == "half and whole").then_some(())).await;
    // A pipe in place of a file keeps nobody waiting.
    assert!(Command::new("mkfifo").arg(house.folder.path().join(".env")).status().unwrap().success());
    house.flows_are("the pipe", |flows| flows["diagnostics"].to_string().contains("no regular file")).await;
    house.write("flows/in.yaml", &format!("{}  said\n", hook("new")));
    until("the next edit", async || (house.hook("/in", &json!({})).await.1 == "new").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_collisions_pushes_out_nobody_who_is_live() {
    let hook = |path: &str| format!("triggers:\n  - webhook: {{ path: {path}, respond: result }}\nrun: event.flow\n");
    let house =
        House::open(&[("flows/a.yaml", &hook("/a")), ("flows/b.yaml", &hook("/b")), ("flows/0c.yaml", &hook("/c"))])
            .await;
    // At once: `a` wants what `b` has, `0c` wants what `a` has.
    house.write(".git/index.lock", "");
    house.write("flows/a.yaml", &hook("/b"));
    house.write("flows/0c.yaml", &hook("/a"));
    house.remove(".git/index.lock");
    let flows = house.flows_are("both to be refused", |flows| flow_in(flows, "a")["stale"] == true).await;
    assert_eq!(flow_in(&flows, "0c")["stale"], true, "{flows}");
    for house in [house] {
        for (path, flow) in [("/a", "a"), ("/b", "b"), ("/c", "0c")] {
            assert_eq!(house.hook(path, &json!({})).await, (200, json!(flow)));
        }
        let house = house.crash().await;
        for (path, flow) in [("/a", "a"), ("/b", "b"), ("/c", "0c")] {
            assert_eq!(house.hook(path, &json!({})).await, (200, json!(flow)));
        }
    }
}
