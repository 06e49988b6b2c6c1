//! Turns by themselves: replay, the latch, and every trap that Rhai lays for them.

mod blank;
mod bounds;
mod functions;
mod refused;
mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postrider::id::RunId;
use postrider::model::accounts::{AccountFacts, Accounts};
use postrider::model::capability::{Capabilities, Kind};
use postrider::model::journal::{Entry, Promises};
use postrider::model::policy::{Limits, OnUnsupported};
use postrider::model::question::{Question, Read, Wait};
use postrider::model::run::ScriptError;
use postrider::model::walls::FlowNames;
use postrider::script::{Ending, Main, Program, TurnInput, TurnOutput, turn};
use postrider::secret::Secret;
use serde_json::{Value, json};

const FACTS: AccountFacts = AccountFacts {
    transport: "sandbox",
    capabilities: &Capabilities {
        kinds: &[Kind::new("text", &[])],
        addresses: &["phone", "group"],
        cards: false,
        whole_cards: false,
        in_flight: 1,
        max_text: None,
        max_caption: None,
        window: false,
    },
    on_unsupported: OnUnsupported::Emulate,
    flows: FlowNames::ALL,
    hears: Ok(()),
};

fn start() -> Timestamp {
    "2026-11-20T07:00:00Z".parse().unwrap()
}

/// A run that is driven by hand.
pub struct Run {
    program: Program,
    pub event: Value,
    pub journal: Vec<Entry>,
    promises: Promises,
    now: Timestamp,
    pub limits: Limits,
    pub committed: usize,
}

impl Run {
    pub fn new(script: &str) -> Self {
        Self::with_modules(script, &[])
    }

    fn with_modules(script: &str, modules: &[(&str, &str)]) -> Self {
        let modules: BTreeMap<String, Arc<str>> =
            modules.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text))).collect();
        let main = Main { file: &"scripts/main.rhai".into(), text: &script.into(), indent: 0 };
        let program = Program::compile(main, &|name| modules.get(name).cloned());
        let program = program.unwrap_or_else(|findings| panic!("{findings:?}"));
        Self {
            program,
            event: json!({ "body": { "a": 1, "items": [1, 2, 3] }, "trigger": "webhook" }),
            journal: Vec::new(),
            promises: Promises::default(),
            now: start(),
            limits: Limits::default(),
            committed: 0,
        }
    }

    pub fn turn(&mut self) -> TurnOutput {
        let accounts = Accounts {
            default: Some("main".into()),
            by_name: BTreeMap::from([("main".into(), FACTS), ("other".into(), FACTS)]),
            public: false,
        };
        turn(TurnInput {
            event: &self.event.to_string(),
            params: &json!({ "team": "+15417543010" }),
            flow: "test",
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            accounts: Arc::new(accounts),
            secrets: Arc::new(BTreeMap::from([
                ("KEY".to_owned(), Some(Secret::new("hidden"))),
                ("UNSET".to_owned(), None),
            ])),
            run_time: start(),
            seed: [9; 16],
            base: start(),
            journal: Arc::new(self.journal.clone()),
            weight: self.journal.iter().map(Entry::weight).sum(),
            committed: self.committed,
            limits: self.limits,
            cpu_left: Duration::from_secs(60),
            ..TurnInput::first(&self.program, RunId::from_bytes([7; 16]), self.now)
        })
    }

    /// One turn whose question, if it has one, gets `answer`.
    pub fn step(&mut self, answer: Value) -> Option<Question> {
        let output = self.turn();
        self.journal.extend(output.entries);
        self.promises.add(output.promises);
        let Ending::Waiting(pending) = output.ending else { return None };
        let question = pending.question.clone();
        self.journal.push(pending.answered(self.now, Ok(answer)));
        Some(question)
    }

    fn done(&mut self) -> Value {
        match self.turn().ending {
            Ending::Done(value) => value,
            Ending::Thrown(error) | Ending::Failed(error) => panic!("{error}"),
            Ending::Waiting(pending) => panic!("waits for {:?}", pending.question),
        }
    }

    fn thrown(&mut self) -> ScriptError {
        match self.turn().ending {
            Ending::Thrown(error) => error,
            Ending::Done(value) => panic!("ended with {value}"),
            _ => panic!("did not throw"),
        }
    }
}

fn value(script: &str) -> Value {
    Run::new(script).done()
}

fn error(script: &str) -> ScriptError {
    Run::new(script).thrown()
}

