//! `files::list` in odd and in crowded folders.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::engine::House;

const LIST: &str = r#"run: |
  let said = [];
  for path in event.data {
    try { said.push(files::list(path)); } catch (e) { said.push(`${e.kind}: ${e.message}`); }
  }
  said
"#;

async fn listed(house: &House, paths: &[&str]) -> Value {
    let id = house.trigger("list", json!(paths)).await;
    house.run_is(&id, "succeeded").await["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_listed_as_they_are_and_what_cannot_be_read_is_left_out() {
    let house = House::open(&[("flows/list.yaml", LIST), ("box/plain.txt", ""), ("box/sub/deep.txt", "")]).await;
    let folder = house.folder.path().join("box");
    let long = "n".repeat(255);
    for name in ["new\nline", "\u{1b}[31m", "quote'\"", "..", "ä", &long] {
        if name != ".." {
            fs::write(folder.join(name), "x").unwrap();
        }
    }
    fs::write(folder.join(OsStr::from_bytes(b"no\xffutf8")), "x").unwrap();
    fs::write(folder.join(".hidden"), "x").unwrap();
    symlink("loop-b", folder.join("loop-a")).unwrap();
    symlink("loop-a", folder.join("loop-b")).unwrap();
    symlink("self", folder.join("self")).unwrap();
    symlink("plain.txt", folder.join("linked.txt")).unwrap();
    symlink("sub", folder.join("linked")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink(".hidden", folder.join("to-hidden")).unwrap();
    symlink("/etc/hostname", folder.join("out")).unwrap();
    let mut wanted = ["new\nline", "\u{1b}[31m", "quote'\"", "ä", &long, "plain.txt", "linked.txt"];
    wanted.sort_unstable();
    let wanted: Vec<String> = wanted.iter().map(|name| format!("box/{name}")).collect();
    let said = listed(&house, &["box", "box/", "box/self", "box/loop-a", "box/linked", "box/../box", ""]).await;
    assert_eq!(said[0], json!(wanted));
    assert_eq!(said[1], json!(wanted));
    assert!(said[2].as_str().unwrap().starts_with("file: "), "{said}");
    assert!(said[3].as_str().unwrap().contains("links"), "{said}");
    assert_eq!(said[4], json!(["box/linked/deep.txt"]));
    assert!(said[5].as_str().unwrap().contains("stay inside"), "{said}");
    assert_eq!(said[6], json!([]));
    // A path that no system has: refused, and not said back whole.
    let long = "x/".repeat(100_000);
    let said = listed(&house, &[&long, &"y".repeat(300), "box/\0", "box/plain.txt/x"]).await;
    for said in said.as_array().unwrap() {
        let said = said.as_str().unwrap();
        assert!(said.starts_with("file: ") && said.len() < 1_000, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_folder_is_answered_up_to_a_bound() {
    let house = House::open(&[("flows/list.yaml", LIST), ("box/.keep", "")]).await;
    let folder = house.folder.path().join("box");
    for number in 0..9_999 {
        fs::write(folder.join(format!("{number:05}")), "").unwrap();
    }
    let said = listed(&house, &["box"]).await;
    assert_eq!(said[0].as_array().unwrap().len(), 9_999);
    fs::write(folder.join("one more"), "").unwrap();
    let said = listed(&house, &["box"]).await;
    let said = said[0].as_str().unwrap();
    assert!(said.starts_with("file: ") && said.contains("`box`") && said.contains("10000"), "{said}");
}
