//! README and docs: every snippet is run.
//!
//! A block whose first line names a file is written into a fresh workspace; a `yaml` block without
//! one is a part of a flow; a `rhai` block without one is run as a script; a `sh` block is run
//! beside the running engine. Other blocks are for looking at.

use postrider::transport::GATEWAYS;
use serde_json::json;
use std::path::Path;
use std::process::Command;

use crate::support::binary::{self, Process};
use crate::support::{folder, write};

struct Block {
    language: String,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.trim().to_owned(), text: String::new(), line: number });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The file that a block's first line names.
fn file(block: &Block) -> Option<&str> {
    let first = block.text.lines().next()?;
    let name = first.strip_prefix("# ").or_else(|| first.strip_prefix("// "))?.trim();
    let known = ["yaml", "rhai", "env"].contains(&block.language.as_str());
    (known && !name.contains(' ') && name.contains('.')).then_some(name)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Whether the pages' calls can be made. Where changes are checked they must be.
fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "curl is missing");
    there
}

/// Everything in one document, in one workspace.
fn document(path: &str) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let blocks = blocks(&text);
    let folder = folder(&[("flows/.keep", ""), ("files/.keep", "")]);
    let root = folder.path();
    for block in &blocks {
        match (block.language.as_str(), file(block)) {
            (_, Some(name)) => write(root, name, &block.text),
            ("yaml", None) => {
                write(root, &format!("flows/part-{}.yaml", block.line), &format!("{}run: 1\n", block.text))
            }
            ("rhai", None) => {
                write(
                    root,
                    &format!("flows/script-{}.yaml", block.line),
                    &format!("run: |\n{}", indented(&block.text)),
                );
            }
            ("sh" | "text" | "json" | "env", None) => {}
            (other, None) => panic!("{path}:{}: what is a block of `{other}`?", block.line),
        }
    }
    let output = binary::run(root, &["check"]);
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let process = Process::start(root);
    let data = r#"{"to": "+15417543010", "name": "Ada"}"#;
    for block in blocks.iter().filter(|block| file(block).is_none()) {
        match block.language.as_str() {
            "rhai" => {
                let flow = format!("script-{}", block.line);
                let output = binary::run(root, &["trigger", &flow, "--data", data, "--wait"]);
                assert!(output.status.success(), "{path}:{}: {}", block.line, String::from_utf8_lossy(&output.stdout));
            }
            "sh" if block.text.contains("curl ") && !has_curl() => {
                println!("{path}:{}: not run, for there is no curl here", block.line);
            }
            "sh" => {
                let kept = block.text.lines().filter(|line| !line.starts_with("cargo ") && *line != "postrider run");
                let script = kept.collect::<Vec<_>>().join("\n");
                let script = script
                    .replace("localhost:8700", &process.public.to_string())
                    .replace("localhost:8701", &process.admin.to_string());
                let binary = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().unwrap();
                let search = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
                let output = Command::new("sh")
                    .args(["-e", "-c", &script])
                    .current_dir(root)
                    .env("PATH", search)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{path}:{}: {said}\n{script}", block.line);
            }
            _ => {}
        }
    }
}

#[test]
fn the_readme_is_true() {
    document("README.md");
}

#[test]
fn the_page_on_flows_is_true() {
    document("docs/flows.md");
}

#[test]
fn the_page_on_triggers_is_true() {
    document("docs/triggers.md");
}

#[test]
fn the_page_on_scripts_is_true() {
    document("docs/scripts.md");
}

#[test]
fn the_page_on_conversations_is_true() {
    document("docs/conversations.md");
}

#[test]
fn the_page_on_settings_is_true() {
    document("docs/settings.md");
}

#[test]
fn the_page_on_links_is_true() {
    document("docs/links.md");
}

#[test]
fn the_page_on_the_dashboard_is_true() {
    document("docs/dashboard.md");
}

#[test]
fn the_pages_on_gateways_are_true() {
    for gateway in GATEWAYS.iter().filter(|gateway| !gateway.is_built_in) {
        let path = format!("docs/gateways/{}.md", gateway.name);
        document(&path);
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        for key in gateway.keys {
            assert!(page.contains(&format!("`{key}`")) || page.contains(&format!("{key}: ")), "{path} has no `{key}`");
        }
    }
}

/// Its promises name the tests that hold them: they are there.
#[test]
fn the_page_on_security_is_true() {
    document("docs/security.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut count = 0;
    for name in page.split('`').skip(1).step_by(2).filter(|name| name.contains("::") && !name.starts_with("flows::")) {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = module.replace("::", "/");
        let places =
            [format!("tests/it/{file}.rs"), format!("tests/it/{file}/mod.rs"), format!("src/{file}/{test}.rs")];
        let there = places.iter().any(|place| {
            let text = std::fs::read_to_string(root.join(place)).unwrap_or_default();
            text.contains(&format!("fn {test}()")) || (place.starts_with("src/") && text.contains("#[cfg(test)]"))
        });
        assert!(there, "docs/security.md names `{name}`, which is no test");
        count += 1;
    }
    assert!(count > 40, "{count}");
}

/// Its figures are a machine's; its commands are benchmarks that there are, with flags that they know.
#[test]
fn the_page_on_performance_names_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/performance.md")).unwrap();
    let mut named = Vec::new();
    for command in page.lines().filter_map(|line| line.strip_prefix("cargo bench --bench ")) {
        let mut words = command.split_whitespace();
        let bench = words.next().unwrap();
        let text = std::fs::read_to_string(root.join(format!("benches/{bench}.rs"))).unwrap();
        for flag in words.filter(|word| word.starts_with("--") && *word != "--") {
            assert!(text.contains(&format!("\"{flag}\"")), "{bench} knows no {flag}");
        }
        named.push(format!("{bench}.rs"));
    }
    let mut there: Vec<String> = std::fs::read_dir(root.join("benches"))
        .unwrap()
        .map(|bench| bench.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|bench| bench.ends_with(".rs"))
        .collect();
    there.sort();
    named.sort();
    named.dedup();
    assert_eq!(named, there, "each benchmark has its line");
}

