//! A state belongs to one place: copies of it do not send beside it, and the sandbox only looks.

use std::path::Path;
use std::process::Command;

use crate::support::binary::{Process, json, postrider, run, said};
use crate::support::folder;
use crate::support::until;

const RUN: [&str; 5] = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
/// A gateway that is not there, so that what is sent stays; port 9 is nobody's.
const AWAY: &str = "accounts:\n  shop: { transport: gowa, url: \"http://127.0.0.1:9\" }\n";
const FLOW: &str = "run: send_image(event.data.to, \"files/a.png\")\n";
const PNG: &str = "\u{89}PNG, or near it";

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// Why an engine does not start.
fn refused(root: &Path, more: &[&str]) -> String {
    let output = run(root, &[&RUN[..], more].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

fn starts(root: &Path, more: &[&str]) -> Process {
    Process::of(postrider(root, &[&RUN[..], more].concat()), root)
}

fn states(root: &Path) -> Vec<String> {
    let all = json(root, &["messages"]);
    let messages = all["messages"].as_array().unwrap();
    messages.iter().map(|message| message["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_copied_workspace_does_not_start_by_itself() {
    let home = folder(&[("original/flows/x.yaml", "run: 1\n")]);
    let (original, copied) = (home.path().join("original"), home.path().join("copied"));
    starts(&original, &[]).terminate();
    copy(&original, &copied);
    let before = std::fs::read(copied.join(".postrider/state.db")).unwrap();
    let why = refused(&copied, &[]);
    for part in ["is a copy of", "original/.postrider/state.db", "--adopt", "--sandbox"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(std::fs::read(copied.join(".postrider/state.db")).unwrap(), before, "the file was changed");
    // The sandbox may look, as often as it likes, and changes nothing about that.
    starts(&copied, &["--sandbox"]).terminate();
    assert!(refused(&copied, &[]).contains("is a copy of"));
    assert!(run(&copied, &[&RUN[..], &["--sandbox", "--adopt"]].concat()).status.code() == Some(2));
    // Said once, it is the one; the original goes on as before.
    starts(&copied, &["--adopt"]).terminate();
    starts(&copied, &[]).terminate();
    starts(&original, &[]).terminate();
    // Who moves house takes everything along.
    let moved = home.path().join("moved");
    std::fs::rename(&original, &moved).unwrap();
    starts(&moved, &[]).terminate();
    starts(&moved, &[]).terminate();
}

#[test]
fn a_restored_state_does_not_start_by_itself() {
    let folder = folder(&[("flows/x.yaml", "run: 1\n")]);
    let root = folder.path();
    starts(root, &[]).terminate();
    let (state, backup) = (root.join(".postrider/state.db"), root.join("backup.db"));
    std::fs::copy(&state, &backup).unwrap();
    std::fs::rename(&backup, &state).unwrap();
    assert!(refused(root, &[]).contains("is a copy of the file that was here before it"));
    // Nor can a run of it be taken back while nothing runs.
    let taken = run(root, &["runs", "cancel", "01a1f7c1-4180-76ce-9d30-e3cc1f83356a"]);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("is a copy of"), "{taken:?}");
    starts(root, &["--adopt"]).terminate();
    starts(root, &[]).terminate();
}

/// Whoever copies nothing but the file has all of it, and is told that it is a copy.
#[test]
fn after_a_stop_the_file_alone_has_everything() {
    let home = folder(&[("original/flows/x.yaml", "run: 1\n")]);
    let (original, copied) = (home.path().join("original"), home.path().join("copied"));
    let state = |root: &Path| root.join(".postrider/state.db");
    let engine = starts(&original, &[]);
    std::fs::create_dir_all(copied.join(".postrider")).unwrap();
    // Also while it runs.
    std::fs::copy(state(&original), state(&copied)).unwrap();
    assert!(refused(&copied, &[]).contains("is a copy of"));
    said(&original, &["send", "text", "+15417543010", "hello"]);
    engine.terminate();
    std::fs::copy(state(&original), state(&copied)).unwrap();
    let _engine = starts(&copied, &["--adopt"]);
    assert_eq!(states(&copied).len(), 1);
    let folder = run(&original, &[&RUN[..], &["--store", "flows"]].concat());
    assert!(String::from_utf8_lossy(&folder.stderr).contains("flows is no Postrider state file"), "{folder:?}");
}

#[test]
fn another_machine_is_another_place() {
    let folder = folder(&[("flows/x.yaml", "run: 1\n")]);
    starts(folder.path(), &[]).terminate();
    let spoil = rusqlite::Connection::open(folder.path().join(".postrider/state.db")).unwrap();
    spoil.execute("UPDATE place SET machine = 'ffffffffffffffffffffffffffffffff'", []).unwrap();
    drop(spoil);
    // Where the machine has no name, the file's own number is all there is.
    if Path::new("/etc/machine-id").exists() {
        assert!(refused(folder.path(), &[]).contains("on another machine"));
        starts(folder.path(), &["--adopt"]).terminate();
    }
    starts(folder.path(), &[]).terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_sends_nothing_and_leaves_the_state_as_it_was() {
    let files = [("postrider.yaml", AWAY), ("flows/send.yaml", FLOW), ("files/a.png", PNG)];
    let folder = folder(&files);
    let root = folder.path();
    let engine = starts(root, &[]);
    said(root, &["trigger", "send", "--data", "{\"to\": \"+15417543010\"}", "--wait"]);
    until("the message in its queue", async || (states(root) == ["queued"]).then_some(())).await;
    engine.terminate();
    std::fs::remove_file(root.join("files/a.png")).unwrap();

    let before = std::fs::read(root.join(".postrider/state.db")).unwrap();
    let sandbox = starts(root, &["--sandbox"]);
    assert!(sandbox.ready_line.contains("no message goes out"), "{}", sandbox.ready_line);
    let accounts = json(root, &["accounts"]);
    assert_eq!(accounts["accounts"][0]["transport"], "sandbox", "{accounts}");
    until("the message on the phone", async || (states(root) == ["delivered"]).then_some(())).await;
    let phones = json(root, &["sandbox"]);
    assert_eq!(phones["messages"][0]["kind"], "image", "{phones}");
    // What is thrown away there is thrown away there alone.
    said(root, &["forget", "+15417543010"]);
    assert_eq!(states(root), Vec::<String>::new());
    sandbox.terminate();

    assert_eq!(std::fs::read(root.join(".postrider/state.db")).unwrap(), before, "the state was touched");
    let engine = starts(root, &[]);
    until("the message in its queue", async || (states(root) == ["queued"]).then_some(())).await;
    let kept: Vec<_> = walkdir::WalkDir::new(root.join(".postrider/blobs")).into_iter().flatten().collect();
    let files = kept.iter().filter(|entry| entry.file_type().is_file()).count();
    assert_eq!(files, 1, "the copy of the picture is still there");
    engine.terminate();

    // Begun anew, it begins with what there is now.
    let sandbox = starts(root, &["--sandbox"]);
    until("the message on the phone", async || (states(root) == ["delivered"]).then_some(())).await;
    sandbox.terminate();
}

/// In a folder without a state there is nothing to copy, and none is made.
#[test]
fn the_sandbox_of_a_new_folder_leaves_no_state() {
    let folder = folder(&[("flows/x.yaml", "run: 1\n")]);
    starts(folder.path(), &["--sandbox"]).terminate();
    assert!(!folder.path().join(".postrider/state.db").exists());
}

#[test]
fn the_sandbox_can_what_the_gateway_can() {
    let flow =
        "run: |\n  send_text(event.data.to, \"x\", #{ account: \"shop\", reply_to: \"a\", disappear: \"24h\" })\n";
    let settings = "accounts:\n  shop: { transport: twilio, account_sid: AC00000000000000000000000000000000, \
                    auth_token: a-token-of-theirs, from: \"+15005550006\" }\n";
    let folder = folder(&[("postrider.yaml", settings), ("flows/send.yaml", flow)]);
    let _engine = starts(folder.path(), &["--sandbox"]);
    // Twilio has no messages that disappear, and that is never dropped silently.
    let flows = json(folder.path(), &["flows"]).to_string();
    assert!(flows.contains("disappear"), "{flows}");
}
