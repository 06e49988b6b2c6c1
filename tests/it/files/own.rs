//! The engine's own files are out of reach of scripts, by whatever name.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{folder, until};

/// Tries everything with each path; tells what went well.
const TRY: &str = r#"run: |
  let said = [];
  for path in event.data {
    let did = [];
    try { files::read(path); did.push("read"); } catch (e) { }
    try { files::lines(path); did.push("lines"); } catch (e) { }
    try { if files::list(path).len > 0 { did.push("listed"); } } catch (e) { }
    try { send_file("+15417543010", path); did.push("sent"); } catch (e) { }
    try { send_image("+15417543010", path); did.push("shown"); } catch (e) { }
    try { files::move(path, "taken/" + said.len); did.push("moved"); } catch (e) { }
    try { files::move("files/a.txt", path); did.push("put"); } catch (e) { }
    if files::exists(path) { did.push("exists"); }
    said.push(did);
  }
  said
"#;

/// Saves the file of a message at each path; tells what went well.
const SAVE: &str = r#"
triggers:
  - message: {}
run: |
  let said = [];
  for path in PATHS {
    try { event.media.save(path); said.push(path); } catch (e) { }
  }
  said
"#;

async fn nothing_works(house: &House, paths: &[&str]) {
    let id = house.trigger("try", json!(paths)).await;
    let run = house.run_is(&id, "succeeded").await;
    for (path, did) in paths.iter().zip(run["result"].as_array().unwrap()) {
        assert_eq!(did, &json!([]), "{path}");
    }
}

async fn nothing_is_saved(house: &House) {
    let message = json!({ "from": "+15417543010", "media": "files/a.txt" });
    house.post("/sandbox/messages", message).await;
    let run = house.runs_of("save").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(house.run_is(&run, "succeeded").await["result"], json!([]));
}

fn save(paths: &[&str]) -> String {
    SAVE.replace("PATHS", &json!(paths).to_string())
}

fn hard(root: &Path, from: &str, to: &str) {
    std::fs::hard_link(root.join(from), root.join(to)).unwrap();
}

fn soft(root: &Path, to: &str, at: &str) {
    std::os::unix::fs::symlink(to, root.join(at)).unwrap();
}

