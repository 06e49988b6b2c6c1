//! Letters that steer a terminal reach neither the log nor what commands print, whichever way they
//! came in; letters that people write stay as they are.

use serde_json::{Value, json};

use super::assert_plain;
use crate::support::binary::{self, Process, postrider};
use crate::support::{client, folder, until};

/// Every kind of what may steer, and what would pass for a line of the log.
const STEERS: &str = "a\u{1b}[31mb\u{1b}]0;c\u{7}\u{9b}31m\u{90}d\u{9c}\u{202e}e\u{2066}f\u{2069}\u{61c}\u{200f}\r\n\
    2026-11-20T07:00:00.000000Z ERROR postrider::store: FORGED\n\t\u{8}\u{c}\u{b}\u{7f}\u{85}g\u{2028}h\u{2029}\u{200b}\
    \u{2060}\u{feff}\u{fff9}\u{e0041}z";
/// What people write: accents, a family joined without width, a heart with its variation, letters from right to left.
const HONEST: &str = "Grüße 👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} שלום مرحبا 日本";

const LOG: &str = "triggers:\n  - webhook: /log\nrun: |\n  log::info(event.body.text);\n  log::warn(event.headers[\"x-note\"]);\n  \
    log::error(#{ text: event.body.text });\n  send_text(\"+15417543010\", event.body.text);\n  emit(\"kept\", event.body.text);\n  \
    event.body.text\n";
const FAIL: &str = "triggers:\n  - webhook: /fail\nrun: fail(event.body.text)\n";
const THROW: &str = "triggers:\n  - webhook: /throw\nrun: throw event.body.text\n";
const KIND: &str =
    "triggers:\n  - webhook: /kind\nrun: \"throw #{ kind: event.body.text, message: event.body.text }\"\n";
const CHAT: &str = "triggers:\n  - message: {}\nrun: |\n  log::info(event.text);\n  throw event.text\n";
const WATCH: &str = "triggers:\n  - watch: \"inbox/*\"\nrun: |\n  log::info(event.name);\n  throw event.path\n";

async fn fill(process: &Process, root: &std::path::Path) {
    let note = reqwest::header::HeaderValue::from_bytes("n\u{9b}31m\u{202e}ote".as_bytes()).unwrap();
    for path in ["log", "fail", "throw", "kind"] {
        for text in [STEERS, HONEST] {
            let request = client().post(format!("http://{}/hooks/{path}", process.public));
            let body = json!({ "text": text }).to_string();
            let response = request.header("content-type", "application/json").header("x-note", note.clone()).body(body);
            assert!(response.send().await.unwrap().status().is_success(), "{path}");
        }
    }
    let typed = STEERS.replace('\0', "");
    binary::run(root, &["sandbox", "reply", "+15417543010", &typed]);
    std::fs::write(root.join("inbox").join(format!("{}.csv", STEERS.replace('/', ""))), "a").unwrap();
    until("all runs to end", async || {
        let runs = binary::json(root, &["runs", "--limit", "100"]);
        let runs = runs["runs"].as_array().unwrap();
        let over = |run: &&Value| matches!(run["state"].as_str(), Some("succeeded" | "failed"));
        (runs.len() == 10 && runs.iter().filter(over).count() == 10).then_some(())
    })
    .await;
}

fn files() -> tempfile::TempDir {
    folder(&[
        ("flows/log.yaml", LOG),
        ("flows/fail.yaml", FAIL),
        ("flows/throw.yaml", THROW),
        ("flows/kind.yaml", KIND),
        ("flows/chat.yaml", CHAT),
        ("flows/watch.yaml", WATCH),
        ("flows/described.yaml", "description: \"a\\e[31mb\\u202Ec\"\nrun: 1\n"),
        ("inbox/.keep", ""),
    ])
}

