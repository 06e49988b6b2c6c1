//! Files as people and their programs write them: YAML by its version 1.2, marks, near names, writers that are slow.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{binary, client, folder, until};

#[tokio::test(flavor = "multi_thread")]
async fn words_are_words_and_leading_zeros_stay() {
    // By YAML 1.2, 10.3.2; but for leading zeros, which a number would lose.
    let flow = "params:\n  choices: [Yes, No, on, off, y, N]\n  country: NO\n  flags: [true, False, TRUE]\n  zip: 01067\n  phone: 0015417543010\n  time: 22:30\n  numbers: [7, -3, 0, 1.5, .5, 1e3, 0x1F, 0o17, +4]\n  texts: [1_000, 0b1, 9223372036854775808, -0123, 1.2.3, 08.5, \"7\", 2026-12-25]\n  nothing: [~, null]\nrun: |\n  params\n";
    let house = House::open(&[("flows/n.yaml", flow)]).await;
    let run = house.trigger("n", json!(null)).await;
    let found = house.run_is(&run, "succeeded").await["result"].clone();
    let wanted = json!({
        "choices": ["Yes", "No", "on", "off", "y", "N"],
        "country": "NO",
        "flags": [true, false, true],
        "zip": "01067",
        "phone": "0015417543010",
        "time": "22:30",
        "numbers": [7, -3, 0, 1.5, 0.5, 1000.0, 31, 15, 4],
        "texts": ["1_000", "0b1", "9223372036854775808", "-0123", "1.2.3", "08.5", "7", "2026-12-25"],
        "nothing": [null, null],
    });
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_digit_of_a_whole_number_is_lost() {
    let script = "`${event.body.id} ${json::parse(event.raw).id}`";
    let flow = format!("triggers:\n  - webhook: {{ path: /n, respond: result }}\nrun: '{script}'\n");
    let house = House::open(&[("flows/n.yaml", &flow)]).await;
    for number in [
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "100000000000000000001",
    ] {
        let url = format!("http://{}/hooks/n", house.engine.address().listen);
        let body = format!(r#"{{"a\"{number}": "{number}", "list": [{number},{number}], "id": {number}}}"#);
        let answer = client().post(url).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), format!("\"{number} {number}\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_of_another_program_is_no_value() {
    let house = House::open(&[]).await;
    for (text, hint) in [
        ("triggers:\n  - webhook: { path: /door, verify: { token: !secret hook_token } }\nrun: 1\n", "${NAME}"),
        ("triggers:\n  - webhook: { path: /door, verify: { token: !ENV HOOK } }\nrun: 1\n", "${NAME}"),
        ("run: !include file.rhai\n", "script: name.rhai"),
        ("!mine run: 1\n", "in quotes"),
        ("params: { a: !!binary aGVsbG8= }\nrun: 1\n", "in quotes"),
        ("run: 1\n---\nrun: 2\n", "one file is one document"),
        ("run: 1\n---\n", "one file is one document"),
    ] {
        house.write("flows/odd.yaml", text);
        let flows = house.flows_are(text, |flows| flows["diagnostics"].to_string().contains(hint)).await;
        assert!(flows["flows"].as_array().unwrap().is_empty(), "{flows}");
    }
    // YAML's own say what a value is.
    house.write("flows/odd.yaml", "params: { a: !!str 12, b: !!int \"7\" }\nrun: |\n  params\n");
    house.flows_are("it to be live", |flows| flows["flows"].as_array().unwrap().len() == 1).await;
    let run = house.trigger("odd", json!(null)).await;
    assert_eq!(house.run_is(&run, "succeeded").await["result"], json!({ "a": "12", "b": 7 }));
}

#[test]
fn files_with_nearly_the_right_names_are_told() {
    for (near, wanted) in [
        ("postrider.yml", "`postrider.yaml`"),
        ("postrider.yaml.txt", "`postrider.yaml`"),
        ("Postrider.yaml", "`postrider.yaml`"),
        ("POSTRIDER.YAML", "`postrider.yaml`"),
        (".env.txt", "`.env`"),
    ] {
        let folder = folder(&[("flows/a.yaml", "run: 1\n"), (near, "timezone: UTC\n")]);
        let output = binary::run(folder.path(), &["check"]);
        let text = String::from_utf8_lossy(&output.stderr).replace("\n  │ ", " ");
        assert!(!output.status.success() && text.contains(near) && text.contains(wanted), "{near}: {text}");
        // Nor does the engine start: its messages would go to the sandbox.
        let output = binary::run(folder.path(), &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1), "{near}");
    }
    for (near, shown, wanted) in [
        (".env.local", ".env.local", "`.env`"),
        ("Flows/b.yaml", "Flows", "`flows/`"),
        ("flow/b.yaml", "flow", "`flows/`"),
        ("script/b.rhai", "script", "`scripts/`"),
    ] {
        let folder = folder(&[("flows/a.yaml", "run: 1\n"), (near, "run: 1\n")]);
        let found = binary::run(folder.path(), &["check", "--json"]).stdout;
        let found: Value = serde_json::from_slice(&found).unwrap();
        let found = &found["diagnostics"][0];
        assert!(found["file"] == shown && found["message"].to_string().contains(wanted), "{near}: {found}");
    }
    let folder = folder(&[("flows/a.yaml", "run: 1\n"), ("flows/b.YAML", "run: 1\n"), ("flows/c.yml", "run: 1\n")]);
    let output = binary::run(folder.path(), &["check"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("flows/b.YAML") && text.contains("flows/c.yml"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_right_name_is_told_while_the_engine_runs_and_ends_nothing() {
    let house = House::open(&[("flows/a.yaml", "run: 1\n")]).await;
    let near = ["postrider.yml", "postrider.yaml.txt", ".env.txt"];
    near.iter().for_each(|near| house.write(near, "timezone: UTC\n"));
    let told = async || {
        until("a look", async || {
            house.pass(Duration::from_secs(5));
            let flows = house.get("/flows").await;
            assert_eq!(flows["flows"].as_array().unwrap().len(), 1, "{flows}");
            let files: Vec<String> = flows["diagnostics"]
                .as_array()
                .unwrap()
                .iter()
                .map(|found| found["file"].as_str().unwrap().into())
                .collect();
            (files.len() == near.iter().filter(|near| house.folder.path().join(near).exists()).count()).then_some(files)
        })
        .await
    };
    assert_eq!(told().await, [".env.txt", "postrider.yaml.txt", "postrider.yml"]);
    near.iter().for_each(|near| std::fs::remove_file(house.folder.path().join(near)).unwrap());
    assert!(told().await.is_empty());
}

#[test]
fn a_zone_that_does_not_exist_is_not_utc() {
    let flow = "triggers: [{ cron: \"0 9 * * *\" }]\nrun: 1\n";
    let folder = folder(&[("flows/a.yaml", flow)]);
    let next = |zone: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.current_dir(folder.path()).env("TZ", zone).args(["next", "--json", "--from", "2026-11-20T00:00Z"]);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for wrong in ["Berlin", "CET-1CEST"] {
        let (fine, text) = next(wrong);
        assert!(!fine && text.contains(wrong), "{wrong}: {text}");
    }
    for (right, at) in [
        ("Europe/Berlin", "T08:00"),
        (":Europe/Berlin", "T08:00"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "T08:00"),
        ("", "T09:00"),
    ] {
        let (fine, text) = next(right);
        assert!(fine && text.contains(at), "{right}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_the_byte_order_is_skipped_everywhere() {
    let house = House::open(&[
        ("flows/f.yaml", "\u{feff}script: a.rhai\n"),
        ("scripts/a.rhai", "\u{feff}import \"b\" as b;\n[b::two(), files::csv(\"t.csv\")[0].name]\n"),
        ("scripts/b.rhai", "\u{feff}fn two() { 2 }\n"),
        ("t.csv", "\u{feff}name\nAda\n"),
        ("postrider.yaml", "\u{feff}timezone: UTC\n"),
        (".env", "\u{feff}A=b\n"),
    ])
    .await;
    let run = house.trigger("f", json!(null)).await;
    assert_eq!(house.run_is(&run, "succeeded").await["result"], json!([2, "Ada"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_excel_are_read() {
    let flow = "run: |\n  [files::csv(\"a.csv\"), files::csv(\"b.csv\"), files::csv(\"c.tsv\"), files::csv(\"a.csv\", #{ delimiter: \";\" }).len]\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let put = |name: &str, bytes: &[u8]| std::fs::write(house.folder.path().join(name), bytes).unwrap();
    put("a.csv", b"name;price\nM\xfcller;\"1,50\"\n");
    let wide = "name,x\nMüller,1\n".encode_utf16().flat_map(u16::to_le_bytes);
    put("b.csv", &[0xff, 0xfe].into_iter().chain(wide).collect::<Vec<u8>>());
    put("c.tsv", b"name\tx\n\x80,\t1\n");
    let run = house.trigger("f", json!(null)).await;
    assert_eq!(
        house.run_is(&run, "succeeded").await["result"],
        json!([[{ "name": "Müller", "price": "1,50" }], [{ "name": "Müller", "x": "1" }], [{ "name": "€,", "x": "1" }], 1])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_finished_while_its_writer_has_it_open() {
    let flow =
        "triggers:\n  - watch: { paths: \"inbox/*.csv\", settle: 300ms }\nrun: |\n  files::csv(event.path).len\n";
    let house = House::open(&[("flows/f.yaml", flow), ("inbox/.keep", "")]).await;
    let mut slow = std::fs::File::create(house.folder.path().join("inbox/people.csv")).unwrap();
    slow.write_all(b"name\nAda\nBo").unwrap();
    slow.flush().unwrap();
    // However long it is silent.
    for _ in 0..40 {
        house.pass(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(house.runs_of("f").await.is_empty());
    slow.write_all(b"b\n").unwrap();
    drop(slow);
    let runs = until("the run of the whole file", async || {
        house.pass(Duration::from_millis(200));
        let runs = house.runs_of("f").await;
        runs.iter().all(|run| run["state"] == "succeeded").then_some(runs).filter(|runs| !runs.is_empty())
    })
    .await;
    let run = house.get(&format!("/runs/{}", runs[0]["id"].as_str().unwrap())).await;
    assert_eq!((runs.len(), &run["result"]), (1, &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_counts_also_with_the_size_and_the_time_that_it_had() {
    let flow = "triggers:\n  - watch: { paths: \"inbox/*.csv\", settle: 300ms }\nrun: |\n  [event.kind, files::read(event.path)]\n";
    let house = House::open(&[("flows/f.yaml", flow), ("inbox/.keep", "")]).await;
    let path = house.folder.path().join("inbox/a.csv");
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let put = |text: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    let runs = async |count: usize| {
        until(&format!("{count} runs"), async || {
            house.pass(Duration::from_millis(200));
            let runs = house.runs_of("f").await;
            assert!(runs.len() <= count, "{runs:?}");
            (runs.len() == count && runs.iter().all(|run| run["state"] == "succeeded")).then_some(())
        })
        .await;
    };
    put("AAA");
    runs(1).await;
    put("BBB");
    runs(2).await;
    // The same content once more is nothing new.
    put("BBB");
    for _ in 0..20 {
        house.pass(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    runs(2).await;
    let mut results: Vec<Value> = Vec::new();
    for run in house.runs_of("f").await {
        results.push(house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await["result"].clone());
    }
    assert!(
        results.contains(&json!(["created", "AAA"])) && results.contains(&json!(["modified", "BBB"])),
        "{results:?}"
    );
}

#[test]
fn a_calendar_that_cannot_be_read_is_told_and_the_days_of_one_that_can_are_left_out() {
    let flow = |except: &str| {
        format!("timezone: UTC\ntriggers:\n  - cron: {{ schedule: \"0 9 * * *\", except: {except} }}\nrun: 1\n")
    };
    let calendar = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261225\r\nSUMMARY:Christmas\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let files = [
        ("flows/a.yaml", flow("[days.ics, 2026-12-27]")),
        ("flows/b.yaml", flow("gone.ics")),
        ("flows/c.yaml", flow("[days.ics, half.ics]")),
        ("flows/d.yaml", flow("yoga.ics")),
        ("days.ics", calendar.to_owned()),
        ("half.ics", calendar.replace("END:VCALENDAR\r\n", "")),
        (
            "yoga.ics",
            calendar.replace(
                "END:VCALENDAR",
                "BEGIN:VEVENT\r\nDTSTART:20261201\r\nRRULE:FREQ=WEEKLY\r\nSUMMARY:Yoga\r\nEND:VEVENT\r\nEND:VCALENDAR",
            ),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = folder(&files);
    let output = binary::run(folder.path(), &["check"]);
    assert!(output.status.success());
    let found = binary::json(folder.path(), &["check"]);
    let found: Vec<String> = found["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            let said = found["message"].as_str().unwrap();
            format!("{}:{}:{} {said}", found["file"].as_str().unwrap(), found["line"], found["column"])
        })
        .collect();
    let expected = [
        ("flows/b.yaml:3:44 ", "`gone.ics`", "none of its days is left out"),
        (
            "flows/c.yaml:3:55 `half.ics` ",
            "cannot be read, so none of its days is left out",
            "cut off: `END:VCALENDAR`",
        ),
        ("flows/d.yaml:3:44 `yoga.ics` ", "is not read in full", "`Yoga` is not read: it comes again by `FREQ=WEEKLY`"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (said, (place, what, why)) in found.iter().zip(expected) {
        assert!(said.starts_with(place) && said.contains(what) && said.contains(why), "{said}");
    }
    for (flow, days) in
        [("a", ["2026-12-24", "2026-12-26", "2026-12-28"]), ("d", ["2026-12-24", "2026-12-26", "2026-12-27"])]
    {
        let next = binary::json(folder.path(), &["next", flow, "--from", "2026-12-24T00:00Z", "--count", "3"]);
        let due: Vec<&str> =
            next["occurrences"].as_array().unwrap().iter().map(|row| &row["at"].as_str().unwrap()[..10]).collect();
        assert_eq!(due, days, "{flow}");
    }
}
