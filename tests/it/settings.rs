//! Settings and secrets that change while the engine runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::{House, flow_in};
use crate::support::gateway::{Gateway, Say};
use crate::support::{binary, folder, until, write};

const SEND: &str = "triggers:\n  - webhook: /in\nrun: send_text(\"+15417543010\", event.body.text)\n";

async fn send(house: &House, text: &str) {
    assert_eq!(house.hook("/in", &json!({ "text": text })).await.0, 200);
}

async fn arrives(gateway: &Gateway, text: &str) {
    until(&format!("{text} to arrive"), async || gateway.texts().contains(&text.to_owned()).then_some(())).await;
}

async fn settings_are(house: &House, what: &str, text: &str, wanted: impl Fn(&Value) -> bool) {
    house.write("postrider.yaml", text);
    until(what, async || wanted(&house.get("/accounts").await["accounts"]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_change_and_go_and_no_message_is_lost() {
    let (one, two) = (Gateway::start().await, Gateway::start().await);
    let house = House::open(&[("flows/in.yaml", SEND), ("postrider.yaml", &one.settings("pace: unlimited"))]).await;
    send(&house, "first").await;
    arrives(&one, "first").await;
    // Another address, with what is on the wire at the old one left to end there.
    let unlimited = |accounts: &Value| accounts[0]["pace"] == "unlimited" && accounts[0]["state"] == "ready";
    one.now_says(|_, _| Say::No(401, "UNAUTHORIZED", None));
    send(&house, "stuck").await;
    let paused = |accounts: &Value| accounts[0]["state"] == "paused";
    until("the pause", async || paused(&house.get("/accounts").await["accounts"]).then_some(())).await;
    // What paused the account is mended by the new settings: it begins at once, not at the next probe.
    settings_are(&house, "the new address", &two.settings("pace: unlimited"), unlimited).await;
    arrives(&two, "stuck").await;
    // One more account, and the default is not clear any more; the flow names none, so its runs say so.
    let both =
        format!("{}  spare: {{ transport: sandbox }}\ndefault_account: spare\n", two.settings("pace: unlimited"));
    settings_are(&house, "two accounts", &both, |accounts| accounts.as_array().unwrap().len() == 2).await;
    house.write("flows/in.yaml", &format!("account: main\n{SEND}"));
    // The account goes: what waits for it waits, and says why; the flow that names it stays as it was.
    two.now_says(|_, _| Say::No(503, "BUSY", None));
    until("main", async || {
        send(&house, "held").await;
        let messages = house.get("/messages").await;
        let held = |message: &Value| message["body"]["text"] == "held" && message["account"] == "main";
        messages["messages"].as_array().unwrap().iter().any(held).then_some(())
    })
    .await;
    let alone = "accounts:\n  spare: { transport: sandbox }\n";
    settings_are(&house, "one account", alone, |accounts| accounts.as_array().unwrap().len() == 1).await;
    let flows = house.flows_are("the flow to be stale", |flows| flow_in(flows, "in")["stale"] == true).await;
    assert!(flow_in(&flows, "in")["diagnostics"][0]["message"].as_str().unwrap().contains("no account `main`"));
    let messages = until("the reason", async || {
        let messages = house.get("/messages?state=queued").await;
        let why = messages["messages"][0]["why"].as_str()?;
        why.contains("not configured any more").then_some(messages)
    })
    .await;
    let held = messages["messages"].as_array().unwrap().len();
    assert!(held > 0);
    // It comes back, and with it what waited.
    two.now_says(|_, _| Say::Yes);
    house.write("postrider.yaml", &both);
    house.flows_are("the flow to be well", |flows| flow_in(flows, "in")["stale"] == false).await;
    house.pass(Duration::from_secs(60));
    until("nothing to wait", async || {
        house.pass(Duration::from_secs(5));
        let messages = house.get("/messages?state=queued").await;
        messages["messages"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    arrives(&two, "held").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_zones_and_limits_change_and_what_is_wrong_changes_nothing() {
    let flow =
        "triggers:\n  - webhook: { path: /in, verify: { token: \"${TOKEN}\" } }\n  - cron: \"0 9 * * *\"\nrun: 1\n";
    let house = House::open(&[
        ("flows/in.yaml", flow),
        (".env", "TOKEN=one-long-token\n"),
        ("postrider.yaml", "timezone: UTC\n"),
    ])
    .await;
    let client = crate::support::client();
    let hook = async |token: &str, body: String| {
        let url = format!("http://{}/hooks/in", house.engine.address().listen);
        client.post(url).header("x-token", token).body(body).send().await.unwrap().status().as_u16()
    };
    let becomes = async |what: &str, token: &str, status: u16| {
        until(what, async || (hook(token, "{}".into()).await == status).then_some(())).await;
    };
    assert_eq!((hook("one-long-token", "{}".into()).await, hook("two-long-token", "{}".into()).await), (200, 401));
    house.write(".env", "TOKEN=two-long-token\n");
    becomes("the new token", "two-long-token", 200).await;
    assert_eq!(hook("one-long-token", "{}".into()).await, 401);
    // Without the secret the flow is broken, and stays what it was.
    house.write(".env", "OTHER=1\n");
    house.flows_are("in to be stale", |flows| flow_in(flows, "in")["stale"] == true).await;
    assert_eq!(hook("two-long-token", "{}".into()).await, 200);
    house.write(".env", "TOKEN=three-long-token\n");
    becomes("the third token", "three-long-token", 200).await;

    let next = |at: &'static str| move |flows: &Value| flow_in(flows, "in")["triggers"][1]["next_at"] == at;
    house.flows_are("UTC", next("2026-11-20T09:00:00.000Z")).await;
    house.write("postrider.yaml", "timezone: Europe/Berlin\nlimits: { body: 100 }\n");
    house.flows_are("Berlin", next("2026-11-20T08:00:00.000Z")).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(200));
    assert_eq!(hook("three-long-token", large.clone()).await, 413);

    // Wrong settings change nothing and are said; so are those that need a new start.
    for (wrong, part) in [
        ("timezone: [", "this is no YAML"),
        ("timezone: Europe/Berln\n", "no time zone `Europe/Berln`"),
        ("accounts: { main: { transport: gowa, basic_auth: \"${MISSING}\" } }\n", "`MISSING` is not set"),
    ] {
        house.write("postrider.yaml", wrong);
        let flows = house.flows_are(part, |flows| flows["diagnostics"].to_string().contains(part)).await;
        assert!(next("2026-11-20T08:00:00.000Z")(&flows), "{flows}");
        assert_eq!(flows["diagnostics"][0]["file"], "postrider.yaml");
        assert_eq!(hook("three-long-token", large.clone()).await, 413);
    }
    house.write("postrider.yaml", "timezone: UTC\nstore: other.db\nlisten: 127.0.0.1:1\n");
    let flows = house.flows_are("UTC again", next("2026-11-20T09:00:00.000Z")).await;
    let said = flows["diagnostics"].to_string();
    // The tests' own flag stands above `listen` in the file.
    assert!(said.contains("`store` was changed; that takes effect with the next start"), "{said}");
    assert!(!said.contains("listen") && said.contains("\"severity\":\"warning\""), "{said}");
    house.write("postrider.yaml", "timezone: UTC\n");
    house.flows_are("nothing to say", |flows| flows["diagnostics"].as_array().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_away_or_empty_stay_in_force() {
    let gateway = Gateway::start().await;
    let settings = format!("{}\nsecrets: {{ CRM: [crm/*] }}\n", gateway.settings("pace: unlimited"));
    let spy = "secrets: [CRM]\nrun: 1\n";
    let files = [
        ("flows/in.yaml", SEND),
        ("postrider.yaml", &settings),
        (".env", "CRM=a-long-secret\n"),
        ("flows/spy.yaml", spy),
    ];
    let house = House::open(&files).await;
    let (file, away) = (house.folder.path().join("postrider.yaml"), house.folder.path().join("away"));
    let said = |flows: &Value| flows["diagnostics"].to_string().contains("the file is away, or empty");
    for how in ["removed", "empty", "a link that leads nowhere"] {
        std::fs::rename(&file, &away).unwrap();
        match how {
            "empty" => std::fs::write(&file, "").unwrap(),
            "removed" => {}
            _ => std::os::unix::fs::symlink("nowhere", &file).unwrap(),
        }
        let told = |flows: &Value| said(flows) || flows["diagnostics"].to_string().contains("leads to is not there");
        let flows = house.flows_are(how, told).await;
        assert!(flows["flows"].as_array().unwrap().iter().all(|flow| flow["name"] != "spy"), "{how}: the wall stands");
        let accounts = house.get("/accounts").await;
        assert_eq!(accounts["accounts"][0]["transport"], "gowa", "{how}: {accounts}");
        send(&house, how).await;
        arrives(&gateway, how).await;
        std::fs::rename(&away, &file).unwrap();
        house.flows_are("it to be as before", |flows| !told(flows)).await;
    }
    // Nor does a file of variables that is away.
    std::fs::remove_file(house.folder.path().join(".env")).unwrap();
    house.flows_are("the variables to be missed", said).await;
    house.write(".env", "CRM=another-long-secret\n");
    house.flows_are("nothing to be missed", |flows| !said(flows)).await;
}

#[test]
fn settings_behind_a_link_that_leads_nowhere_are_no_missing_settings() {
    let folder = folder(&[("flows/a.yaml", "run: 1\n")]);
    for file in ["postrider.yaml", ".env"] {
        std::os::unix::fs::symlink("nowhere", folder.path().join(file)).unwrap();
        let output = binary::postrider(folder.path(), &["check"]).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("what it leads to is not there"), "{file}: {said}");
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_account_does_not_begin_with_a_burst_again() {
    let gateway = Gateway::start().await;
    let settings = |timeout: u32| gateway.settings(&format!("pace: {{ rate: 1/min, burst: 2 }}, timeout: {timeout}s"));
    let flow = "triggers:\n  - webhook: /in\nrun: send_text(event.body.to, \"x\")\n";
    let house = House::open(&[("flows/in.yaml", flow), ("postrider.yaml", &settings(30))]).await;
    for number in 0..4 {
        assert_eq!(house.hook("/in", &json!({ "to": format!("+1541754301{number}") })).await.0, 200);
    }
    house.messages_are(2, "sent").await;
    for timeout in 31..34 {
        house.write("postrider.yaml", &settings(timeout));
        house.write("flows/other.yaml", &format!("description: edit {timeout}\nrun: 1\n"));
        let seen = |flows: &Value| flow_in(flows, "other")["description"] == format!("edit {timeout}");
        house.flows_are("the edit", seen).await;
    }
    assert_eq!(gateway.texts().len(), 2, "no edit lets more go");
    house.pass(Duration::from_secs(60));
    house.messages_are(3, "sent").await;
}

#[test]
fn a_hangup_reads_everything_again_and_a_start_with_wrong_settings_is_refused() {
    let folder = folder(&[("flows/a.yaml", "run: 1\n")]);
    let root = folder.path();
    let process = binary::Process::start(root);
    write(root, "flows/b.yaml", "run: 2\n");
    process.signal("HUP");
    let flows = std::iter::from_fn(|| Some(binary::json(root, &["flows"])));
    let there = flows.take(200).any(|flows| !flow_in(&flows, "b").is_null());
    assert!(there, "the new flow is not there");
    // On the same addresses too, the reason is the engine that runs here.
    let (listen, admin) = (process.public.to_string(), process.admin.to_string());
    let second = binary::run(root, &["run", "--listen", &listen, "--admin", &admin]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && said.contains("another Postrider runs on this workspace"), "{said}");
    let (code, log) = process.terminate();
    assert_eq!(code, Some(0), "{log}");
    write(root, "postrider.yaml", "timezon: UTC\n");
    let output = binary::run(root, &["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("did you mean `timezone`?"), "{said}");
}

#[test]
fn init_writes_what_works_at_once_and_never_overwrites() {
    let folder = folder(&[("flows/morning-reminder.yaml", "description: my own\nrun: 1\n")]);
    let root = folder.path();
    let said = binary::said(root, &["init"]);
    assert!(
        said.contains("kept   flows/morning-reminder.yaml") && said.contains("wrote  flows/csv-inbox.yaml"),
        "{said}"
    );
    let kept = std::fs::read_to_string(root.join("flows/morning-reminder.yaml")).unwrap();
    assert_eq!(kept, "description: my own\nrun: 1\n");
    std::fs::remove_file(root.join("flows/morning-reminder.yaml")).unwrap();
    let again = binary::json(root, &["init"]);
    assert_eq!(again["written"], json!(["flows/morning-reminder.yaml"]));
    assert!(binary::said(root, &["check"]).starts_with("3 flows checked, nothing to complain about"));
    // Each line of the settings works as it stands there, without its mark.
    let settings = std::fs::read_to_string(root.join("postrider.yaml")).unwrap();
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest.to_owned(),
        _ => line.to_owned(),
    };
    let all: String = settings.lines().map(|line| bare(line) + "\n").collect();
    assert!(all.contains("\ncountry: DE\n") && all.contains("\n    transport: gowa\n"), "{all}");
    write(root, "postrider.yaml", &all);
    write(root, ".env", "GOWA_AUTH=user:a-password-of-theirs\n");
    write(root, "flows/ops-alert.yaml", include_str!("../../flows/ops-alert.yaml"));
    let checked = binary::said(root, &["check"]);
    assert!(checked.starts_with("4 flows checked, nothing to complain about"), "{checked}");
    for file in [".env", "flows/ops-alert.yaml"] {
        std::fs::remove_file(root.join(file)).unwrap();
    }
    write(root, "postrider.yaml", &settings);
    let _process = binary::Process::start(root);
    binary::said(root, &["trigger", "morning-reminder", "--wait"]);
    for ignored in ["/.postrider/", ".env"] {
        assert!(std::fs::read_to_string(root.join(".gitignore")).unwrap().lines().any(|line| line == ignored));
    }
}
