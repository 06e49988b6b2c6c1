//! `files::move`: where files may go and where not, and what a crash in the middle leaves.

use std::path::Path;
use std::sync::Arc;

use postrider::app::open_store;
use postrider::clock::HandClock;
use serde_json::{Value, json};

use crate::support::engine::{House, start, workspace};
use crate::support::mortal::{Coroner, Death, FIRST_TURN};
use crate::support::{folder, until};

/// Moves one after the other; of what is thrown it keeps the kind.
const MOVES: &str = r#"run: |
  let said = [];
  for pair in event.data {
    try { files::move(pair[0], pair[1]); said.push("moved"); } catch (e) { said.push(e.kind); }
  }
  said
"#;

fn read(root: &Path, path: &str) -> Option<String> {
    std::fs::read_to_string(root.join(path)).ok()
}

async fn moves(house: &House, pairs: &[(&str, &str)]) -> Value {
    let id = house.trigger("moves", json!(pairs)).await;
    house.run_is(&id, "succeeded").await["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_another_place() {
    let flow = r#"run: |
  files::move(event.data.from, event.data.to);
  [files::exists(event.data.from), files::read(event.data.to)]
"#;
    let house = House::open(&[("flows/f.yaml", flow), ("flows/moves.yaml", MOVES), ("inbox/a.csv", "one")]).await;
    let root = house.folder.path();
    let mut from = "inbox/a.csv";
    for to in ["inbox/b.csv", "done/2026/11/b.csv", "./top.csv", "inbox/flows/a.csv", "scripts.csv"] {
        let id = house.trigger("f", json!({ "from": from, "to": to })).await;
        assert_eq!(house.run_is(&id, "succeeded").await["result"], json!([false, "one"]), "{to}");
        assert_eq!((read(root, from), read(root, to).as_deref()), (None, Some("one")), "{to}");
        from = to;
    }
    // Bytes that are no text are moved as they are.
    std::fs::write(root.join("picture"), [0, 159, 146, 150]).unwrap();
    assert_eq!(moves(&house, &[("picture", "files/picture")]).await, json!(["moved"]));
    assert_eq!(std::fs::read(root.join("files/picture")).unwrap(), [0, 159, 146, 150]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_where_scripts_may_not_write() {
    let outside = folder(&[("there.txt", "theirs")]);
    let house = House::open(&[
        ("flows/moves.yaml", MOVES),
        ("scripts/lib.rhai", "fn one() { 1 }"),
        ("files/a.txt", "a"),
        ("files/b.txt", "b"),
        (".git/config", "hidden"),
    ])
    .await;
    let root = house.folder.path();
    let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
    link(outside.path(), "out");
    link(&outside.path().join("there.txt"), "files/there.txt");
    link(&outside.path().join("new.txt"), "files/new.txt");
    link(Path::new("flows"), "ways");
    link(Path::new(".git"), "open");
    let outer = outside.path().join("a.txt").display().to_string();
    let targets = [
        "../a.txt",
        "files/../../a.txt",
        "files/../c.txt",
        outer.as_str(),
        "out/a.txt",
        "out/deep/a.txt",
        "",
        ".",
        "files/",
        "new/",
        ".a.txt",
        "files/.a.txt",
        ".git/a.txt",
        "open/a.txt",
        ".postrider/a.txt",
        "postrider.yaml",
        "./postrider.yaml",
        ".env",
        "flows/a.yaml",
        "./flows/a.yaml",
        "flows/deep/a.txt",
        "ways/a.yaml",
        "scripts/a.rhai",
        "scripts/deep/a.txt",
        "files",
        "files/b.txt",
        "files/there.txt",
        "files/new.txt",
        "files/a.txt",
        "files/a.txt/deep.txt",
    ];
    let pairs: Vec<(&str, &str)> = targets.iter().map(|to| ("files/a.txt", *to)).collect();
    let said = moves(&house, &pairs).await;
    for (to, said) in targets.iter().zip(said.as_array().unwrap()) {
        assert_eq!(said, "file", "to `{to}`");
    }
    assert_eq!(read(root, "files/a.txt").as_deref(), Some("a"));
    assert_eq!(read(root, "files/b.txt").as_deref(), Some("b"));
    let there: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, ["there.txt"], "nothing is made outside");
    assert!(!root.parent().unwrap().join("a.txt").exists());
    for folder in ["flows", "scripts", ".git"] {
        assert_eq!(std::fs::read_dir(root.join(folder)).unwrap().count(), 1, "nothing is made in {folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_scripts_may_not_have() {
    let outside = folder(&[("there.txt", "theirs")]);
    let house = House::open(&[
        ("flows/moves.yaml", MOVES),
        ("scripts/lib.rhai", "fn one() { 1 }"),
        ("postrider.yaml", "timezone: UTC\n"),
        (".env", "A=1\n"),
        (".git/config", "hidden"),
        ("files/a.txt", "a"),
    ])
    .await;
    let root = house.folder.path();
    let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
    link(outside.path(), "out");
    link(&outside.path().join("there.txt"), "files/there.txt");
    link(Path::new("flows"), "ways");
    link(Path::new("../flows/moves.yaml"), "files/flow.yaml");
    link(Path::new("../.env"), "files/env");
    let outer = outside.path().join("there.txt").display().to_string();
    let sources = [
        outer.as_str(),
        "../there.txt",
        "files/../files/a.txt",
        "out/there.txt",
        "files/there.txt",
        "files/env",
        ".env",
        ".git/config",
        ".postrider/state.db",
        ".postrider/admin-token",
        "postrider.yaml",
        "./postrider.yaml",
        "flows/moves.yaml",
        "./flows/moves.yaml",
        "ways/moves.yaml",
        "files/flow.yaml",
        "scripts/lib.rhai",
        "files",
        "flows",
        ".",
        "",
        "files/missing.txt",
        "missing/a.txt",
    ];
    let targets: Vec<String> = (0..sources.len()).map(|n| format!("taken/{n}")).collect();
    let pairs: Vec<(&str, &str)> = sources.iter().copied().zip(targets.iter().map(String::as_str)).collect();
    let said = moves(&house, &pairs).await;
    for (from, said) in sources.iter().zip(said.as_array().unwrap()) {
        assert_eq!(said, "file", "from `{from}`");
    }
    let untouched = ["flows/moves.yaml", "scripts/lib.rhai", "postrider.yaml", ".env", ".git/config", "files/a.txt"];
    for path in untouched.into_iter().chain(["files/there.txt", "files/flow.yaml", ".postrider/admin-token"]) {
        assert!(read(root, path).is_some(), "{path} is still there");
    }
    for target in &targets {
        assert!(!root.join(target).exists(), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_an_error_at_the_line_and_is_not_moved_by_a_retry() {
    let flow = r#"
retry: { attempts: 2, first: 1s }
run: |
  files::move("files/a.txt", "done/a.txt");
  files::move("files/b.txt", "done/a.txt");
"#;
    let house = House::open(&[("flows/f.yaml", flow), ("files/a.txt", "a"), ("files/b.txt", "b")]).await;
    // Of one size and one age, as files are that a program wrote together: still not the same.
    for name in ["files/a.txt", "files/b.txt"] {
        let file = std::fs::File::options().write(true).open(house.folder.path().join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_860_908)).unwrap();
    }
    let id = house.trigger("f", Value::Null).await;
    house.sleep_through(&id).await;
    let run = house.run_is(&id, "failed").await;
    let error = &run["error"];
    assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("file"), Some(5)), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("files/b.txt") && message.contains("done/a.txt"), "{message}");
    assert_eq!(run["attempt"], 2);
    let root = house.folder.path();
    let left = ["files/a.txt", "files/b.txt", "done/a.txt"].map(|path| read(root, path));
    assert_eq!(left, [None, Some("b".into()), Some("a".into())]);
}

/// A run that moves a file, through a death; `between` is done to the folder while nobody is there.
async fn moved_through(death: Death, pair: (&str, &str), between: impl FnOnce(&Path)) -> (House, Value) {
    let folder = folder(&[("flows/moves.yaml", MOVES), ("files/a.txt", "a")]);
    let coroner = Coroner::default();
    let opener = coroner.open(open_store(&workspace(folder.path())), Some(death));
    let house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    let died = async || until("the death", async || coroner.is_dead().then_some(())).await;
    // Death may come before the caller hears that the run is there.
    tokio::select! {
        _ = house.trigger("moves", json!([pair])) => {}
        () = died() => {}
    }
    died().await;
    between(house.folder.path());
    let house = house.crash().await;
    let runs = house.runs_of("moves").await;
    let run = house.run_is(runs[0]["id"].as_str().unwrap(), "succeeded").await;
    (house, run["result"].clone())
}

/// Half of the way: the file has both names.
fn linked(root: &Path) {
    std::fs::create_dir(root.join("done")).unwrap();
    std::fs::hard_link(root.join("files/a.txt"), root.join("done/a.txt")).unwrap();
}

/// All of the way.
fn renamed(root: &Path) {
    std::fs::create_dir(root.join("done")).unwrap();
    std::fs::rename(root.join("files/a.txt"), root.join("done/a.txt")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_a_crash_interrupts_is_brought_to_its_end() {
    for (step, after) in [
        (FIRST_TURN, true),
        ("commit_turn", false),
        ("commit_turn", true),
        ("answer_errand", false),
        ("answer_errand", true),
    ] {
        let death = Death { step, nth: 1, after };
        let (house, said) = moved_through(death.clone(), ("files/a.txt", "done/a.txt"), |_| {}).await;
        assert_eq!(said, json!(["moved"]), "{death:?}");
        let root = house.folder.path();
        assert_eq!((read(root, "files/a.txt"), read(root, "done/a.txt").as_deref()), (None, Some("a")), "{death:?}");
    }
    // The question is on record, and nothing was done: what an engine may have done that died then.
    for between in [linked as fn(&Path), renamed] {
        let death = Death { step: FIRST_TURN, nth: 1, after: true };
        let (house, said) = moved_through(death, ("files/a.txt", "done/a.txt"), between).await;
        assert_eq!(said, json!(["moved"]));
        let root = house.folder.path();
        assert_eq!((read(root, "files/a.txt"), read(root, "done/a.txt").as_deref()), (None, Some("a")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_file_and_replaces_none() {
    // Somebody else's file came to the place meanwhile.
    let death = Death { step: FIRST_TURN, nth: 1, after: true };
    let (house, said) = moved_through(death, ("files/a.txt", "done/a.txt"), |root| {
        std::fs::create_dir(root.join("done")).unwrap();
        std::fs::write(root.join("done/a.txt"), "another").unwrap();
    })
    .await;
    assert_eq!(said, json!(["file"]));
    let root = house.folder.path();
    let left = ["files/a.txt", "done/a.txt"].map(|path| read(root, path));
    assert_eq!(left, [Some("a".into()), Some("another".into())]);
    // It was moved, and the next one has come under its old name.
    let death = Death { step: FIRST_TURN, nth: 1, after: true };
    let (house, said) = moved_through(death, ("files/a.txt", "done/a.txt"), |root| {
        renamed(root);
        std::fs::write(root.join("files/a.txt"), "the next one").unwrap();
    })
    .await;
    assert_eq!(said, json!(["moved"]));
    let root = house.folder.path();
    let left = ["files/a.txt", "done/a.txt"].map(|path| read(root, path));
    assert_eq!(left, [Some("the next one".into()), Some("a".into())]);
    // A file that is to be moved onto itself is in its own way, before a crash and after it.
    for to in ["files/a.txt", "./files/a.txt"] {
        for (step, after) in [("commit_turn", true), ("answer_errand", false)] {
            let death = Death { step, nth: 1, after };
            let (house, _) = moved_through(death.clone(), ("files/a.txt", to), |_| {}).await;
            assert_eq!(read(house.folder.path(), "files/a.txt").as_deref(), Some("a"), "{to} {death:?}");
        }
    }
}
