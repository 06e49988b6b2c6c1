//! Files with errors: every finding at once, with place and remedy, by the real `check`.

use serde_json::Value;

use crate::support::binary;
use crate::support::folder;

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let folder = folder(files);
    let output = binary::run(folder.path(), &["check", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = answer["diagnostics"].as_array().unwrap();
    let errors = list.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(output.status.code(), Some(i32::from(errors)));
    let line = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let place = format!("{}:{}:{}", text("file"), finding["line"], finding["column"]);
        format!("{place} {} ({})", text("message"), text("hint"))
    };
    list.iter().map(line).collect()
}

#[test]
fn a_flow_with_many_errors_says_them_all() {
    let flow = r#"name: Bad Name
descripton: typo
timezone: Europe/Berln
triggers:
  - webhok: /a
  - webhook: no-slash
  - cron: "0 9 * * *"
  - webhook: { path: /b, methods: [FETCH], verify: { token: "${UNSET_TOKEN}" } }
  - webhook: { path: /c, dedupe: { body: id }, respond: later }
  - webhook: { path: /d, verify: { github: x } }
  - webhook: { path: /e }
    extra: 1
retry: { attempts: 0, firts: 1s, max: soon }
secrets: [MISSING]
concurrency: { limit: 1 }
run: |
  let a = 1;
  send_txt("a", "b");
  kv::gett("x");
"#;
    insta::assert_snapshot!(findings(&[("flows/bad.yaml", flow)]).join("\n"));
}

#[test]
fn settings_with_many_errors_say_them_all() {
    let settings = r#"timezone: Mars/Olympus
listen: everywhere
admin: 0.0.0.0:8701
public_url: https://x.example
acounts: {}
default_account: mian
accounts:
  main: { transport: gowa, url: "ftp://x", pace: { rate: fast, quiet: "22:00-07:00" } }
  two: { transport: gova }
  three: { transport: twilio }
  four: { transport: sandbox, device: x }
  "f ive": { transport: sandbox }
  six: { transport: gowa, url: "http://user:pass@host", basic_auth: nocolon, fallback: main }
limits: { body: 0, cpu_turn: never, jornal: 5 }
keep: { runs: 30d }
"#;
    insta::assert_snapshot!(findings(&[("postrider.yaml", settings), (".env", "A=1\n")]).join("\n"));
}

