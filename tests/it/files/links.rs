//! Links among flows and scripts: they lead on within their folder and nowhere else.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::engine::{House, flow_in, start};
use crate::support::{binary, folder, until};

const SECRET: &str = "vIlEsEcReT";

fn hook(path: &str, script: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: {path}, respond: result }}\nscript: {script}\n")
}

/// Whether any file of the engine's holds these bytes.
fn keeps(root: &Path, text: &str) -> bool {
    let files = walk(&root.join(".postrider"));
    files
        .iter()
        .any(|file| std::fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|w| w == text.as_bytes())))
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

async fn opened(folder: tempfile::TempDir) -> House {
    House::again(folder, std::sync::Arc::new(postrider::clock::HandClock::new(start()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_out_of_its_folder_is_named_and_not_followed() {
    let outside = folder(&[("x.rhai", SECRET), ("x.yaml", SECRET), ("deep/x.rhai", SECRET), ("deep/x.yaml", SECRET)]);
    let there = outside.path();
    let before = folder(&[
        (".env", &format!("A={SECRET}\n")),
        ("postrider.yaml", &format!("opt_out: off # {SECRET}\n").replace("opt_out: off", "timezone: UTC")),
        ("private/x.rhai", SECRET),
        (".hidden/x.rhai", SECRET),
        ("scripts/.x.rhai", SECRET),
        ("scripts/..other/x.rhai", SECRET),
        ("flows/a.yaml", &hook("/a", "env.rhai")),
        ("flows/b.yaml", &hook("/b", "out.rhai")),
        ("flows/c.yaml", &hook("/c", "top.rhai")),
        ("flows/d.yaml", &hook("/d", "hidden.rhai")),
        ("flows/e.yaml", &hook("/e", "deep/x.rhai")),
        ("flows/f.yaml", &hook("/f", "dots.rhai")),
        ("flows/g.yaml", &hook("/g", "absolute.rhai")),
        ("flows/h.yaml", &hook("/h", "twice.rhai")),
    ]);
    let root = before.path();
    let link = |to: &Path, at: &str| symlink(to, root.join(at)).unwrap();
    link(Path::new("../.env"), "scripts/env.rhai");
    link(&there.join("x.rhai"), "scripts/out.rhai");
    link(Path::new("../private/x.rhai"), "scripts/top.rhai");
    link(Path::new(".x.rhai"), "scripts/hidden.rhai");
    link(&there.join("deep"), "scripts/deep");
    link(Path::new("..other/x.rhai"), "scripts/dots.rhai");
    link(&root.join(".env"), "scripts/absolute.rhai");
    link(Path::new("env.rhai"), "scripts/twice.rhai");
    link(Path::new("../postrider.yaml"), "flows/settings.yaml");
    link(&there.join("x.yaml"), "flows/out.yaml");
    link(&there.join("deep"), "flows/deep");
    // Also one that no flow asks for.
    link(Path::new("../.env"), "scripts/unused.rhai");
    let refused = [
        "scripts/env.rhai",
        "scripts/out.rhai",
        "scripts/top.rhai",
        "scripts/hidden.rhai",
        "scripts/deep",
        "scripts/dots.rhai",
        "scripts/absolute.rhai",
        "scripts/twice.rhai",
        "scripts/unused.rhai",
        "flows/settings.yaml",
        "flows/out.yaml",
        "flows/deep",
    ];
    let said = binary::run(root, &["check"]);
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &*String::from_utf8_lossy(&said.stderr);
    assert!(!said.contains(SECRET), "{said}");
    let house = opened(before).await;
    let flows = house.get("/flows").await;
    assert!(!flows.to_string().contains(SECRET), "{flows}");
    for file in refused {
        let named = flows["diagnostics"].as_array().unwrap().iter().find(|one| one["file"] == file);
        let named = named.unwrap_or_else(|| panic!("nothing is said of {file}: {flows}"));
        assert!(named["message"].as_str().unwrap().contains("link"), "{named}");
        let all = flows["diagnostics"].as_array().unwrap().iter();
        assert_eq!(all.filter(|one| one["file"] == file && one["message"] == named["message"]).count(), 1, "{flows}");
    }
    assert!(!keeps(house.folder.path(), SECRET), "the state has what links lead to");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folders_themselves_are_no_way_out_either() {
    let outside = folder(&[("x.yaml", SECRET), ("x.rhai", SECRET)]);
    for (target, top) in [("OUT", "flows"), ("OUT", "scripts"), (".", "flows"), (".hidden", "flows")] {
        let before = folder(&[
            ("postrider.yaml", &format!("timezone: UTC # {SECRET}\n")),
            (".hidden/x.yaml", SECRET),
            ("keep/in.yaml", &hook("/in", "x.rhai")),
        ]);
        let root = before.path();
        let target = if target == "OUT" { outside.path() } else { Path::new(target) };
        symlink(target, root.join(top)).unwrap();
        if top == "scripts" {
            std::fs::rename(root.join("keep"), root.join("flows")).unwrap();
        }
        let house = opened(before).await;
        let flows = house.get("/flows").await;
        let named = flows["diagnostics"].as_array().unwrap().iter().any(|one| one["file"] == top);
        assert!(named && !flows.to_string().contains(SECRET), "{top} to {target:?}: {flows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_within_a_folder_and_mounted_configurations_go_on_working() {
    let before = folder(&[
        ("conf/flows/a.yaml", &hook("/a", "one.rhai")),
        ("scripts/lib/real.rhai", "`real ${event.body}`"),
        ("scripts/lib/word.rhai", "fn word() { \"word\" }"),
        ("scripts/b.rhai", "import \"also/word\" as w; w::word()"),
        ("conf/flows/b.yaml", &hook("/b", "b.rhai")),
    ]);
    let root = before.path();
    symlink("conf/flows", root.join("flows")).unwrap();
    symlink("lib/real.rhai", root.join("scripts/two.rhai")).unwrap();
    symlink(root.join("scripts/two.rhai"), root.join("scripts/one.rhai")).unwrap();
    symlink("lib", root.join("scripts/also")).unwrap();
    let house = opened(before).await;
    assert_eq!(house.hook("/a", &json!(1)).await, (200, json!("real 1")));
    assert_eq!(house.hook("/b", &json!(1)).await, (200, json!("word")));
    let flows = house.get("/flows").await;
    assert_eq!(flows["diagnostics"], json!([]), "{flows}");

    // Mounted at the top of the workspace.
    let before = folder(&[
        ("..one/postrider.yaml", "timezone: UTC\n"),
        ("..one/flows/in.yaml", "triggers:\n  - webhook: { path: /in, respond: result }\nrun: '\"one\"'\n"),
        ("..two/flows/in.yaml", "triggers:\n  - webhook: { path: /in, respond: result }\nrun: '\"two\"'\n"),
        ("..two/postrider.yaml", "timezone: UTC\n"),
    ]);
    let root = before.path();
    symlink("..one", root.join("..data")).unwrap();
    symlink("..data/flows", root.join("flows")).unwrap();
    symlink("..data/postrider.yaml", root.join("postrider.yaml")).unwrap();
    let house = opened(before).await;
    assert_eq!(house.hook("/in", &json!(1)).await, (200, json!("one")));
    let root = house.folder.path();
    symlink("..two", root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    until("the other configuration", async || {
        house.pass(Duration::from_secs(1));
        (house.hook("/in", &json!(1)).await == (200, json!("two"))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_becomes_a_link_outwards_stays_as_it_was() {
    let house = House::open(&[("flows/a.yaml", &hook("/a", "a.rhai")), ("scripts/a.rhai", "\"good\"")]).await;
    assert_eq!(house.hook("/a", &json!(1)).await, (200, json!("good")));
    house.write("private/a.rhai", SECRET);
    let link = house.folder.path().join("scripts/.new");
    symlink("../private/a.rhai", &link).unwrap();
    house.rename("scripts/.new", "scripts/a.rhai");
    let flows = house.flows_are("the flow to be stale", |flows| flow_in(flows, "a")["stale"] == true).await;
    assert!(flow_in(&flows, "a")["diagnostics"].to_string().contains("scripts/a.rhai"), "{flows}");
    assert_eq!(house.hook("/a", &json!(1)).await, (200, json!("good")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_to_nothing_is_named_and_its_flow_stays() {
    let house = folder(&[("flows/store/live.txt", "run: 1\n"), ("scripts/.keep", "")]);
    symlink("store/live.txt", house.path().join("flows/live.yaml")).unwrap();
    let house = opened(house).await;
    let root = house.folder.path();
    std::fs::remove_file(root.join("flows/store/live.txt")).unwrap();
    for name in ["flows/dangling.yaml", "flows/folder", "scripts/dangling.rhai", "flows/.#editors.yaml"] {
        symlink("nowhere", root.join(name)).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(root.join("flows/pipe.yaml")).status().unwrap().success());
    let wanted = ["flows/dangling.yaml", "flows/folder", "flows/live.yaml", "flows/pipe.yaml", "scripts/dangling.rhai"];
    for _ in 0..3 {
        until("all to be named", async || {
            house.pass(Duration::from_secs(5));
            let flows = house.get("/flows").await;
            let files: Vec<&str> =
                flows["diagnostics"].as_array().unwrap().iter().map(|found| found["file"].as_str().unwrap()).collect();
            let live = flows["flows"].as_array().unwrap();
            (files == wanted && live.len() == 1 && live[0]["stale"] == true).then_some(())
        })
        .await;
    }
    let found = binary::run(root, &["check", "--json"]).stdout;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found["diagnostics"].as_array().unwrap().len(), wanted.len(), "{found}");
}
