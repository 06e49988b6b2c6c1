//! What a rule of the engine refuses: the run sees the same when it runs again, whatever the rule says then.

use postrider::id::MessageId;
use postrider::script::Ending;
use serde_json::{Value, json};

use super::Run;

#[test]
fn what_was_refused_stays_so_and_what_was_not_goes_on() {
    let id = MessageId::new(super::start());
    let message = json!([{ "id": id, "to": "+15417543010", "account": "main" }]);
    let answer = json!({ "status": 200, "body": "" });
    for (call, kind, earlier) in [
        ("let s = \"\"; s.pad(2_000_000, 'x'); send_text(\"+15417543010\", s)", "invalid", message),
        ("hash::hmac_sha256(secret(\"UNSET\"), \"x\")", "secret", json!("00")),
        ("http::get(\"http://a.example\", #{ headers: #{ host: \"b\" } })", "invalid", answer.clone()),
        (
            "http::all([#{ url: \"http://a.example\", headers: #{ \"Content-Length\": \"5\" } }])",
            "invalid",
            json!([answer]),
        ),
        (
            "let p = \"\"; p.pad(9_000, 'x'); wait_for_message(#{ from: \"+15417543010\", text: p })",
            "invalid",
            Value::Null,
        ),
        ("let k = \"\"; k.pad(600, 'x'); wait_for_event(\"paid\", #{ key: k })", "invalid", json!({ "number": 1 })),
        ("respond(200, \"\", #{ \"X-A\": [1] })", "type", Value::Null),
    ] {
        let mut run =
            Run::new(&format!("let said = \"\"; try {{ {call}; }} catch (e) {{ said = e.kind; }} sleep(\"1h\"); said"));
        run.step(Value::Null);
        assert!(run.journal[0].error.is_some(), "{call}: {:?}", run.journal);
        run.committed = run.journal.len();
        assert_eq!(run.done(), json!(kind), "{call}");
        // An engine without the rule let it through.
        run.journal[0].error = None;
        run.journal[0].result = earlier;
        match run.turn().ending {
            Ending::Done(said) => assert_eq!(said, json!(""), "{call}"),
            Ending::Thrown(error) | Ending::Failed(error) => panic!("{call}: {error}"),
            Ending::Waiting(_) => panic!("{call}: waits"),
        }
    }
}

#[test]
fn headers_that_frame_are_left_out_of_an_answer_and_its_record_stays_as_it_was() {
    let mut run = Run::new("respond(200, \"\", #{ \"Transfer-Encoding\": \"chunked\", \"X-A\": \"1\" }); 1");
    let output = run.turn();
    assert!(output.entries[0].request.get().contains("Transfer-Encoding"), "{:?}", output.entries);
    assert_eq!(output.promises.response.unwrap().headers, [("X-A".to_owned(), "1".to_owned())]);
    // A call that was wrong is not the one answer that a request gets.
    let mut run = Run::new("try { respond(200, \"\", #{ \"X-A\": [1] }); } catch {} respond(201); 1");
    assert_eq!(run.turn().promises.response.unwrap().status, 201);
}
