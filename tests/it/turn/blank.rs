//! A text that nobody would see anything of is no text.

use serde_json::{Value, json};

use super::Run;

#[test]
fn what_shows_nothing_is_empty() {
    let blank = ["", " \\t\\n", "\\u200b\\u200d", "\\ufeff", "\\u2060\\u00ad", "\\ufe0f", "\\u3164", "\\u2800 \\u115f"];
    for text in blank {
        for call in [
            format!("send_text(\"+15417543010\", \"{text}\")"),
            format!("send_text(\"+15417543010\", \"hello\", #{{ recipient_name: \"{text}\" }})"),
            format!("send(\"+15417543010\", #{{ kind: \"text\", text: \"{text}\" }})"),
            format!("ask(\"+15417543010\", \"{text}\")"),
        ] {
            let mut run =
                Run::new(&format!("let said = \"\"; try {{ {call}; }} catch (e) {{ said = e.message; }} said"));
            run.step(Value::Null);
            let said = run.done();
            assert!(said.as_str().unwrap().contains("empty"), "{call}: {said}");
        }
    }
    // What joins letters is part of them.
    for text in ["\\u2764\\ufe0f", "\\u0645\\u06cc\\u200c\\u062e", "a\\u200b"] {
        let mut run = Run::new(&format!("send_text(\"+15417543010\", \"{text}\"); \"sent\""));
        run.step(Value::Null);
        assert_eq!(run.done(), json!("sent"), "{text}");
    }
}