#[test]
fn what_is_no_yaml_or_no_script_says_where() {
    let bomb = format!(
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n{}run: 1\n",
        ('b'..='j')
            .fold((String::new(), 'a'), |(text, before), name| {
                (format!("{text}{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(",")), name)
            })
            .0
    );
    for (file, text, place, part) in [
        ("flows/a.yaml", "triggers:\n\t- webhook: /a\nrun: 1\n", "flows/a.yaml:2:", "indent with blanks"),
        ("flows/a.yaml", bomb.as_str(), "flows/a.yaml:", "anchors multiply too much"),
        ("flows/a.yaml", "", "flows/a.yaml:0:", "the file is empty"),
        ("flows/a.yaml", "- just\n- a list\n", "flows/a.yaml:1:1", "a flow is a map, not a list"),
        ("flows/a.yaml", "run: 1\nrun: 2\n", "flows/a.yaml:2:", "run"),
        ("flows/a.yaml", "description: nothing\n", "flows/a.yaml:1:", "the flow has no script"),
        ("flows/a.yaml", "script: missing.rhai\n", "flows/a.yaml:1:9", "create scripts/missing.rhai"),
        ("flows/a.yaml", "script: ../../etc/passwd\n", "flows/a.yaml:1:9", "there is no script"),
        (
            "flows/a.yaml",
            "description: d\nrun: |\n  let a = 1;\n    let b = (2;\n",
            "flows/a.yaml:4:",
            "cannot be read",
        ),
        ("flows/a.yaml", "run: |\n  import \"lib/m\" as m;\n", "flows/a.yaml:2:10", "create scripts/lib/m.rhai"),
        ("flows/a.yaml", "triggers:\n  - cron: * * * * *\nrun: 1\n", "flows/a.yaml:2:", "quotes: \"* * * * *\""),
        ("flows/a.yaml", "triggers:\n  - cron: @daily\nrun: 1\n", "flows/a.yaml:2:", "put it in quotes: \"@daily\""),
        ("flows/a.yaml", "triggers:\n  - watch: *.csv\nrun: 1\n", "flows/a.yaml:2:", "put it in quotes: \"*.csv\""),
        ("flows/a.yaml", "run: |\n\n\n  let a = 1;\n  send_txt(a);\n", "flows/a.yaml:5:3", "send_text"),
        ("flows/a.yaml", "run:\n  // a comment\n  send_text(\"a\", \"b\")\n", "flows/a.yaml:2:3", "write `run: |`"),
        ("flows/a.yaml", "run: >\n  let a = 1;\n  a\n", "flows/a.yaml:", "write `run: |`"),
        ("flows/a.yaml", "run: |\nlet a = 1;\n", "flows/a.yaml:2:", "indented below `run: |`"),
        ("flows/a.yaml", "triggers: 1\ntriggers: 2\nrun: 1\n", "flows/a.yaml:2:1", "`triggers` stands here twice"),
        ("flows/a.yaml", "triggers:\n  webhook: /a\nrun: 1\n", "flows/a.yaml:2:3", "begin each item"),
        ("flows/a.yaml", "triggers:\n  - cron:\"@daily\"\nrun: 1\n", "flows/a.yaml:2:5", "`:`, a blank"),
        (
            "flows/a.yaml",
            "triggers:\n  - webhook: { path: /a, verify: { token: ${T} } }\nrun: 1\n",
            "flows/a.yaml:2:",
            "put `${NAME}` in quotes",
        ),
        ("flows/a.yaml", "run: |\n  let a = 'text';\n", "flows/a.yaml:2:", "double quotes"),
        ("flows/a.yaml", "run: |\n  # comment\n  1\n", "flows/a.yaml:2:", "a comment begins with `//`"),
        ("flows/a.yaml", "run: |\n  file::csv(\"a\")\n", "flows/a.yaml:2:", "did you mean `files::csv`?"),
        ("flows/a.yml", "run: 1\n", "flows/a.yml:0:", "a flow's name ends with .yaml"),
        ("postrider.yaml", "accounts: [\n", "postrider.yaml:", "this is no YAML"),
        (".env", "A=1\nnonsense\n", ".env:2:1", "NAME=value"),
    ] {
        let found = findings(&[(file, text)]);
        assert!(!found.is_empty(), "{text}");
        let all = found.join("\n");
        assert!(found.iter().any(|line| line.starts_with(place)), "{text}: {all}");
        assert!(all.contains(part), "{text}: {all}");
    }
}

#[test]
fn a_script_that_is_there_and_cannot_be_read_is_not_called_missing() {
    let folder = folder(&[("flows/a.yaml", "script: a.rhai\n"), ("scripts/.keep", "")]);
    std::fs::write(folder.path().join("scripts/a.rhai"), b"let a = \"\xe4\";\n").unwrap();
    let output = binary::run(folder.path(), &["check", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("not UTF-8 (line 1)") && text.contains("scripts/a.rhai"), "{text}");
}

#[test]
fn triggers_with_many_errors_say_them_all() {
    let flow = r#"triggers:
  - cron: "0 9 * *"
  - cron: "61 9 * * *"
  - cron: "0 0 30 2 *"
  - cron: { schedule: "0 9 * * *", missed: never, not_after: soon, jitter: 30s, except: [2026-12-25] }
  - cron: { shedule: "0 9 * * *", timezone: Europe/Berln }
  - cron: { schedule: "0 8 * * *", except: [2026-12-24T09:00] }
  - every: 36h
  - every: 10000000d
  - every: { interval: 1h }
  - at: tomorrow
  - at: 2026-12-24T18:00
  - at: "2026-12-24T18:00"
  - watch: /etc/*
  - watch: inbox/
  - watch: { paths: [], events: [created] }
  - watch: { paths: "in/*", events: [changed], settle: fast, backlog: some, poll: 1ms }
  - watch: { events: [created] }
  - message: {}
  - at: "2027-03-01T18:00+09:00[America/New_York]"
run: 1
"#;
    insta::assert_snapshot!(findings(&[("flows/bad.yaml", flow)]).join("\n"));
}

#[test]
fn flows_that_collide_are_named_and_the_others_are_fine() {
    let hook = |path: &str| format!("triggers:\n  - webhook: {path}\nrun: 1\n");
    let found = findings(&[
        ("flows/a.yaml", &hook("/x")),
        ("flows/b.yaml", &hook("/x")),
        ("flows/c.yaml", "name: a\nrun: 1\n"),
        ("flows/d.yaml", &hook("/y/{one}")),
        ("flows/e.yaml", &hook("/y/{two}")),
        ("flows/f.yaml", "account: nobody\nrun: 1\n"),
        ("flows/deep/g.yaml", "run: 1\n"),
        ("flows/g.test.yaml", "this is: [no flow\n"),
        ("flows/.hidden.yaml", "this is: [no flow\n"),
    ]);
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn calls_with_too_few_or_too_many_values_are_found() {
    let script = r#"
send_text("+15417543010");
emit();
kv::get();
shared::set("a");
files::read("a", "b");
sleep();
// These are fine.
fn emit() { 1 }
"#;
    let rest = r#"
send_text("+15417543010", "a");
send_text("+15417543010", "a", #{ at: "1h" });
"+15417543010".send_text("a");
wait_for_message();
fn ask(a) { a }
ask(1);
[1, 2].map(|x| x + 1).len();
print("a");
type_of(1);
import "own" as log;
log::info(1, 2);
"#;
    let own = script.replace("fn emit() { 1 }\n", "");
    let module = ("scripts/own.rhai", "fn info(a, b) { a + b }\n");
    let flow = ("flows/a.yaml", "triggers:\n  - message: {}\nscript: a.rhai\n");
    let found = |script: &str| findings(&[flow, ("scripts/a.rhai", script), module]);
    // What is called `emit` here is the script's own.
    assert_eq!(found(script).len(), 5, "{:?}", found(script));
    assert_eq!(
        found(&own),
        [
            "scripts/a.rhai:2:1 `send_text` cannot be called with one value (write `send_text(to, text [, options])`)",
            "scripts/a.rhai:3:1 `emit` cannot be called with 0 values (write `emit(name [, data [, key]])`)",
            "scripts/a.rhai:4:5 `kv::get` cannot be called with 0 values (write `kv::get(key)`)",
            "scripts/a.rhai:5:9 `shared::set` cannot be called with one value (write `shared::set(key, value [, life])`)",
            "scripts/a.rhai:6:8 `files::read` cannot be called with 2 values (write `files::read(path)`)",
            "scripts/a.rhai:7:1 `sleep` cannot be called with 0 values (write `sleep(duration)`)",
        ]
    );
    assert_eq!(found(rest), [] as [&str; 0]);
}

#[test]
fn the_report_for_people_shows_the_line() {
    let folder = folder(&[("flows/a.yaml", "run: |\n  send_txt(\"a\", \"b\");\n")]);
    let output = binary::run(folder.path(), &["check"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in
        ["flows/a.yaml:2:3: there is no function `send_txt`", "send_txt(\"a\", \"b\")", "did you mean `send_text`?"]
    {
        assert!(text.contains(part), "{text}");
    }
}
