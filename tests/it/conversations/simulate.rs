//! What an edited script would do with a run's journal; and the commands by which people look at runs
//! and decide about them, on the real binary.

use std::path::Path;

use serde_json::{Value, json};

use super::by_hand::{NOBODY, edit};
use crate::support::binary::{self, Process, said};
use crate::support::engine::{House, flow_in};
use crate::support::{folder, until, write};

const FLOW: &str = r#"run: |
  log::info("begin");
  send_text("+15417543010", "hello");
  if event.data == "wait" { sleep("1h"); }
  if event.data == "fail" { fail("no"); }
  if event.data == "throw" { throw "no"; }
  send_text("+15417543010", "bye");
"#;

/// Starts the flow; gives the run's id when it is in that state and its messages are out.
async fn begun(house: &House, data: &str, state: &str) -> String {
    let run = house.trigger("f", json!(data)).await;
    house.run_is(&run, state).await;
    until("the messages to go out", async || {
        let answer = house.get("/messages?limit=1000").await;
        let out = |message: &Value| message["state"] == "delivered" || message["state"] == "read";
        answer["messages"].as_array().unwrap().iter().all(out).then_some(())
    })
    .await;
    run
}

/// All that there is to be seen.
async fn picture(house: &House) -> Vec<Value> {
    let mut all = vec![house.get("/messages?limit=1000").await, house.get("/sandbox/messages?limit=1000").await];
    for run in house.runs_of("f").await {
        all.push(house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await);
    }
    all
}

