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
            vec!["main` (gowa): `recipient_name`: left out"],
        ),
        (r#"send_link("+15417543010", "https://e.com", #{ title: "x", description: "y", account: "cards" });"#, vec![]),
        (
            r#"send_link("+15417543010", "https://e.com", #{ title: "x" });"#,
            vec!["main` (gowa): `title`: written into the caption"],
        ),
        (
            r#"send_link("+15417543010", "https://e.com", #{ preview: false });"#,
            vec!["main` (gowa): `preview`: sent as text"],
        ),
        (
            r#"send_link("+15417543010", "https://e.com", #{ thumbnail: "https://e.com/a.png", on_unsupported: "emulate" });"#,
            vec!["main` (gowa): `thumbnail`: sent as a picture with the link below it"],
        ),
        (
            r#"send_text("1203@g.us", "hi", #{ account: "official" });"#,
            vec!["official` (twilio): `1203@g.us` is a group, which this gateway cannot address"],
        ),
        (r#"ask("+15417543010", "Ok?", #{ choices: ["Yes", "No"], account: "official" });"#, vec![]),
        (
            r#"ask("1203@g.us", "Ok?", #{ account: "official" });"#,
            vec!["official` (twilio): `1203@g.us` is a group, which this gateway cannot address"],
        ),
        (
            r#"send("+15417543010", #{ kind: "poll", question: "?", options: ["a", "b"], account: "official" });"#,
            vec![
                "official` (twilio): the message will be refused: this gateway has no messages of kind `poll`; nothing was sent",
            ],
        ),
        (
            r#"send("+15417543010", #{ kind: "poll", question: "?", options: ["a", "b", "c"], max_answers: 2, account: "cards" });"#,
            vec!["cards` (waha): `max_answers`: any number of answers may be chosen"],
        ),
        (
            r#"send_image("+15417543010", "files/a.png", #{ view_once: true, account: "cards" });"#,
            vec![
                "cards` (waha): the message will be refused: this gateway has no `view_once` for messages of kind `image`; nothing was sent",
            ],
        ),
        (
            r#"send_image("+15417543010", "files/a.png", #{ view_once: true, account: "cards", on_unsupported: "drop" });"#,
            vec!["cards` (waha): `view_once`: left out"],
        ),
        (
            r#"send_image("+15417543010", "files/a.png", #{ account: "official" });"#,
            vec!["official` (twilio): it fetches files from an address; give one, or set `public_url`"],
        ),
        (r#"send_image("+15417543010", "https://e.com/a.png", #{ account: "official" });"#, vec![]),
        (
            r#"send_link("+15417543010", "https://e.com", #{ track: true });"#,
            vec!["main` (gowa): `track` needs `public_url` in postrider.yaml"],
        ),
        // What only a run can tell is not guessed.
        (r#"for name in ["main", "official"] { send_text("1203@g.us", "hi", #{ account: name }); }"#, vec![]),
        (r#"let options = #{ account: "official" }; send_text("1203@g.us", "hi", options);"#, vec![]),
        (r#"send_text("+15417543010", "hi", #{ recipient_name: (), forwarded: false, mentions: [] });"#, vec![]),
        (r#"let no = false; send_image("+15417543010", "files/a.png", #{ view_once: no, account: "cards" });"#, vec![]),
        (r#"send_image("+15417543010", "files/a.png", #{ view_once: false, hd: false, account: "cards" });"#, vec![]),
        (r#"let no = (); send_text("+15417543010", "hi", #{ disappear: no, account: "cards" });"#, vec![]),
        (r#"fn send_file(a, b) { 1 } send_file("nobody", 2);"#, vec![]),
    ] {
        let wanted: Vec<String> = wanted.into_iter().map(|said| format!("2: account `{said}")).collect();
        assert_eq!(warned(script), wanted, "{script}");
    }
    for (script, wanted) in [
        (
            r#"send_text("+15417543010", "hi", #{ account: "offical" });"#,
            "2: there is no account `offical` in postrider.yaml",
        ),
        (r#"send_text(["+15417543010", "12"], "hi");"#, "2: `12` is no phone number"),
    ] {
        let said = warned(script);
        assert!(said.len() == 1 && said[0].starts_with(wanted), "{script}: {said:?}");
    }
}