#[test]
fn event_and_params_are_seen_in_functions_and_modules_and_nothing_changes_them() {
    assert_eq!(value("fn f() { event.body.a + params.len() } f()"), json!(2));
    let mut run = Run::with_modules(
        r#"import "lib/m" as m; m::first() + m::NAME"#,
        &[("lib/m", r#"export const NAME = "x"; fn first() { "" + event.body.items[0] + params.team }"#)],
    );
    assert_eq!(run.done(), json!("1+15417543010x"));
    for assignment in ["event.body = 1", "event = 1", "event.body.a = 2", "params.team = 1", "event.body.items.push(4)"]
    {
        let mut run = Run::new(&format!("{assignment}; event"));
        let ending = run.turn().ending;
        match ending {
            Ending::Thrown(error) => assert_eq!(error.kind, "constant", "{assignment}: {error}"),
            Ending::Done(seen) => assert_eq!(seen, run.event, "{assignment}"),
            _ => panic!("{assignment}"),
        }
    }
    assert_eq!(value("fn f(e) { e.body.a = 5; e.body.a } let r = f(event); r + event.body.a"), json!(6));
    assert_eq!(value("let e = event; e.body.a = 5; event.body.a"), json!(1));
}

#[test]
fn a_mention_of_the_event_is_worth_what_the_event_is() {
    for (script, expected) in [
        ("event.body.items.map(|x| x + event.body.a)", json!([2, 3, 4])),
        ("event.body.items.filter(|x| x > event.body.a)", json!([2, 3])),
        ("event.body.items.map(|x| event.body.items.filter(|y| y > x && event.body.a == 1).len())", json!([2, 1, 0])),
        (
            "event.body.items.all(|a| event.body.items.some(|b| event.body.items.some(|c| event.body.items.some(|d| \
             event.body.items.some(|e| e == d && d == c && c == b && b == a && event.body.items.contains(e))))))",
            json!(true),
        ),
        ("event.body.items.reduce(|sum, x| sum + x + event.body.a, 0)", json!(9)),
        ("fn deep(n) { if n == 0 { event.body.a } else { deep(n - 1) + event.body.a } } deep(20)", json!(21)),
        ("fn own() { this.items.map(|x| x + event.body.a) } event.body.own()", json!([2, 3, 4])),
        ("event == event && event.body == event.body", json!(true)),
        ("\"body\" in event", json!(true)),
        ("[event, event][1].body.a + #{ e: event }.e.body.a", json!(2)),
        ("fn both(x, y) { x.body.a = 7; x.body.a + y.body.a + event.body.a } both(event, event)", json!(9)),
        ("event.keys()", json!(["body", "raw", "trigger"])),
        ("type_of(event) + type_of(event.body.items) + type_of(event?.body?.none)", json!("maparray()")),
        ("let n = 0; for x in event.body.items { n += x * event.body[\"a\"] } n", json!(6)),
        ("let seen = event; seen.body.items.push(4); seen.body.items.len() + event.body.items.len()", json!(7)),
        ("let of = |key| event.body[key]; of.call(\"a\") + event.body.items.index_of(3)", json!(3)),
    ] {
        assert_eq!(value(script), expected, "{script}");
    }
}

#[test]
fn a_long_event_can_be_mentioned_again_and_again() {
    let items: Vec<Value> = (0..20_000).map(|n| json!({ "n": n, "price": 2 })).collect();
    for script in [
        "let sum = 0; for at in 0..20000 { sum += event.body.items[at].price * event.body.rate } sum",
        "event.body.items.reduce(|sum, item| sum + item.price * event.body.rate, 0)",
        "fn rated(x) { x * event.body.rate } let sum = 0; for x in event.body.items { sum += rated(x.price) } sum",
    ] {
        let mut run = Run::new(script);
        run.event = json!({ "body": { "items": items, "rate": 3 }, "trigger": "webhook" });
        assert_eq!(run.done(), json!(120_000), "{script}");
    }
}

#[test]
fn a_question_ends_the_turn_and_its_answer_lets_the_script_go_on() {
    let mut run =
        Run::new(r#"let m = send_text("+15417543010", "one"); sleep("2h"); send_text("+15417543010", "two"); m.id"#);
    let Some(Question::Wait(Wait::Sleep { until })) = run.step(Value::Null) else { panic!("no sleep") };
    assert_eq!(until, start().as_millisecond() + 7_200_000);
    assert_eq!(run.promises.messages.len(), 1);
    run.committed = run.journal.len();
    run.now = jiff::Timestamp::from_millisecond(until).unwrap();
    run.journal.last_mut().unwrap().at = until;
    let output = run.turn();
    let Ending::Done(id) = output.ending else { panic!("not done") };
    assert_eq!(output.promises.messages.len(), 1, "the first message is not promised again");
    assert_eq!(output.entries.len(), 1);
    assert_eq!(id, json!(run.promises.messages[0].id));
    assert_ne!(output.promises.messages[0].id, run.promises.messages[0].id);
}

#[test]
fn questions_pass_through_try_and_closures_and_sorting_cannot_swallow_them() {
    for script in [
        r#"try { sleep("1h"); } catch { print("caught"); } "end""#,
        r#"let f = || sleep("1h"); f.call(); "end""#,
        r#"[1, 2].map(|x| { sleep("1h"); x }); "end""#,
        r#"let a = [3, 1, 2]; a.sort(|x, y| { sleep("1h"); x - y }); send_text("+15417543010", "wrong"); "end""#,
        r#"let a = [1, 1]; a.dedup(|x, y| { sleep("1h"); true }); send_text("+15417543010", "wrong"); "end""#,
        r#"fn f(n) { if n == 0 { sleep("1h"); } else { f(n - 1) } } try { f(5) } catch (e) { } "end""#,
    ] {
        let mut run = Run::new(script);
        let output = run.turn();
        assert!(matches!(output.ending, Ending::Waiting(_)), "{script}");
        assert!(output.entries.is_empty() && output.promises.messages.is_empty(), "{script}");
        while run.step(Value::Null).is_some() {}
        assert_eq!(run.done(), json!("end"), "{script}");
    }
}

#[test]
fn time_and_chance_repeat_themselves() {
    let script = r#"
        let before = now(); let u = uuid(); let r = random();
        sleep("1h");
        let after = now();
        [before.format("%H:%M"), after.format("%H:%M"), u, r, random(1, 6), uuid()]"#;
    let mut run = Run::new(script);
    run.step(Value::Null);
    run.now = start() + Duration::from_secs(3600);
    run.journal[0].at = run.now.as_millisecond();
    let first = run.done();
    run.now = start() + Duration::from_secs(99_999);
    assert_eq!(first, run.done());
    assert_eq!((&first[0], &first[1]), (&json!("08:00"), &json!("09:00")));
    assert_ne!(first[2], first[5]);
    assert_eq!(
        value(
            "[today().format(\"%F %T\"), now().weekday, (now() + duration(\"2h\")).hour, now() < now() + duration(\"1s\")]"
        ),
        json!(["2026-11-20 00:00:00", 5, 10, true])
    );
}

#[test]
fn a_journal_that_does_not_fit_is_named() {
    let mut run = Run::new(r#"print("a"); sleep("1h");"#);
    run.step(Value::Null);
    let mut other = Run::new(r#"print("b"); sleep("1h");"#);
    other.journal = run.journal;
    let error = other.thrown();
    assert_eq!(error.kind, "replay");
    assert!(error.message.contains("position 0") && error.message.contains("\"b\""), "{error}");
}

/// What is thrown inside a function is wrapped on its way out.
const FUNCTIONS: &str =
    "fn zero() { 1 / 0 } fn index() { let a = [1]; a[9] } fn deep() { index() } fn parse() { json::parse(\"{\") }";

#[test]
fn every_error_arrives_in_catch_with_kind_and_message() {
    for (script, kind) in [
        ("1 / 0", "arithmetic"),
        ("let a = [1]; a[5]", "index"),
        ("let x = 1; x.foo()", "unknown_function"),
        ("event = 5", "constant"),
        (r#"send_text("abc", "x")"#, "invalid"),
        (r#"send_text("+15417543010", "")"#, "invalid"),
        (r#"send_text("+15417543010", 5)"#, "type"),
        ("sleep(5)", "type"),
        ("sleep(0.5)", "type"),
        (r#"sleep("soon")"#, "invalid"),
        (r#"throw #{ kind: "mine", message: "m" }"#, "mine"),
        ("let x = nothing", "unknown_name"),
        (r#"secret("OTHER")"#, "secret"),
        ("zero()", "arithmetic"),
        ("deep()", "index"),
        ("parse()", "invalid"),
    ] {
        let caught = value(&format!(
            "{FUNCTIONS} let seen = 0; try {{ {script}; }} catch (e) {{ seen = [e.kind, e.message.len > 0] }} seen"
        ));
        assert_eq!(caught, json!([kind, true]), "{script}");
    }
}

#[test]
fn an_uncaught_error_names_its_place() {
    let error = error("let a = 1;\n\nfn f() {\n    let b = 1 / 0;\n}\nf();");
    assert_eq!((error.line, error.script.as_deref()), (Some(4), Some("scripts/main.rhai")), "{error}");
    assert_eq!(error.source.as_deref(), Some("    let b = 1 / 0;"));
    for call in [
        "json::parse(\"{\")",
        "kv::set(\"\", 1)",
        "regex::find(\"a\", \"(\")",
        "base64::decode(\"?\")",
        "url::utm(\"x\", #{})",
    ] {
        let error = self::error(&format!("let a = 1;\n  {call};"));
        assert_eq!((error.line, error.source.is_some()), (Some(2), true), "{call}: {error}");
    }
    assert!(self::error("event.body.customer.phone").message.contains("`.phone` is asked of nothing"));
    assert!(self::error("now() + 5").message.contains("`+` cannot be used"));
    let mut run = Run::with_modules("import \"m\" as m;\nm::f();", &[("m", "\nfn f() {\n  [][3]\n}")]);
    let error = run.thrown();
    assert_eq!((error.line, error.script.as_deref()), (Some(3), Some("scripts/m.rhai")), "{error}");
    assert_eq!(error.source.as_deref(), Some("  [][3]"));
}

#[test]
fn endless_and_hoarding_scripts_end_with_a_limit() {
    for script in
        ["loop { }", "let i = 0; while true { i += 1; try { i += 1; } catch { } }", "try { loop { } } catch { 1 }"]
    {
        let mut run = Run::new(script);
        run.limits.cpu_turn = Duration::from_millis(50);
        let error = run.thrown();
        assert_eq!(error.kind, "limit", "{script}: {error}");
        assert!(error.line.is_some(), "{script}");
    }
    for script in [
        "let a = []; loop { a.push(\"xxxxxxxxxxxxxxxx\"); }",
        "let s = \"x\"; loop { s += s; }",
        "let a = [1]; loop { a = [a, a]; }",
        "let m = #{}; loop { m[uuid()] = m.len(); }",
        "let s = \"a\"; s.pad(1_000_000_000_000, 'x');",
        "let a = []; a.pad(1_000_000_000, 1);",
        "blob(1_000_000_000_000)",
        "let s = \"\"; s.pad(4_000_000, 'x'); s.replace(\"x\", s);",
        "let s = \"\"; s.pad(30_000_000, 'x'); s.split(\"\");",
        "try { let s = \"a\"; s.pad(1_000_000_000_000, 'x'); } catch { 1 }",
    ] {
        let mut run = Run::new(script);
        run.limits.cpu_turn = Duration::from_secs(20);
        let error = run.thrown();
        assert_eq!(error.kind, "limit", "{script}: {error}");
        assert!(error.message.contains("bytes"), "{script}: {error}");
    }
    let error = error("fn f(n) { f(n + 1) + 1 } f(0)");
    assert_eq!(error.kind, "limit", "{error}");
}

#[test]
fn the_journal_has_a_limit() {
    let mut run = Run::new("for i in 0..100 { kv::set(\"k\" + i, i); }");
    run.limits.journal = 50;
    let error = run.thrown();
    assert!(error.kind == "limit" && error.message.contains("50 recorded calls"), "{error}");
    let mut run = Run::new("for i in 0..100 { kv::set(\"k\" + i, \"a long value that weighs something\"); }");
    run.limits.journal_bytes = 1_000;
    assert_eq!(run.thrown().kind, "limit");
}

#[test]
fn a_run_reads_its_own_writes() {
    let mut run =
        Run::new(r#"kv::set("a", 1); let x = kv::get("a"); kv::delete("a"); [x, kv::get("a"), kv::get("b")]"#);
    assert_eq!(run.step(json!("stored")), Some(Question::Read(Read::Kv { key: "b".into() })));
    assert_eq!(run.done(), json!([1, null, "stored"]));
    run.committed = run.journal.len();
    assert_eq!(run.done(), json!([1, null, "stored"]));
}

#[test]
fn fail_keeps_what_was_promised() {
    let mut run = Run::new(r#"send_text("+15417543010", "x"); try { fail("no stock"); } catch { } 1"#);
    let output = run.turn();
    let Ending::Failed(error) = output.ending else { panic!("did not fail") };
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("fail", "no stock"));
    assert_eq!(output.promises.messages.len(), 1);
}

#[test]
fn a_second_answer_to_one_request_is_an_error() {
    assert!(error("respond(200, 1); respond(200, 2)").message.contains("called before"));
    let mut run = Run::new(r#"respond(201, #{ ok: true }, #{ "X-A": "b" });"#);
    let response = run.turn().promises.response.unwrap();
    assert_eq!((response.status, response.body), (201, json!({ "ok": true })));
}
