//! What `check` says of calls that ask for more than their account's gateway has.

use serde_json::Value;

use crate::support::binary::run;
use crate::support::folder;

const SETTINGS: &str = "default_account: main
accounts:
  main: { transport: gowa }
  cards: { transport: waha, engine: gows }
  official: { transport: twilio, account_sid: AC1, auth_token: x, from: \"+14155238886\", on_unsupported: strict }
";

/// Findings for a script: line, message.
fn warned(script: &str) -> Vec<String> {
    let indented: String = script.lines().map(|line| format!("  {line}\n")).collect();
    let flow = format!("run: |\n{indented}");
    let folder = folder(&[("flows/x.yaml", &flow), ("postrider.yaml", SETTINGS)]);
    let output = run(folder.path(), &["check", "--json"]);
    assert!(output.status.success(), "warnings are no errors: {}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = report["diagnostics"].as_array().unwrap().iter().map(|finding| {
        assert_eq!((&finding["severity"], &finding["file"]), (&"warning".into(), &"flows/x.yaml".into()));
        format!("{}: {}", finding["line"], finding["message"].as_str().unwrap())
    });
    said.collect()
}

#[test]
fn literal_calls_are_compared_with_what_their_account_can_do() {
    for (script, wanted) in [
        (r#"send_text("+15417543010", "hi", #{ forwarded: true, disappear: "24h" });"#, vec![]),
        (
            r#"send_text("+15417543010", "hi", #{ recipient_name: "Ada" });"#,
            vec![
                "2: account `main` (gowa): it has no `recipient_name` for messages of kind `text`; it will be left out",
            ],
        ),
        (r#"send_link("+15417543010", "https://e.com", #{ title: "x", account: "cards" });"#, vec![]),
        (
            r#"send_link("+15417543010", "https://e.com", #{ title: "x" });"#,
            vec![
                "2: account `main` (gowa): it has no `title` for messages of kind `link`; its words will be put elsewhere",
            ],
        ),
        (
            r#"send_link("+15417543010", "https://e.com", #{ preview: false });"#,
            vec!["2: account `main` (gowa): it has no `preview` for messages of kind `link`; the link goes as text"],
        ),
        (
            r#"send_text("1203@g.us", "hi", #{ account: "official" });"#,
            vec!["2: account `official` (twilio): `1203@g.us` is a group, which this gateway cannot address"],
        ),
        (
            "let a = 1;\nsend(\"+15417543010\", #{ kind: \"poll\", question: \"?\", options: [\"a\", \"b\"], account: \"official\" });",
            vec!["3: account `official` (twilio): it has no messages of kind `poll`; they will be refused"],
        ),
        (
            r#"send_image("+15417543010", "files/a.png", #{ view_once: true, account: "cards" });"#,
            vec![
                "2: account `cards` (waha): it has no `view_once` for messages of kind `image`; the message will be refused; `on_unsupported: \"drop\"` sends it without",
            ],
        ),
        (
            r#"send_image("+15417543010", "files/a.png", #{ view_once: true, account: "cards", on_unsupported: "drop" });"#,
            vec!["2: account `cards` (waha): it has no `view_once` for messages of kind `image`; it will be left out"],
        ),
        // What only a run can tell is not guessed.
        (r#"for name in ["main", "official"] { send_text("1203@g.us", "hi", #{ account: name }); }"#, vec![]),
        (r#"let options = #{ account: "official" }; send_text("1203@g.us", "hi", options);"#, vec![]),
        (r#"send_text("+15417543010", "hi", #{ recipient_name: (), forwarded: false });"#, vec![]),
    ] {
        assert_eq!(warned(script), wanted, "{script}");
    }
}
