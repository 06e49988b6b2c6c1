//! What the functions of scripts take and give.

use std::sync::Arc;

use postrider::model::message::Content;
use postrider::model::question::{Question, Read};
use postrider::script::{Ending, Main, Program};
use serde_json::{Value, json};

use super::{Run, error, value};

#[test]
fn sending_checks_everything_at_the_line() {
    for (script, part) in [
        (r#"send_text("abc", "x")"#, "no phone number"),
        (r#"send_text(["+15417543010", "abc", "12"], "x")"#, "2 of 3 recipients are wrong"),
        (r#"send_link("+15417543010", "example.com")"#, "begins with `https://`"),
        (r#"send_text("+15417543010", "x", #{ acount: "main" })"#, "did you mean `account`"),
        (r#"send_text("+15417543010", "x", #{ account: "mian" })"#, "did you mean `main`"),
        (r#"send_text("+15417543010", "x", #{ disappear: "3d" })"#, "\"24h\", \"7d\""),
        (r#"send_text("+15417543010", "x", #{ extra: #{ a: 1 } })"#, "need the option `account`"),
        (r#"send_text("77@lid", "x")"#, "cannot address"),
        (r#"send_link("+15417543010", "https://e.com", #{ track: true })"#, "set `public_url`"),
        (r#"send_text("+15417543010", secret("KEY"))"#, "a secret never goes into a message"),
        (r#"send_text([], "x")"#, "1 to 1000"),
        (r#"send_text("+15417543010", "x", #{ text: "y" })"#, "it is the second argument"),
        (r#"send("+15417543010", #{ text: "x" })"#, "has no `kind`"),
        (r#"send("+15417543010", #{ kind: "locaton" })"#, "did you mean `location`"),
        (r#"send("+15417543010", #{ kind: "location", latitude: 52 })"#, "the longitude is missing"),
        (r#"send("+15417543010", #{ kind: "location", latitude: 91, longitude: 0 })"#, "between -90 and 90"),
        (r#"send("+15417543010", #{ kind: "poll", question: "?", options: ["a"] })"#, "2 to 12 answers"),
        (r#"send("+15417543010", #{ kind: "poll", question: "?", options: ["a", "a"] })"#, "stands there twice"),
        (r#"send("+15417543010", #{ kind: "contact", name: "A", phone: "x" })"#, "no phone number"),
        (r#"send("+15417543010", #{ kind: "contact", contacts: [] })"#, "1 to 20"),
        (r#"send("+15417543010", #{ kind: "reaction", emoji: "x" })"#, "message (the gateway's id of it) is missing"),
        (r#"send("+15417543010", #{ kind: "template", name: "t", variables: 1 })"#, "a map of names"),
        (r#"send("+15417543010", #{ kind: "text", text: "x", at: "1h" }, #{ at: "2h" })"#, "in the message and in"),
    ] {
        let error = error(script);
        assert!(error.message.contains(part), "{script}: {error}");
    }
}

#[test]
fn other_kinds_are_made_of_their_fields() {
    for (script, kind) in [
        (r#"#{ kind: "location", latitude: 52, longitude: 13.4, name: "Berlin" }"#, "location"),
        (r#"#{ kind: "contact", contacts: [#{ name: "Ada", phone: "+15417543011" }] }"#, "contact"),
        (r#"#{ kind: "poll", question: "?", options: ["a", "b"], max_answers: 2 }"#, "poll"),
        (r#"#{ kind: "reaction", message: "X", emoji: "" }"#, "reaction"),
        (r#"#{ kind: "template", name: "t", language: "en", components: [#{ type: "body" }] }"#, "template"),
        (r#"#{ kind: "video", source: "https://e.com/a.mp4", note: true }"#, "video"),
    ] {
        let output = Run::new(&format!("send(\"+15417543010\", {script}, #{{ key: () }})")).turn();
        assert_eq!(output.promises.messages[0].body.content.kind(), kind, "{script}");
        let stored = serde_json::to_string(&output.promises.messages[0].body).unwrap();
        let read: postrider::model::message::Body = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, output.promises.messages[0].body, "{stored}");
    }
}

#[test]
fn an_array_of_recipients_gives_an_array_of_messages_each_once() {
    let mut run = Run::new(r#"send_text(["+15417543010", "0015417543010", "120@g.us"], "hi").len"#);
    let output = run.turn();
    let Ending::Done(count) = output.ending else { panic!("not done") };
    assert_eq!((count, output.promises.messages.len()), (json!(2), 2));
    let Content::Text { text } = &output.promises.messages[1].body.content else { panic!("no text") };
    assert_eq!((text.as_str(), output.promises.messages[1].to.to_string().as_str()), ("hi", "120@g.us"));
}

#[test]
fn files_and_keys_are_asked_for_before_the_promise() {
    let mut run = Run::new(r#"send_file("+15417543010", "files/a.pdf", #{ key: "k" }).to"#);
    let snapshot = Question::Read(Read::Snapshot { path: "files/a.pdf".into() });
    assert_eq!(run.step(json!({ "blob": "00", "size": 3, "file_name": "a.pdf" })), Some(snapshot));
    let keyed = Question::Read(Read::Keyed { key: "k".into(), to: "+15417543010".into() });
    assert_eq!(run.step(Value::Null), Some(keyed));
    assert_eq!(run.done(), json!("+15417543010"));
    assert_eq!(run.turn().promises.messages.len(), 1);
}

#[test]
fn secrets_are_opaque() {
    assert_eq!(value(r#"let s = "Bearer " + secret("KEY"); `${s}` + s.to_string()"#), json!("******"));
    assert_eq!(value(r#"hash::hmac_sha256(secret("KEY"), "x") == hash::hmac_sha256("hidden", "x")"#), json!(true));
    for script in [
        r#"print(secret("KEY"))"#,
        r#"kv::set("a", secret("KEY"))"#,
        r#"respond(200, secret("KEY"))"#,
        r#"json::stringify(secret("KEY"))"#,
    ] {
        let mut run = Run::new(&format!("try {{ {script}; }} catch {{ }}"));
        let output = run.turn();
        let trace = format!("{:?} {:?}", output.entries, output.promises);
        assert!(!trace.contains("hidden"), "{script}: {trace}");
    }
}

#[test]
fn pure_functions() {
    for (script, wanted) in [
        (r#"json::parse("{\"a\": [1, 2.5, null]}")"#, json!({ "a": [1, 2.5, null] })),
        (r#"json::stringify(#{ b: 1, a: [true] })"#, json!(r#"{"a":[true],"b":1}"#)),
        (r#"csv::parse("name,age\nAda,36\n")"#, json!([{ "name": "Ada", "age": "36" }])),
        (r#"csv::parse("a;b\n", #{ header: false, delimiter: ";" })"#, json!([["a", "b"]])),
        (r#"base64::decode_text(base64::encode("häh"))"#, json!("häh")),
        (r#"hash::sha256("abc").sub_string(0, 8)"#, json!("ba7816bf")),
        (r#"regex::captures("order 42", "order (?<n>\\d+)").n"#, json!("42")),
        (r#"regex::replace("a1b2", "[0-9]", "-")"#, json!("a-b-")),
        (r#"url::encode("a b&c")"#, json!("a%20b%26c")),
        (
            r#"url::utm("https://e.com/?utm_source=x&a=1", #{ source: "mail" })"#,
            json!("https://e.com/?a=1&utm_source=mail"),
        ),
        (r#"time::parse("2026-12-01T09:00").format("%d.%m.%Y %H:%M %Z")"#, json!("01.12.2026 09:00 CET")),
        (r#"time::parse("2026-12-01T09:00Z").in_zone("America/New_York").hour"#, json!(4)),
        (r#"duration("90m").to_string()"#, json!("1h30m")),
        (r#"print("a"); print(5); print(#{ a: [1] }); print(()); print(true); 1"#, json!(1)),
        (r#"uuid().len == 36 && random() < 1.0"#, json!(true)),
    ] {
        assert_eq!(value(script), wanted, "{script}");
    }
}

#[test]
fn headers_are_asked_for_in_any_letters() {
    for (script, wanted) in [
        (r#"event.headers["X-Shop"]"#, json!("a")),
        (r#"`${event.headers["X-SHOP"]}` + event?.headers?["x-shop"]"#, json!("aa")),
        (r#"fn f() { event.headers["X-Shop"] } f()"#, json!("a")),
        (r#"event.headers["X-None"]"#, json!(null)),
        (r#"event.headers.keys()"#, json!(["x-shop"])),
        // Names of other things are what they are.
        (r#"[event.body["X-Shop"], #{ "X-Shop": 1 }["X-Shop"], event.body["headers"]]"#, json!(["b", 1, null])),
    ] {
        let mut run = Run::new(script);
        run.event = json!({ "trigger": "webhook", "headers": { "x-shop": "a" }, "body": { "X-Shop": "b" } });
        assert_eq!(run.done(), wanted, "{script}");
    }
}

#[test]
fn what_can_be_said_before_running_is_said() {
    for (script, part) in [
        ("let a = ;", "the script cannot be read"),
        ("eval(\"1\")", "cannot be read"),
        ("send_txt(\"a\", \"b\")", "no function `send_txt`"),
        ("kv::gett(\"a\")", "no function `kv::gett`"),
        ("let n = \"m\"; import n as m;", "literal name only"),
        ("import \"missing\" as m;", "no module `missing`"),
        ("import \"../secret\" as m;", "no module name"),
        ("import \"loop\" as m;", "in a circle"),
        ("import \"sends\" as m;", "may only define functions"),
    ] {
        let load = |name: &str| match name {
            "loop" => Some(Arc::from("import \"loop\" as me;")),
            "sends" => Some(Arc::from("send_text(\"+15417543010\", \"x\");")),
            _ => None,
        };
        let main = Main { file: &"scripts/main.rhai".into(), text: &script.into(), indent: 0 };
        let Err(findings) = Program::compile(main, &load) else { panic!("{script} was accepted") };
        let text: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(text.join("\n").contains(part), "{script}: {text:?}");
    }
}

#[test]
fn exit_ends_the_script_wherever_it_stands() {
    assert_eq!(value("exit(1); 2"), json!(1));
    assert_eq!(value("fn f() { exit(1); } f(); 2"), json!(1));
    assert_eq!(value("[1, 2].map(|item| exit(item + 4)); 2"), json!(5));
    assert_eq!(value("[1, 2].for_each(|| exit()); 2"), json!(null));
}
