//! The log is bounded: in the length of a line, and in how many lines one place writes.

use serde_json::{Value, json};

use crate::support::binary::{self, Process, postrider};
use crate::support::folder;

fn start(root: &std::path::Path, format: &str) -> Process {
    let mut command = postrider(root, &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("POSTRIDER_LOG_FORMAT", format);
    Process::of(command, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_is_cut_and_says_by_how_much() {
    let flow = "run: |\n  let a = \"x\";\n  a.pad(1_000_000, \"\\u00e4\\u202e\");\n  throw a\n";
    for format in ["text", "json"] {
        let folder = folder(&[("flows/long.yaml", flow)]);
        let process = start(folder.path(), format);
        binary::run(folder.path(), &["trigger", "long", "--wait"]);
        let (_, log) = process.terminate();
        let line = log.lines().find(|line| line.contains("the run failed")).unwrap();
        assert!(line.len() < 4_600, "{} bytes", line.len());
        assert!(line.contains(" bytes left out)"), "{line}");
        // What names the run is there all the same.
        match format {
            "json" => {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!((&line["fields"]["flow"], &line["level"]), (&json!("long"), &json!("WARN")), "{line}");
            }
            _ => assert!(line.contains("flow=long"), "{line}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_that_logs_without_end_is_bounded_and_the_others_are_heard() {
    let flood = "run: |\n  for i in 0..900 { log::info(`flood ${i}`); }\n";
    let other = "run: log::info(\"the other one\")\n";
    let folder = folder(&[("flows/flood.yaml", flood), ("flows/other.yaml", other)]);
    let process = start(folder.path(), "text");
    for flow in ["flood", "other"] {
        binary::run(folder.path(), &["trigger", flow, "--wait"]);
    }
    // Also what was left out just before the end is told of.
    let (_, log) = process.terminate();
    let written = log.matches(": flood ").count();
    // On a machine that is busy with other things the loop may reach into a second or third second.
    assert!((100..=600).contains(&written), "{written}");
    assert!(log.contains("the other one"), "{log}");
    let left_out = |line: &str| line.split("left out: ").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let left_out: usize = log.lines().filter_map(left_out).sum();
    assert_eq!(written + left_out, 900, "{log}");
}