fn start(root: &std::path::Path, format: &str) -> Process {
    let mut command = postrider(root, &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("POSTRIDER_LOG_FORMAT", format);
    Process::of(command, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_one_plain_line_of_the_log() {
    for format in ["text", "json"] {
        let folder = files();
        let process = start(folder.path(), format);
        fill(&process, folder.path()).await;
        // So is a request that is refused.
        let nowhere = client().post(format!("http://{}/hooks/no%0Awhere", process.public)).send().await.unwrap();
        assert_eq!(nowhere.status(), 404);
        // Files with mistakes are told of too, and their names may be anything.
        std::fs::write(folder.path().join("flows/x\u{1b}[31m\n\u{202e}y.yaml"), "nonsense: 1\n").unwrap();
        std::fs::write(folder.path().join("flows/keys.yaml"), "\"a\\e[31m\\u202Eb\": 1\nrun: 1\n").unwrap();
        let log = folder.path().join("engine.log");
        until("the mistakes to be told", async || {
            std::fs::read_to_string(&log).unwrap().contains("flows/keys.yaml").then_some(())
        })
        .await;
        let (_, log) = process.terminate();
        let log = assert_plain(format, log.as_bytes());
        for line in log.lines() {
            match format {
                "json" => assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}"),
                // A moment of this year's clock, not one that somebody wrote.
                _ => assert!(line.starts_with("20") && !line.starts_with("2026-11-20T07:00:00.000000Z"), "{line}"),
            }
        }
        assert!(log.matches("FORGED").count() >= 8, "{log}");
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("a request was refused")).collect();
        assert!(refused.len() == 1 && refused[0].contains("/hooks/no%0Awhere"), "{refused:?}");
        assert!(log.matches(HONEST).count() >= 4, "{log}");
        if format == "json" {
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let mut said = lines.filter(|line| line["fields"]["message"] == STEERS);
            assert!(said.next().is_some(), "what was logged is not what it was: {log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_print_plain_letters() {
    let folder = files();
    let root = folder.path();
    let process = start(root, "text");
    fill(&process, root).await;
    let runs = binary::json(root, &["runs", "--limit", "100"]);
    let runs: Vec<&str> = runs["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    let messages = binary::json(root, &["messages"]);
    let messages = messages["messages"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap());
    let event = "event.json";
    std::fs::write(root.join(event), json!({ "trigger": "webhook", "body": { "text": STEERS } }).to_string()).unwrap();
    let flows = ["flows", "runs", "messages", "accounts", "sandbox list", "next"];
    let mut commands: Vec<Vec<&str>> = flows.map(|command| command.split(' ').collect()).to_vec();
    commands.extend(runs.iter().flat_map(|id| [vec!["runs", "show", id], vec!["simulate", id]]));
    commands.extend(messages.map(|id| vec!["messages", "show", id]));
    commands.push(vec!["trigger", "throw", "--event", event, "--wait"]);
    // What is wrong is told of as plainly as what is right, be it the caller's own words.
    commands.push(vec!["runs", "show", STEERS]);
    commands.push(vec!["trigger", STEERS]);
    commands.push(vec!["send", STEERS, "+15417543010", "x"]);
    commands.push(vec!["send", "text", STEERS, "x"]);
    commands.push(vec![STEERS]);
    commands.push(vec!["next", STEERS]);
    commands.push(vec!["preview", STEERS]);
    std::fs::write(root.join("flows/x\u{1b}[31m\n\u{202e}y.yaml"), "nonsense: 1\n").unwrap();
    let broken = format!("run: |\n  let a = 1; // {}\n  send_txt(\"{}\");\n", "\u{1b}]0;x\u{7}", "\u{202e}\u{9b}31m");
    std::fs::write(root.join("flows/keys.yaml"), format!("\"a\\e[31m\\u202Eb\": 1\ntimezone: \"x\\u009b\"\n{broken}"))
        .unwrap();
    std::fs::write(root.join("flows/lines.yaml"), broken).unwrap();
    commands.push(vec!["check"]);
    commands.push(vec!["flows"]);
    let (mut forged, mut honest) = (0, 0);
    for command in &commands {
        for json in [false, true] {
            let mut command = command.clone();
            command.extend(json.then_some("--json"));
            let output = binary::run(root, &command);
            let err = assert_plain(&format!("{command:?}, errors"), &output.stderr);
            let out = assert_plain(&format!("{command:?}"), &output.stdout);
            for line in out.lines().chain(err.lines()) {
                assert!(!line.starts_with("2026-11-20T07:00:00.000000Z"), "{command:?}: {line}");
                forged += usize::from(line.contains("FORGED"));
                honest += usize::from(line.contains(HONEST));
            }
            if json && !out.is_empty() {
                assert!(serde_json::from_str::<Value>(&out).is_ok(), "{command:?}: {out}");
            }
        }
    }
    assert!(forged > 20 && honest > 10, "{forged} {honest}");
}
