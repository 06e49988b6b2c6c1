//! Triggers by files: finished, new, changed, gone; slowly, in crowds, across restarts.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::engine::{House, flow_in};
use crate::support::until;

const SETTLE: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

fn flow(watch: &str) -> String {
    format!("triggers:\n  - watch: {watch}\nrun: '`${{event.kind}} ${{event.path}} ${{event.size}}`'\n")
}

async fn open(watch: &str) -> House {
    let house = House::open(&[("flows/in.yaml", &flow(watch)), ("inbox/.gitkeep", "")]).await;
    assert_eq!(house.get("/flows").await["flows"][0]["triggers"][0]["kind"], "watch");
    house
}

/// What the runs have seen, sorted; waits until there are so many, moving the clock meanwhile.
async fn seen(house: &House, count: usize) -> Vec<String> {
    until(&format!("{count} files"), async || {
        house.pass(SECOND);
        let runs = house.runs_of("in").await;
        assert!(runs.len() <= count, "too many: {runs:?}");
        if runs.len() < count || runs.iter().any(|run| run["state"] != "succeeded") {
            return None;
        }
        let mut seen = Vec::new();
        for run in runs {
            let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
            seen.push(run["result"].as_str().unwrap().to_owned());
        }
        seen.sort();
        Some(seen)
    })
    .await
}