fn some_copy(root: &Path) -> String {
    let copy = std::fs::read_dir(root.join(".postrider/blobs")).unwrap().next().unwrap().unwrap();
    copy.file_name().into_string().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_under_a_visible_name_is_the_engines_alone() {
    let store = ["data/state.db", "data/state.db-wal", "data/state.db-shm", "data/state.db-journal"];
    let house = House::open(&[
        ("postrider.yaml", "store: data/state.db\n"),
        (".env", "TOKEN=very-secret\n"),
        ("data/other.txt", "readable"),
        ("flows/try.yaml", TRY),
        ("flows/save.yaml", &save(&store)),
        ("flows/see.yaml", "run: '[files::list(\"data\"), files::read(\"data/other.txt\")]'\n"),
        ("files/a.txt", "a"),
    ])
    .await;
    let root = house.folder.path();
    nothing_works(&house, &store).await;
    nothing_works(&house, &["./data/state.db", "data/./state.db-wal", "data/../data/state.db"]).await;
    let id = house.trigger("see", Value::Null).await;
    assert_eq!(house.run_is(&id, "succeeded").await["result"], json!([["data/other.txt"], "readable"]));
    nothing_is_saved(&house).await;

    // Under other names.
    let blob = some_copy(root);
    hard(root, "data/state.db", "files/hard.db");
    hard(root, "data/state.db-wal", "files/hard.wal");
    hard(root, ".env", "files/hard.env");
    hard(root, "postrider.yaml", "files/hard.yaml");
    hard(root, ".postrider/admin-token", "files/hard.token");
    hard(root, ".postrider/link-key", "files/hard.key");
    hard(root, ".postrider/lock", "files/hard.lock");
    hard(root, &format!(".postrider/blobs/{blob}"), "files/hard.blob");
    soft(root, "../data", "files/data");
    soft(root, "../data/state.db", "files/soft.db");
    let names = ["hard.db", "hard.wal", "hard.env", "hard.yaml", "hard.token", "hard.key", "hard.lock", "hard.blob"];
    let mut names: Vec<String> = names.iter().map(|name| format!("files/{name}")).collect();
    names.extend(["files/data/state.db", "files/soft.db", "files/data/state.db-journal"].map(String::from));
    nothing_works(&house, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(!root.join("data/state.db-journal").exists());
    let house = house.crash().await;
    assert_eq!(house.runs_of("try").await.len(), 3, "the state is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_folder_is_out_of_reach_wherever_it_really_is() {
    let before = folder(&[
        ("state/.keep", ""),
        ("copies/.keep", ""),
        ("flows/try.yaml", TRY),
        ("flows/save.yaml", &save(&["state/new.txt", "state/deep/new.txt", "state/state.db", "copies/new.txt"])),
        ("files/a.txt", "a"),
    ]);
    soft(before.path(), "state", ".postrider");
    soft(before.path(), "../copies", "state/blobs");
    let clock = std::sync::Arc::new(postrider::clock::HandClock::new(crate::support::engine::start()));
    let house = House::again(before, clock).await;
    let root = house.folder.path();
    nothing_is_saved(&house).await;
    let blob = format!("copies/{}", some_copy(root));
    soft(root, "state", "other");
    soft(root, "../state/admin-token", "files/token");
    let paths = [
        "state",
        "state/admin-token",
        "state/link-key",
        "state/lock",
        "state/state.db",
        "state/state.db-wal",
        "state/new.txt",
        "state/deep/new.txt",
        "copies",
        &blob,
        "copies/new.txt",
        "other",
        "other/admin-token",
        "files/token",
    ];
    nothing_works(&house, &paths).await;
    for path in ["state/new.txt", "state/deep", "copies/new.txt", "taken"] {
        assert!(!root.join(path).exists() || path == "taken", "{path}");
    }
    let house = house.crash().await;
    assert_eq!(house.runs_of("try").await.len(), 1, "the state is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_not_for_scripts_by_whatever_name() {
    let house = House::open(&[
        ("conf/settings.yaml", "timezone: UTC\n"),
        ("conf/secrets", "TOKEN=very-secret\n"),
        ("postrider.yaml.bak", "a copy"),
        ("flows/try.yaml", TRY),
        ("files/a.txt", "a"),
    ])
    .await;
    let root = house.folder.path();
    // They may be links, as a mounted configuration has them.
    soft(root, "conf/settings.yaml", "postrider.yaml");
    soft(root, "conf/secrets", ".env");
    let paths =
        ["conf/settings.yaml", "conf/secrets", "postrider.yaml", "postrider.yml", "postrider.yaml.bak", "./.env"];
    nothing_works(&house, &paths).await;
    // Nor are flows written by another way to their folder.
    std::fs::rename(root.join("flows"), root.join("conf/flows")).unwrap();
    soft(root, "conf/flows", "flows");
    std::fs::write(root.join("files/b.txt"), "b").unwrap();
    let moved = r#"run: |
  let said = "moved";
  try { files::move("files/b.txt", "conf/flows/new.yaml"); } catch (e) { said = "refused"; }
  said
"#;
    std::fs::write(root.join("conf/flows/moves.yaml"), moved).unwrap();
    house
        .flows_are("the new flow", |flows| {
            house.pass(Duration::from_secs(1));
            !crate::support::engine::flow_in(flows, "moves").is_null()
        })
        .await;
    let id = house.trigger("moves", Value::Null).await;
    assert_eq!(house.run_is(&id, "succeeded").await["result"], "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_does_not_see_the_engines_files() {
    let flow = "triggers:\n  - watch: { paths: \"data/*\", backlog: all }\nrun: event.path\n";
    let house =
        House::open(&[("postrider.yaml", "store: data/state.db\n"), ("flows/in.yaml", flow), ("data/a.csv", "a")])
            .await;
    house.write("data/b.csv", "b");
    until("both files", async || {
        house.pass(Duration::from_secs(1));
        let runs = house.runs_of("in").await;
        assert!(runs.len() <= 2, "{runs:?}");
        (runs.len() == 2).then_some(())
    })
    .await;
}