/// Simulates a run, and sees to it that nothing comes of it.
async fn simulated(house: &House, run: &str) -> Value {
    let before = picture(house).await;
    let answer = house.get(&format!("/runs/{run}/simulate")).await;
    assert_eq!(picture(house).await, before, "nothing is sent or changed");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_makes_no_difference() {
    let house = House::open(&[("flows/f.yaml", FLOW)]).await;
    for (data, state, ends) in [
        ("", "succeeded", "succeeds"),
        ("wait", "waiting", "waits"),
        ("throw", "failed", "throws"),
        ("fail", "failed", "fails"),
    ] {
        let run = begun(&house, data, state).await;
        let answer = simulated(&house, &run).await;
        assert_eq!((&answer["differs"], &answer["ends"]), (&Value::Null, &json!(ends)), "{data}: {answer}");
        assert_eq!(answer["replayed"], answer["entries"], "{data}: {answer}");
        assert_eq!(answer["recorded_version"], answer["version"]);
        let next = if data == "wait" { json!("sleep") } else { Value::Null };
        assert_eq!(answer["next"]["kind"], next, "{data}: {answer}");
        // A turn that threw has left nothing behind: all of it is to be done anew.
        let new = if data == "throw" { 2 } else { 0 };
        assert_eq!(answer["new"].as_array().unwrap().len(), new, "{data}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_difference_is_shown_with_both_sides() {
    let house = House::open(&[("flows/f.yaml", FLOW)]).await;
    let run = begun(&house, "", "succeeded").await;
    let asleep = begun(&house, "wait", "waiting").await;
    let new = edit(&house, "f", &FLOW.replace("hello", "good morning")).await;
    for (run, entries) in [(&run, 3), (&asleep, 2)] {
        let answer = simulated(&house, run).await;
        let differs = &answer["differs"];
        assert_eq!((&differs["position"], &answer["replayed"]), (&json!(1), &json!(1)), "{answer}");
        assert_eq!(answer["entries"], json!(entries));
        let (recorded, now) = (&differs["recorded"], &differs["now"]);
        assert_eq!((&recorded["kind"], &recorded["line"], &now["kind"]), (&json!("send"), &json!(3), &json!("send")));
        assert!(recorded.to_string().contains("hello") && now.to_string().contains("good morning"), "{differs}");
        assert_eq!(answer["version"], json!(new));
        assert_ne!(answer["recorded_version"], json!(new));
    }
    // Another call in the place of one.
    edit(&house, "f", &FLOW.replace("log::info(\"begin\");", "kv::set(\"begun\", true);")).await;
    let answer = simulated(&house, &run).await;
    let differs = &answer["differs"];
    assert_eq!((&differs["position"], &differs["recorded"]["kind"]), (&json!(0), &json!("log")));
    assert_eq!(differs["now"]["kind"], "kv_set");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_that_stands_open_is_looked_at_too() {
    let flow = "run: |\n  let said = ask(\"+15417543010\", \"Pay 100?\");\n  if said.text == \"no\" { throw \"no\"; }\n  sleep(\"1h\");\n  if said.text == \"later\" { throw \"late\"; }\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let run = begun(&house, "", "waiting").await;
    assert_eq!(simulated(&house, &run).await["differs"], Value::Null);
    for (edited, kind) in [
        (flow.replace("100", "900"), json!("ask")),
        (flow.replace("  let said", "  send_text(\"+15417543010\", \"hi\");\n  let said"), json!("send")),
        ("run: 1\n".to_owned(), Value::Null),
    ] {
        edit(&house, "f", &edited).await;
        let answer = simulated(&house, &run).await;
        let differs = &answer["differs"];
        assert_eq!((&differs["position"], &differs["recorded"]["kind"]), (&json!(0), &json!("ask")), "{answer}");
        assert_eq!((&differs["now"]["kind"], &answer["replayed"]), (&kind, &json!(0)), "{answer}");
    }
    // Answered, it belongs to what was recorded, also when the turn that got the answer threw.
    edit(&house, "f", flow).await;
    // Nobody answers what has not gone out.
    house.messages_are(1, "delivered").await;
    house.post("/sandbox/messages", json!({ "from": "+15417543010", "text": "no" })).await;
    house.run_is(&run, "failed").await;
    edit(&house, "f", &flow.replace("throw \"no\"", "return \"fine\"")).await;
    let answer = simulated(&house, &run).await;
    assert_eq!((&answer["entries"], &answer["replayed"], &answer["ends"]), (&json!(1), &json!(1), &json!("succeeds")));
    // The same for a time that is over.
    edit(&house, "f", flow).await;
    let late = begun(&house, "", "waiting").await;
    house.messages_are(2, "delivered").await;
    house.post("/sandbox/messages", json!({ "from": "+15417543010", "text": "later" })).await;
    house.sleep_through(&late).await;
    house.run_is(&late, "failed").await;
    edit(&house, "f", &flow.replace("throw \"late\"", "return \"fine\"")).await;
    let answer = simulated(&house, &late).await;
    assert_eq!((&answer["entries"], &answer["ends"]), (&json!(2), &json!("succeeds")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_behind_a_wait_is_the_same_again() {
    let flow = "run: |\n  sleep(\"1h\");\n  log::info(\"late\");\n  fail(\"no\");\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let run = begun(&house, "", "waiting").await;
    house.sleep_through(&run).await;
    house.run_is(&run, "failed").await;
    let answer = simulated(&house, &run).await;
    assert_eq!((&answer["differs"], &answer["ends"]), (&Value::Null, &json!("fails")), "{answer}");
    assert_eq!(answer["replayed"], answer["entries"], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_ends_earlier_leaves_something_out() {
    let house = House::open(&[("flows/f.yaml", FLOW)]).await;
    let run = begun(&house, "", "succeeded").await;
    edit(&house, "f", &FLOW.replace("  send_text(\"+15417543010\", \"bye\");\n", "")).await;
    let answer = simulated(&house, &run).await;
    let differs = &answer["differs"];
    assert_eq!((&differs["position"], &differs["now"]), (&json!(2), &Value::Null), "{answer}");
    assert!(differs["recorded"].to_string().contains("bye"), "{answer}");
    assert_eq!((&answer["replayed"], &answer["entries"]), (&json!(2), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_goes_further_shows_how() {
    let house = House::open(&[("flows/f.yaml", FLOW)]).await;
    let run = begun(&house, "", "succeeded").await;
    let more =
        "  send_text(\"+15417543011\", \"more\");\n  sleep(\"1h\");\n  send_text(\"+15417543011\", \"never\");\n";
    edit(&house, "f", &format!("{FLOW}{more}")).await;
    let answer = simulated(&house, &run).await;
    assert_eq!((&answer["differs"], &answer["ends"]), (&Value::Null, &json!("waits")), "{answer}");
    assert_eq!((&answer["replayed"], &answer["entries"]), (&json!(3), &json!(3)));
    let new = answer["new"].as_array().unwrap();
    assert_eq!((new.len(), &new[0]["kind"], &answer["next"]["kind"]), (1, &json!("send"), &json!("sleep")));
    assert!(new[0].to_string().contains("more") && !answer.to_string().contains("never"), "{answer}");
    // What is behind the end may throw, too.
    edit(&house, "f", &format!("{FLOW}  let x = 1 / 0;\n")).await;
    let answer = simulated(&house, &run).await;
    assert_eq!((&answer["differs"], &answer["ends"]), (&Value::Null, &json!("throws")), "{answer}");
    assert_eq!(answer["error"]["kind"], "arithmetic");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_simulated_is_refused_with_a_reason() {
    let house = House::open(&[("flows/f.yaml", FLOW)]).await;
    let run = begun(&house, "", "succeeded").await;
    let refused = async |run: &str| {
        let (status, answer) = house.api(reqwest::Method::GET, &format!("/runs/{run}/simulate"), None).await;
        (status, answer["error"]["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused(NOBODY).await.0, 404);
    assert_eq!(refused("nonsense").await.0, 400);
    house.write("flows/f.yaml", "run: |\n  send_txt(1);\n");
    house.flows_are("f to be stale", |flows| flow_in(flows, "f")["stale"] == true).await;
    let (status, reason) = refused(&run).await;
    assert!(status == 409 && reason.contains("`f`"), "{status} {reason}");
    house.remove("flows/f.yaml");
    house.flows_are("the file to be missed", |flows| flows["diagnostics"].to_string().contains("is gone")).await;
    house.pass(super::by_hand::HOUR);
    house.flows_are("f to be let go", |flows| flow_in(flows, "f").is_null()).await;
    assert_eq!(refused(&run).await.0, 409);
}

const TALK: &str = r#"run: |
  let answer = ask("+15417543010", "Ok?");
  send_text("+15417543010", `you said ${answer.text}`);
  if shared::get("calm") == () { throw "not calm"; }
  answer.text
"#;

fn hello(text: &str) -> String {
    format!("run: send_text(\"+15417543011\", \"{text}\")\n")
}

/// A command that must end like this; gives what it printed.
fn ends(path: &Path, args: &[&str], code: i32, error: &str) -> String {
    let output = binary::run(path, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    assert!(err.contains(error), "{args:?}: {err}");
    out.into_owned()
}

/// Waits until a run is in a state; gives the run.
async fn comes_to(path: &Path, run: &str, state: &str) -> Value {
    until(&format!("{run} to be {state}"), async || {
        let run = binary::json(path, &["runs", "show", run]);
        (run["state"] == state).then_some(run)
    })
    .await
}

fn id(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_decide_about_runs() {
    let folder = folder(&[("flows/talk.yaml", TALK), ("flows/calm.yaml", "run: shared::set(\"calm\", true)\n")]);
    let path = folder.path();
    let process = Process::start(path);
    let run = id(&binary::json(path, &["trigger", "talk"]), "run");
    until("the question", async || (binary::json(path, &["sandbox"])["messages"][0]["text"] == "Ok?").then_some(()))
        .await;
    said(path, &["sandbox", "reply", "+1 541 754 3010", "yes"]);
    comes_to(path, &run, "failed").await;
    ends(path, &["runs", "cancel", &run], 1, "failed");
    said(path, &["trigger", "calm", "--wait"]);
    assert!(said(path, &["runs", "retry", &run]).contains(&run));
    let shown = comes_to(path, &run, "succeeded").await;
    assert_eq!((&shown["attempt"], &shown["result"]), (&json!(2), &json!("yes")));
    let timeline = said(path, &["runs", "show", &run]);
    for part in ["TIMELINE", "ask", "Ok?", "send", "MESSAGES", "you said yes", "succeeded"] {
        assert!(timeline.contains(part), "{part}: {timeline}");
    }
    ends(path, &["runs", "retry", &run], 1, "succeeded");
    let answer: Value = serde_json::from_str(&ends(path, &["runs", "retry", &run, "--json"], 1, "")).unwrap();
    assert!(answer["error"]["message"].as_str().unwrap().contains("succeeded"), "{answer}");
    // The question is put again, for a replay remembers nothing; and it is taken back.
    let replay = id(&binary::json(path, &["runs", "replay", &run]), "id");
    assert_ne!(replay, run);
    comes_to(path, &replay, "waiting").await;
    assert_eq!(binary::json(path, &["runs", "cancel", &replay])["state"], "cancelled");
    for decision in ["show", "cancel", "retry", "replay"] {
        ends(path, &["runs", decision, NOBODY], 1, "there is no run");
        ends(path, &["runs", decision], 2, "<ID>");
    }
    ends(path, &["runs", "replay", &run, "--fast"], 2, "--fast");
    ends(path, &["sandbox", "reply", "+15417543010"], 2, "<TEXT>");
    ends(path, &["sandbox", "reply", "Ada", "hi"], 1, "no phone number");
    assert_eq!(process.terminate().0, Some(0));
    for args in [&["runs", "retry", &run][..], &["simulate", &run], &["forget", "+15417543010"]] {
        ends(path, args, 1, "not running on this workspace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_replay_simulate_and_forget() {
    let folder = folder(&[("flows/hello.yaml", &hello("hello"))]);
    let path = folder.path();
    let _process = Process::start(path);
    let run = id(&binary::json(path, &["trigger", "hello", "--wait"]), "id");
    let replay = async |more: &[&str]| {
        let new = id(&binary::json(path, &[&["runs", "replay", &run][..], more].concat()), "id");
        let ended = comes_to(path, &new, "succeeded").await;
        let messages = ended["messages"].as_array().unwrap().clone();
        messages.iter().map(|message| id(&message["body"], "text")).collect::<Vec<_>>()
    };
    assert!(said(path, &["simulate", &run]).contains("the same"));
    assert_eq!(replay(&[]).await, [""; 0]);
    assert_eq!(replay(&["--resend"]).await, ["hello"]);
    let flows = || binary::json(path, &["flows"])["hash"].clone();
    let before = flows();
    write(path, "flows/hello.yaml", &hello("good morning"));
    until("the new text", async || (flows() != before).then_some(())).await;
    assert_eq!(replay(&[]).await, [""; 0]);
    assert_eq!(replay(&["--latest"]).await, ["good morning"]);
    assert_eq!(replay(&["--latest", "--resend"]).await, ["good morning"]);

    let told = ends(path, &["simulate", &run], 1, "");
    for part in ["differs", "hello", "good morning"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let answer: Value = serde_json::from_str(&ends(path, &["simulate", &run, "--json"], 1, "")).unwrap();
    assert_eq!((&answer["run"], &answer["differs"]["position"]), (&json!(run), &json!(0)));
    ends(path, &["simulate", NOBODY], 1, "there is no run");
    ends(path, &["simulate"], 2, "<RUN>");

    assert!(said(path, &["forget", "+15417543012"]).contains("forgotten: 0 messages"));
    let answer = binary::json(path, &["forget", "+1 541-754-3011"]);
    assert!(!id(&answer, "mark").is_empty() && answer["messages"].as_u64().unwrap() >= 4, "{answer}");
    assert_eq!(binary::json(path, &["messages"])["messages"], json!([]));
    ends(path, &["simulate", &run], 1, "forgotten");
    ends(path, &["forget", "Ada"], 1, "no phone number");
    ends(path, &["forget"], 2, "<RECIPIENT>");
}