/// Gives the engine every chance to do something that it should not do: a file that comes last is
/// seen, and nothing else was.
async fn nothing_but(house: &House, count: usize) {
    house.write("inbox/last.csv", &format!("last {count}"));
    let seen = seen(house, count + 1).await;
    assert!(seen.iter().any(|seen| seen.contains("inbox/last.csv")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_slowly_counts_once_when_it_is_done() {
    let house = open("\"inbox/*.csv\"").await;
    let mut file = File::create(house.folder.path().join("inbox/slow.csv")).unwrap();
    for part in 0..6 {
        writeln!(file, "part {part}").unwrap();
        house.pass(SECOND / 2);
        // The engine looks at it again and again meanwhile.
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(house.runs_of("in").await.is_empty());
    }
    drop(file);
    assert_eq!(seen(&house, 1).await, ["created inbox/slow.csv 42"]);
    nothing_but(&house, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn touched_is_not_changed_and_changed_is() {
    let house = open("\"inbox/*.csv\"").await;
    let path = house.folder.path().join("inbox/a.csv");
    house.write("inbox/a.csv", "one");
    seen(&house, 1).await;
    File::options().append(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    // Saved again with the same content, in place and by a rename over it.
    house.write("inbox/a.csv", "one");
    house.write("inbox/.a.tmp", "one");
    house.rename("inbox/.a.tmp", "inbox/a.csv");
    nothing_but(&house, 1).await;
    house.write("inbox/a.csv", "two!");
    assert!(seen(&house, 3).await.contains(&"modified inbox/a.csv 4".to_owned()));
    // Gone, and another one of the same name and content later: that is a new file.
    house.remove("inbox/a.csv");
    let store = house.engine.store();
    let trigger = &store.armed().await.unwrap()[0].key;
    until("its absence to be on record", async || {
        house.pass(SETTLE);
        let ledger = store.seen_files(trigger).await.unwrap();
        ledger.iter().any(|row| row.path == "inbox/a.csv" && row.gone_at.is_some()).then_some(())
    })
    .await;
    house.write("inbox/a.csv", "two!");
    assert!(seen(&house, 4).await.contains(&"created inbox/a.csv 4".to_owned()));
    // Only what the pattern means.
    for other in ["inbox/a.txt", "inbox/.hidden.csv", "inbox/deeper/a.csv", "outbox/a.csv"] {
        house.write(other, "x");
    }
    house.write("inbox/last.csv", "once more");
    seen(&house, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_files_at_once_are_a_thousand_runs() {
    let house = open("\"inbox/**/*.csv\"").await;
    for number in 0..1_000 {
        house.write(&format!("from/f{}/n{number}.csv", number % 7), &format!("{number}"));
    }
    let root = house.folder.path();
    let copied = std::process::Command::new("cp").arg("-r").arg("from").arg("inbox/").current_dir(root).status();
    assert!(copied.unwrap().success());
    until("a thousand runs", async || {
        house.pass(SECOND);
        let answer = house.get("/runs?flow=in&state=succeeded&limit=1000").await;
        (answer["runs"].as_array().unwrap().len() == 1_000).then_some(())
    })
    .await;
    for _ in 0..5 {
        house.pass(SETTLE);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let page = house.get("/runs?flow=in&limit=1000").await;
    assert!(page["next"].is_null(), "more than a thousand");
}

/// Waits until a flow has so many runs, while time goes on: each trigger settles by itself.
async fn runs_are(house: &House, flow: &str, count: usize) {
    until(&format!("{count} runs of {flow}"), async || {
        house.pass(Duration::from_millis(100));
        (house.runs_of(flow).await.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_came_while_the_engine_was_down_count_once() {
    let house = House::open(&[
        ("inbox/before.csv", "there before the flow was"),
        ("flows/in.yaml", &flow("\"inbox/*.csv\"")),
        ("flows/all.yaml", &flow("{ paths: \"inbox/*.csv\", backlog: all }")),
        ("flows/none.yaml", &flow("{ paths: \"inbox/*.csv\", backlog: none }")),
    ])
    .await;
    house.write("inbox/a.csv", "a");
    seen(&house, 1).await;
    runs_are(&house, "all", 2).await;
    runs_are(&house, "none", 1).await;
    let (folder, clock) = house.stop().await;
    crate::support::write(folder.path(), "inbox/b.csv", "b");
    crate::support::write(folder.path(), "inbox/a.csv", "a, changed");
    let house = House::again(folder, clock).await;
    assert_eq!(seen(&house, 3).await, ["created inbox/a.csv 1", "created inbox/b.csv 1", "modified inbox/a.csv 10"]);
    let house = house.crash().await;
    nothing_but(&house, 3).await;
    runs_are(&house, "none", 2).await;
    runs_are(&house, "all", 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanishes_or_leads_out_is_no_error_and_deletions_are_seen_if_wanted() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.csv"), "x").unwrap();
    let house = open("{ paths: [\"inbox/**/*.csv\", \"later/*.csv\"], events: [deleted, created] }").await;
    let inbox = house.folder.path().join("inbox");
    symlink(outside.path().join("secret.csv"), inbox.join("out.csv")).unwrap();
    symlink(outside.path(), inbox.join("outside")).unwrap();
    symlink("../.env", inbox.join("env.csv")).unwrap();
    symlink("nowhere.csv", inbox.join("dangling.csv")).unwrap();
    symlink(&inbox, inbox.join("loop")).unwrap();
    symlink("..", inbox.join("up")).unwrap();
    house.write(".env", "A=1\n");
    house.write("inbox/brief.csv", "gone before it is finished");
    house.remove("inbox/brief.csv");
    house.write("inbox/a.csv", "a");
    house.write("inbox/b.csv", "b");
    symlink("b.csv", inbox.join("inner.csv")).unwrap();
    // A folder that comes only now.
    house.write("later/c.csv", "c");
    let created =
        ["created inbox/a.csv 1", "created inbox/b.csv 1", "created inbox/inner.csv 1", "created later/c.csv 1"];
    assert_eq!(seen(&house, 4).await, created);
    house.write("inbox/a.csv", "changes are not asked for");
    house.remove("inbox/b.csv");
    let gone = seen(&house, 6).await;
    assert_eq!(gone[4..], ["deleted inbox/b.csv 1", "deleted inbox/inner.csv 1"]);
    // The whole folder away, as an unmounted drive is, and back: nothing is new.
    house.rename("inbox", "away");
    house.write("later/d.csv", "d");
    seen(&house, 7).await;
    house.rename("away", "inbox");
    nothing_but(&house, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_linked_folder_shows_once_more_is_one_file() {
    let house = open("{ paths: [\"inbox/**/*.csv\"], events: [created, deleted] }").await;
    let root = house.folder.path();
    house.write("inbox/2026/nov/a.csv", "a");
    house.write("elsewhere/b.csv", "b");
    symlink("2026/nov", root.join("inbox/latest")).unwrap();
    // What lies nowhere else below the pattern comes by the link.
    symlink("../elsewhere", root.join("inbox/other")).unwrap();
    assert_eq!(seen(&house, 2).await, ["created inbox/2026/nov/a.csv 1", "created inbox/other/b.csv 1"]);
    house.remove("inbox/2026/nov/a.csv");
    assert_eq!(seen(&house, 3).await[2], "deleted inbox/2026/nov/a.csv 1");
    nothing_but(&house, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_mounted_configuration_are_seen_and_read_and_its_swap_is_noticed() {
    let read = "run: '`${event.kind} ${event.path} ${files::csv(event.path)[0].name}`'\n";
    let flow = format!("triggers:\n  - watch: \"lists/*.csv\"\n{read}");
    let house = House::open(&[
        ("flows/in.yaml", &flow),
        ("lists/..one/people.csv", "name\nAda\n"),
        ("lists/..two/people.csv", "name\nGrace\n"),
    ])
    .await;
    let lists = house.folder.path().join("lists");
    symlink("..one", lists.join("..data")).unwrap();
    symlink("..data/people.csv", lists.join("people.csv")).unwrap();
    assert_eq!(seen(&house, 1).await, ["created lists/people.csv Ada"]);
    symlink("..two", lists.join("..data_tmp")).unwrap();
    fs::rename(lists.join("..data_tmp"), lists.join("..data")).unwrap();
    assert_eq!(seen(&house, 2).await[1], "modified lists/people.csv Grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_of_is_found_by_looking() {
    let house = open("{ paths: \"inbox/*.csv\", poll: 3s }").await;
    house.write("real/a.csv", "a");
    symlink("../real/a.csv", house.folder.path().join("inbox/a.csv")).unwrap();
    seen(&house, 1).await;
    // Nobody listens to the folder behind the link.
    house.write("real/a.csv", "another");
    assert_eq!(seen(&house, 2).await[1], "modified inbox/a.csv 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_flow_goes_on_with_what_it_has_seen() {
    let house = open("\"inbox/*.csv\"").await;
    house.write("inbox/a.csv", "a");
    seen(&house, 1).await;
    let before = house.get("/flows").await["hash"].clone();
    house.write(
        "flows/in.yaml",
        &flow("{ paths: \"inbox/*.csv\", settle: 1s, events: [created] }")
            .replace("event.kind", "\"now \" + event.kind"),
    );
    house.flows_are("the change", |flows| flows["hash"] != before).await;
    house.write("inbox/b.csv", "b");
    assert_eq!(seen(&house, 2).await, ["created inbox/a.csv 1", "now created inbox/b.csv 1"]);
    // Disabled, it sees nothing, and what came meanwhile is none of its business.
    house.write("flows/in.yaml", &format!("enabled: false\n{}", flow("\"inbox/*.csv\"")));
    house.flows_are("off", |flows| flow_in(flows, "in")["enabled"] == false).await;
    let armed = async || house.engine.store().armed().await.unwrap().len();
    until("the trigger to be disarmed", async || (armed().await == 0).then_some(())).await;
    house.write("inbox/c.csv", "c");
    house.write("flows/in.yaml", &flow("\"inbox/*.csv\""));
    house.flows_are("on", |flows| flow_in(flows, "in")["enabled"] == true).await;
    until("the trigger to be armed", async || (armed().await == 1).then_some(())).await;
    let mut probes = 0;
    until("the trigger to be armed", async || {
        if probes % 100 == 0 {
            house.write(&format!("inbox/probe-{probes}.csv"), "x");
        }
        probes += 1;
        house.pass(SECOND / 10);
        (house.runs_of("in").await.len() > 2).then_some(())
    })
    .await;
    let runs = house.runs_of("in").await;
    for run in &runs[2..] {
        let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
        assert!(run["event"]["path"].as_str().unwrap().starts_with("inbox/probe-"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_found_however_its_letters_are_put_together() {
    const COMPOSED: &str = "\u{e9}";
    const APART: &str = "e\u{301}";
    let read = |path: &str| format!("[event.path, files::read(\"{path}/a.txt\"), files::list(\"{path}\").len]");
    for (asked, there) in [(COMPOSED, APART), (APART, COMPOSED)] {
        let flow = format!("triggers:\n  - watch: \"{asked}/*.txt\"\nrun: '{}'\n", read(asked));
        let house = House::open(&[("flows/in.yaml", &flow), (&format!("{there}/.gitkeep"), "")]).await;
        let path = format!("{there}/a.txt");
        house.write(&path, "text");
        let run = until("a run", async || {
            house.pass(SECOND);
            house.runs_of("in").await.pop()
        })
        .await;
        let run = house.run_is(run["id"].as_str().unwrap(), "succeeded").await;
        assert_eq!(run["result"], serde_json::json!([path, "text", 1]));
    }
}