/// What it says of files and folders is so, and its commands are those that there are.
#[test]
fn the_page_for_contributors_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let mut count = 0;
    for path in page.split('`').skip(1).step_by(2).filter(|path| path.starts_with("src/") || path.starts_with("tests/"))
    {
        assert!(
            path.contains("NAME") || root.join(path).exists(),
            "CONTRIBUTING.md names `{path}`, which is not there"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
    let this = std::env::current_exe().unwrap();
    let listed = std::process::Command::new(this).arg("--list").output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    for command in block.lines() {
        match command.split_once(" --test it ") {
            // The tests that run are these.
            Some(("cargo test", "-- --list")) => assert!(listed.contains(": test\n")),
            Some(("cargo test", subject)) => assert!(listed.contains(&format!("\n{subject}")), "{subject}"),
            _ => assert!(command == "cargo test --workspace" || root.join(command).exists(), "{command}"),
        }
    }
}

#[test]
fn every_page_is_tested_and_the_two_commands_are_those_that_ci_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = |folder: &str| {
        let mut pages: Vec<String> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|page| page.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        pages.sort();
        pages
    };
    let pages = [
        "conversations.md",
        "dashboard.md",
        "flows.md",
        "gateways",
        "grafana.json",
        "images",
        "links.md",
        "performance.md",
        "scripts.md",
        "security.md",
        "settings.md",
        "triggers.md",
    ];
    assert_eq!(listed("docs"), pages, "add a test for a new page");
    let outside = GATEWAYS.iter().filter(|gateway| !gateway.is_built_in).map(|gateway| gateway.name);
    let mut gateways: Vec<String> = outside.chain(["README"]).map(|name| format!("{name}.md")).collect();
    gateways.sort();
    assert_eq!(listed("docs/gateways"), gateways, "add a test for a new page");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let ci = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    for command in ["cargo run --release -- run", "cargo test --workspace"] {
        assert!(readme.contains(command), "the README does not name `{command}`");
    }
    assert!(ci.contains("cargo test --workspace"), ".ci/run does not run the README's test command");
}

#[test]
fn the_example_flows_are_good_and_work_on_the_sandbox() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder(&[]);
    for part in ["flows", "scripts"] {
        assert!(Command::new("cp").args(["-r", part]).arg(folder.path()).current_dir(root).status().unwrap().success());
    }
    assert!(binary::said(folder.path(), &["check"]).contains("nothing to complain about"));
    let _process = Process::start(folder.path());
    let event = r#"{"trigger":"webhook","body":{"id":"A-17","name":"Ada","phone":"+15417543010","total":42.05}}"#;
    write(folder.path(), "event.json", event);
    binary::said(folder.path(), &["trigger", "order-received", "--event", "event.json", "--wait"]);
    binary::said(folder.path(), &["trigger", "hello", "--wait"]);
    binary::said(folder.path(), &["trigger", "morning-reminder", "--wait"]);
    binary::said(folder.path(), &["trigger", "two-day-follow-up", "--event", "event.json"]);
    let wish = r#"{"trigger":"webhook","body":{"name":"Ada","phone":"+15417543010","what":"a chair","amount":120}}"#;
    write(folder.path(), "event.json", wish);
    binary::said(folder.path(), &["trigger", "approval", "--event", "event.json"]);
    let eventually = |args: &[&str], part: &str| {
        let begun = std::time::Instant::now();
        while !binary::said(folder.path(), args).contains(part) {
            assert!(begun.elapsed().as_secs() < 60, "waited in vain for {part}");
        }
    };
    eventually(&["sandbox", "list"], "a chair");
    binary::said(folder.path(), &["sandbox", "reply", "+15417543011", "yes!"]);
    eventually(&["sandbox", "list"], "was approved");
    write(folder.path(), "inbox/people.csv", "name,phone,text\nAda,+15417543010,your parcel is here\n");
    write(folder.path(), "event.json", r#"{"trigger":"watch","path":"inbox/people.csv","name":"people.csv"}"#);
    binary::said(folder.path(), &["trigger", "csv-inbox", "--event", "event.json", "--wait"]);
    for (failed, part) in [
        (json!({ "what": "run", "flow": "x", "error": { "message": "m" } }), "Flow ops-alert failed: m"),
        (
            json!({ "what": "message", "count": 2, "to": "+1", "account": "a", "state": "dead", "error": { "message": "m" } }),
            "2 to +1 by a ended as dead: m",
        ),
        (
            json!({ "what": "account", "account": "a", "state": "paused", "reason": "away", "backlog": 7 }),
            "Account a cannot send, 7 wait: away",
        ),
        (
            json!({ "what": "account", "account": "a", "state": "ready", "reason": null, "backlog": 7 }),
            "Account a sends again",
        ),
        (json!({ "what": "flow", "flow": "x", "diagnostics": [] }), "Flow ops-alert is broken"),
        (json!({ "what": "silence" }), "Something went wrong: silence"),
    ] {
        write(folder.path(), "failed.json", &failed.to_string());
        binary::said(folder.path(), &["trigger", "ops-alert", "--event", "failed.json", "--wait"]);
        eventually(&["sandbox", "list"], part);
    }
}
