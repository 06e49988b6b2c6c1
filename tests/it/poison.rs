//! What brings the engine down, or a thread of it, is set aside.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::binary::{self, Process};
use crate::support::engine::House;
use crate::support::{client, folder, until};

const ENDLESS: (&str, &str) =
    ("flows/endless.yaml", "triggers:\n  - webhook: /endless\nrun: |\n  let i = 0;\n  loop { i += 1; }\n");
const GOOD: (&str, &str) = (
    "flows/good.yaml",
    "triggers:\n  - webhook:\n      path: /good\n      respond: result\nrun: |\n  event.body.n + 1\n",
);
const PATIENT: (&str, &str) = ("postrider.yaml", "limits: { cpu_turn: 10m, cpu_run: 10m }\n");

async fn post(process: &Process, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/hooks{path}", process.public);
    let request = client().post(url).header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

async fn state(folder: &std::path::Path, run: &str) -> Value {
    let (root, run) = (folder.to_owned(), run.to_owned());
    tokio::task::spawn_blocking(move || binary::json(&root, &["runs", "show", &run])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_engine_died_of_three_times_is_not_taken_up_again() {
    let folder = folder(&[ENDLESS, GOOD, PATIENT]);
    let process = Process::start(folder.path());
    let (_, answer) = post(&process, "/endless", json!({})).await;
    let run = answer["run"].as_str().unwrap().to_owned();
    let mut process = Some(process);
    for death in 1..=3 {
        let alive = process.take().unwrap_or_else(|| Process::start(folder.path()));
        until(&format!("the run to be under way before death {death}"), async || {
            (state(folder.path(), &run).await["state"] == "running").then_some(())
        })
        .await;
        // In the middle of it, not in its first moment.
        tokio::time::sleep(Duration::from_millis(200)).await;
        alive.kill();
    }
    let process = Process::start(folder.path());
    let shown = state(folder.path(), &run).await;
    assert_eq!((&shown["state"], &shown["error"]["kind"]), (&json!("failed"), &json!("crashed")), "{shown}");
    assert!(shown["error"]["message"].as_str().unwrap().contains("ended 3 times"), "{shown}");
    assert_eq!(post(&process, "/good", json!({ "n": 1 })).await, (200, json!(2)));
    // What is done by then is no death of anybody.
    process.terminate();
    assert_eq!(std::fs::metadata(folder.path().join(".postrider/turns")).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_back_while_nothing_runs() {
    let folder = folder(&[ENDLESS, PATIENT]);
    let process = Process::start(folder.path());
    let (_, answer) = post(&process, "/endless", json!({})).await;
    let run = answer["run"].as_str().unwrap().to_owned();
    process.kill();
    let said = binary::said(folder.path(), &["runs", "cancel", &run]);
    assert!(said.contains(&format!("run {run} is cancelled")), "{said}");
    let again = binary::run(folder.path(), &["runs", "cancel", &run]);
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && why.contains("is cancelled already"), "{why}");
    let _process = Process::start(folder.path());
    assert_eq!(state(folder.path(), &run).await["state"], "cancelled");
}

/// Calls that look at no clock, and take far longer than a turn may.
const LONG_CALL: &str = "triggers:\n  - webhook: /long\nretry: { attempts: 5 }\non_failure: hears\nrun: |\n  let s = \"\";\n  s.pad(60_000_000, 'x');\n  send_text(\"+15417543010\", hash::sha256(s));\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_over_twice_its_time_is_given_up_and_its_thread_replaced() {
    let hears = ("flows/hears.yaml", "run: |\n  event.error.kind\n");
    let settings = ("postrider.yaml", "limits: { cpu_turn: 5ms, memory: 500MiB }\n");
    let house = House::open(&[("flows/long.yaml", LONG_CALL), GOOD, hears, settings]).await;
    // More of them than there are threads, at once.
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(house.trigger("long", json!({})).await);
    }
    let (status, answer) = house.hook("/good", &json!({ "n": 1 })).await;
    assert_eq!((status, answer), (200, json!(2)), "the others go on");
    let mut barred = 0;
    for run in &runs {
        let run = house.run_is(run, "failed").await;
        assert_eq!((&run["error"]["kind"], &run["attempt"]), (&json!("limit"), &json!(1)), "{run}");
        barred += usize::from(run["error"]["message"].as_str().unwrap().contains("is not run any more"));
    }
    let errors: Vec<Value> = house.runs_of("long").await.iter().map(|run| run["error"]["message"].clone()).collect();
    assert!((1..=3).contains(&barred), "{barred} were not run at all: {errors:?}");
    let (_, messages) = house.api(Method::GET, "/messages", None).await;
    assert_eq!(messages["messages"], json!([]), "nothing of it counts");
    until("the failures to be heard of", async || (house.runs_of("hears").await.len() == 6).then_some(())).await;
    // Another version is another matter.
    house.write("flows/long.yaml", "triggers:\n  - webhook: /long\nrun: |\n  1\n");
    until("the other version", async || {
        let run = house.trigger("long", json!({})).await;
        let state = until("its end", async || {
            let run = house.get(&format!("/runs/{run}")).await;
            matches!(run["state"].as_str(), Some("succeeded" | "failed")).then_some(run)
        });
        (state.await["state"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_begin_runs_fill_the_room_of_nobody_else() {
    let flow = "run: |\n  flows::start(\"again\");\n  flows::start(\"again\");\n";
    let settings = ("postrider.yaml", "limits: { backlog: 500 }\n");
    let house = House::open(&[("flows/again.yaml", flow), GOOD, settings]).await;
    house.trigger("again", json!({})).await;
    for n in 0..40 {
        assert_eq!(house.hook("/good", &json!({ "n": n })).await, (200, json!(n + 1)));
    }
    let busy = until("one to be refused", async || {
        let answer = house.get("/runs?flow=again&state=failed&limit=1").await;
        answer["runs"].as_array().unwrap().first().cloned()
    })
    .await;
    let kind = busy["error"]["kind"].as_str().unwrap();
    assert!(kind == "busy" || kind == "limit", "{busy}");
    house.remove("flows/again.yaml");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_begin_each_other_come_to_an_end() {
    let flow = "run: |\n  flows::start(\"line\", event.data ?? 0);\n";
    let house = House::open(&[("flows/line.yaml", flow)]).await;
    house.trigger("line", json!(1)).await;
    let last = until("the last of them", async || {
        let answer = house.get("/runs?flow=line&state=failed").await;
        answer["runs"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(last["error"]["kind"], "limit", "{last}");
    assert!(last["error"]["message"].as_str().unwrap().contains("go round in circles"), "{last}");
    assert_eq!(house.runs_of("line").await.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_do_not_multiply_what_is_logged() {
    let flow = "retry: { attempts: 30, first: 1s, max: 1s }\nrun: |\n  let t = \"\";\n  t.pad(4_000, 'x');\n  for i in 0..100 { log::info(t + i); }\n  throw t + t;\n";
    let house = House::open(&[("flows/loud.yaml", flow)]).await;
    let run = house.trigger("loud", Value::Null).await;
    let over = until("all attempts", async || {
        house.pass(Duration::from_secs(2));
        let run = house.get(&format!("/runs/{run}")).await;
        (run["state"] == "failed").then_some(run)
    })
    .await;
    assert_eq!(over["attempt"], 30, "{}", over["attempt"]);
    assert!(over["error"]["message"].as_str().unwrap().len() < 4_200);
    let kept: usize = over["entries"].as_array().unwrap().iter().map(|entry| entry.to_string().len()).sum();
    assert!(kept < 3 << 20, "{kept} bytes are kept");
}

/// Where address space is rationed, what a script takes is refused before the system refuses it: a refusal of
/// the system would be the end of the engine.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_rationed_engine_lives_on_where_scripts_take_all_they_can() {
    const GREEDY: (&str, &str) = (
        "flows/greedy.yaml",
        "triggers:\n  - webhook: { path: /greedy, respond: result }\nrun: |\n  \
         let rows = csv::parse(event.body.table, #{ header: true });\n  rows.len()\n",
    );
    const DOUBLING: (&str, &str) = (
        "flows/doubling.yaml",
        "triggers:\n  - webhook: { path: /doubling, respond: result }\nrun: |\n  \
         let all = [event.body.text];\n  loop { all += all; }\n",
    );
    let folder = folder(&[GREEDY, DOUBLING, GOOD]);
    let engine = env!("CARGO_BIN_EXE_postrider");
    let mut command = std::process::Command::new("sh");
    let run = format!("ulimit -v 3500000; exec {engine} run --listen 127.0.0.1:0 --admin 127.0.0.1:0");
    command.args(["-c", &run]).current_dir(folder.path()).env_clear().env("TZ", "Europe/Berlin");
    let mut process = Process::of(command, folder.path());
    // A name for each column, and as many rows as fit: each row is a map of all of them.
    let table = format!("{}\n{}", "long_name_of_a_column,".repeat(900), ",\n".repeat(250_000));
    for (path, body) in [
        ("/greedy", json!({ "table": table })),
        ("/doubling", json!({ "text": "x".repeat(500_000) })),
        ("/greedy", json!({ "table": table })),
    ] {
        let (status, answer) = post(&process, path, body).await;
        assert!(status >= 500, "{path}: {status} {answer}");
        assert_eq!(process.ended(), None, "{path} was the end of the engine");
        assert_eq!(post(&process, "/good", json!({ "n": 1 })).await, (200, json!(2)));
    }
    let runs = binary::json(folder.path(), &["runs"]);
    let failed = runs["runs"].as_array().unwrap().iter().filter(|run| run["state"] == "failed").count();
    assert_eq!(failed, 3, "{runs}");
}
