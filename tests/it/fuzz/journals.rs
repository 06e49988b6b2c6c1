//! Journals as the store has them, damaged, and replayed.

use std::time::Duration;

use postrider::model::journal::Entry;
use postrider::script::Ending;
use serde_json::{Value, json};

use super::trees::changed;
use super::{bounded, hunt};
use crate::turn::Run;

const SCRIPT: &str = r#"
let sent = send_text("+15417543010", "one", #{ key: "k" });
log::info("line");
let all = [now().hour, kv::get("a"), kv::list("b"), kv::increment("n"), shared::get("s")];
kv::set("a", #{ list: [1, 2] });
shared::set("s", "x");
sleep("2h");
all.push(sent.wait("delivered", "1h").status);
all.push(http::get("https://example.com/", #{ expect: "2xx" }).json);
all.push(http::all([#{ url: "https://example.com/a" }, #{ url: "https://example.com/b" }]).len);
let said = ask("+15417543010", "which?", #{ choices: ["a", "b"] });
if said != () { all.push(said.choice); }
let heard = wait_for_message(#{ from: "+15417543010" });
if heard != () { all.push(heard.text); }
all.push(wait_for_event("e", #{ timeout: "1h" }));
all.push(files::read("a.txt").len);
all.push(files::lines("b.txt").len);
all.push(files::csv("c.csv").len);
all.push(files::exists("d"));
all.push(files::list("e").len);
files::move("f", "g");
emit("done", all);
respond(200, all);
all
"#;

/// What the world answers, one question after the other.
fn answers() -> Vec<Value> {
    vec![
        Value::Null,
        json!(5),
        json!(["b1"]),
        json!(3),
        json!("s"),
        Value::Null,
        json!({ "status": "delivered", "provider_id": "x", "error": null }),
        json!({ "status": 200, "ok": true, "headers": {}, "body": "{\"a\":1}" }),
        json!([{ "status": 200, "ok": true, "headers": {}, "body": "" }, { "status": 0, "ok": false, "error": { "kind": "x", "message": "y" } }]),
        json!({ "text": "a", "choice": "a", "from": "+15417543010", "at": "2026-11-20T07:00:00Z" }),
        json!({ "text": "hi", "from": "+15417543010", "message_id": "A" }),
        json!({ "number": 7, "data": { "a": 1 } }),
        json!("text"),
        json!("a\nb"),
        json!("a,b\n1,2"),
        json!(true),
        json!(["x", "y"]),
        json!([1, 2, 3]),
        Value::Null,
    ]
}

/// A run that came to its end, with all that it wrote down.
fn whole() -> Run {
    let mut run = Run::new(SCRIPT);
    run.limits.cpu_turn = Duration::from_millis(500);
    let mut answers = answers().into_iter();
    // The message's key is looked for first.
    while run.step(answers.next().unwrap_or(Value::Null)).is_some() {}
    assert!(run.journal.len() > 20, "{} entries", run.journal.len());
    run
}

#[test]
fn journals() {
    let run = whole();
    let rows = serde_json::to_value(&run.journal).unwrap();
    let run = std::cell::RefCell::new(run);
    hunt("journals", changed(vec![rows]), |rows| {
        // A row that is none is not this target's business.
        let Ok(journal) = serde_json::from_value::<Vec<Entry>>(rows) else { return };
        let mut run = run.borrow_mut();
        run.committed = journal.len();
        run.journal = journal;
        let output = bounded(Duration::from_secs(2), 32 << 20, || run.turn());
        if let Ending::Thrown(error) | Ending::Failed(error) = output.ending {
            assert_ne!(error.kind, "panic", "{error}");
            assert!(error.message.len() < 1 << 20, "a sentence of {} bytes", error.message.len());
        }
    });
}
