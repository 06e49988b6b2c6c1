//! The pages in `docs/gateways/`: what they say a gateway can do is made from the code.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Desk;
use super::fake::ALL;

const BEGIN: &str = "<!-- what it can do: made from the code by `tests/it/gateways/pages.rs` -->";
const END: &str = "<!-- end -->";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/gateways/{name}.md"))
}

fn megabytes(bytes: &Value) -> String {
    match bytes.as_u64().unwrap() {
        bytes if bytes < 1_000_000 => format!("{} KB", bytes / 1_000),
        bytes => format!("{} MB", bytes / 1_000_000),
    }
}

fn words(list: &Value) -> String {
    let words: Vec<_> =
        list.as_array().into_iter().flatten().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
    words.join(", ")
}

/// How a kind takes its file.
fn intake(kind: &Value) -> String {
    let media = &kind["media"];
    if media.is_null() {
        return String::new();
    }
    let mut said = vec![match (media["url"] == true, media["bytes"].as_u64()) {
        (true, Some(0)) => "from an address, or a file by `public_url`".to_owned(),
        (true, Some(u64::MAX)) => "from an address or a file".to_owned(),
        (true, _) => format!("from an address or a file (above {} by `public_url`)", megabytes(&media["bytes"])),
        (false, _) => "from a file".to_owned(),
    }];
    if !media["largest"].is_null() {
        said.push(format!("up to {}", megabytes(&media["largest"])));
    }
    if media["formats"].is_array() {
        said.push(words(&media["formats"]));
    }
    said.join("; ")
}

/// What an account can do, from what the API says of it.
fn table(account: &Value) -> String {
    let can = &account["capabilities"];
    let mut text = format!("{BEGIN}\n\n| kind | options | files |\n|---|---|---|\n");
    for kind in can["kinds"].as_array().unwrap() {
        text.push_str(&format!(
            "| `{}` | {} | {} |\n",
            kind["name"].as_str().unwrap(),
            words(&kind["options"]),
            intake(kind)
        ));
    }
    let kinds: Vec<&str> = can["kinds"].as_array().unwrap().iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    let missing: Vec<String> = postrider::model::message::Content::KINDS
        .into_iter()
        .filter(|kind| !kinds.contains(kind))
        .map(|kind| format!("`{kind}`"))
        .collect();
    if !missing.is_empty() {
        text.push_str(&format!("\nNot there: {}.\n", missing.join(", ")));
    }
    text.push_str(&format!("\nRecipients: {}.\n", words(&can["addresses"])));
    for (field, what) in [("max_text", "text"), ("max_caption", "caption")] {
        if let Some(most) = can[field].as_u64() {
            text.push_str(&format!("Most characters of a {what}: {most}.\n"));
        }
    }
    if can["window"] == true {
        text.push_str("Outside of 24 hours after a person wrote last, only templates arrive.\n");
    }
    text.push_str(&format!("\n{END}"));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_say_what_the_code_can_do() {
    let mut wrong = Vec::new();
    for dialect in ALL {
        let desk = Desk::open(dialect, "").await;
        let accounts = desk.house.get("/accounts").await;
        let made = table(&accounts["accounts"][0]);
        let file = page(dialect.name);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let there = text.find(BEGIN).zip(text.find(END)).map(|(begin, end)| (begin, end + END.len()));
        if there.is_some_and(|(begin, end)| text[begin..end] == made) {
            continue;
        }
        match (std::env::var_os("UPDATE_PAGES"), there) {
            (Some(_), Some((begin, end))) => {
                std::fs::write(&file, format!("{}{made}{}", &text[..begin], &text[end..])).unwrap();
            }
            _ => wrong.push(format!("{}: wanted\n{made}", file.display())),
        }
    }
    assert!(wrong.is_empty(), "run this test with UPDATE_PAGES=1\n{}", wrong.join("\n\n"));
}
