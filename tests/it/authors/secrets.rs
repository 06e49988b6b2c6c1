//! Which flows may have which names of the environment.

use std::time::Duration;

use serde_json::{Value, json};

use super::lines;
use crate::support::binary::Process;
use crate::support::engine::{House, flow_in};
use crate::support::{binary, folder, write};

const ENV: (&str, &str) = (
    ".env",
    "CRM_TOKEN=the-token-of-the-crm\nSHARED=shared-value\nGATEWAY=user:the-gateways-own\nUNLISTED=unlisted-value\n\
     WITH_DEFAULT=the-accounts-value\nPOSTRIDER_X=the-engines-own\n",
);
const SETTINGS: (&str, &str) = (
    "postrider.yaml",
    "accounts:\n  main:\n    transport: gowa\n    basic_auth: ${GATEWAY}\n    device: ${WITH_DEFAULT:-d}\n\
     secrets: { CRM_TOKEN: [crm/*], SHARED: [\"**\"], NOBODYS: [] }\n",
);
/// What must never be seen by whom it is not for.
const HIDDEN: [&str; 4] = ["the-token-of-the-crm", "the-gateways-own", "the-accounts-value", "the-engines-own"];

fn flow(asks: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: /own, respond: result }}\n{asks}\nrun: params\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_for_the_flows_that_it_is_given_to() {
    let good =
        "params: { token: \"${CRM_TOKEN}\", shared: \"${SHARED}\" }\nsecrets: [CRM_TOKEN, SHARED]\nrun: params\n";
    let house = House::open(&[
        ENV,
        SETTINGS,
        ("flows/crm/good.yaml", good),
        ("flows/plain.yaml", "params: { shared: \"${SHARED}\" }\nsecrets: [SHARED]\nrun: params\n"),
    ])
    .await;
    let run = house.trigger("crm/good", Value::Null).await;
    let run = house.run_is(&run, "succeeded").await;
    assert_eq!(run["result"], json!({ "token": "the-token-of-the-crm", "shared": "shared-value" }));
    for (file, asks, line, part) in [
        (
            "flows/evil.yaml",
            "params: { x: \"${CRM_TOKEN}\" }",
            3,
            "`CRM_TOKEN: [evil]` under `secrets:` in postrider.yaml",
        ),
        ("flows/evil.yaml", "params:\n  deep: [{ x: \"a${SHARED}b${CRM_TOKEN}\" }]", 4, "may not have `CRM_TOKEN`"),
        ("flows/evil.yaml", "params: { x: \"${CRM_TOKEN:-nothing}\" }", 3, "may not have `CRM_TOKEN`"),
        ("flows/evil.yaml", "secrets:\n  - SHARED\n  - CRM_TOKEN", 5, "may not have `CRM_TOKEN`"),
        ("flows/evil.yaml", "secrets: [UNLISTED]", 3, "may not have `UNLISTED`"),
        ("flows/evil.yaml", "secrets: [NOBODYS]", 3, "may not have `NOBODYS`"),
        ("flows/evil.yaml", "params: { x: \"${GATEWAY}\" }", 3, "`GATEWAY` is used in postrider.yaml itself"),
        ("flows/evil.yaml", "secrets: [WITH_DEFAULT]", 3, "`WITH_DEFAULT` is used in postrider.yaml itself"),
        ("flows/crm/evil.yaml", "secrets: [GATEWAY]", 3, "`GATEWAY` is used in postrider.yaml itself"),
        ("flows/crm/evil.yaml", "secrets: [POSTRIDER_X]", 3, "all names that begin with `POSTRIDER_`"),
        ("flows/crm/deep/evil.yaml", "secrets: [CRM_TOKEN]", 3, "`CRM_TOKEN: [crm/deep/evil]`"),
        ("flows/evil.yaml", "secrets: [PATH]", 3, "may not have `PATH`"),
        // A name that its author chose opens nothing.
        ("flows/evil.yaml", "name: crm/evil\nsecrets: [CRM_TOKEN]", 4, "`CRM_TOKEN: [crm/evil, evil]`"),
        ("flows/crm/evil.yaml", "name: evil\nsecrets: [CRM_TOKEN]", 4, "may not have `CRM_TOKEN`"),
    ] {
        house.write(file, &flow(asks));
        let wanted = format!("error {file}:{line} ");
        let found = |flows: &Value| lines(&flows["diagnostics"]).into_iter().find(|said| said.starts_with(&wanted));
        let flows = house.flows_are(asks, |flows| found(flows).is_some()).await;
        let said = found(&flows).unwrap();
        assert!(said.contains(part), "{asks}: {said}");
        assert!(HIDDEN.iter().all(|hidden| !flows.to_string().contains(hidden)), "{flows}");
        assert_eq!(flows["flows"].as_array().unwrap().len(), 2, "{asks}: only the others are live");
        assert_eq!(house.hook("/own", &json!({})).await.0, 404);
        house.remove(file);
        house.flows_are("the file to be gone", |flows| found(flows).is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_name_is_set_is_not_told_to_those_whom_it_is_not_for() {
    let of = |name: &str| format!("secrets: [{name}]\nparams: {{ x: \"${{{name}:-x}}\" }}\nrun: 1\n");
    let (set, unset) = (of("UNLISTED"), of("UNHEARD"));
    let verify = "triggers:\n  - webhook: { path: /v, verify: { token: \"${CRM_TOKEN}\" } }\nrun: 1\n";
    let house =
        House::open(&[ENV, SETTINGS, ("flows/set.yaml", &set), ("flows/unset.yaml", &unset), ("flows/v.yaml", verify)])
            .await;
    let said = lines(&house.get("/flows").await["diagnostics"]);
    let of = |file: &str, name: &str| -> Vec<String> {
        let own = said.iter().filter(|said| said.contains(&format!(" flows/{file}.yaml")));
        own.map(|said| said.replace(&format!("flows/{file}."), "F.").replace(file, "f").replace(name, "N")).collect()
    };
    assert_eq!(of("set", "UNLISTED"), of("unset", "UNHEARD"));
    assert_eq!(of("set", "UNLISTED").len(), 2);
    // Who may use a token to let callers in may find out by trying what it is.
    assert!(said.iter().any(|said| said.contains("`token`: flow `v` may not have `CRM_TOKEN`")), "{said:?}");
}

#[test]
fn without_a_list_all_names_are_for_all_but_those_of_the_settings_and_the_engine() {
    let settings =
        "accounts:\n  main: { transport: gowa, basic_auth: \"${GATEWAY}\" }\nlisten: ${LISTEN:-127.0.0.1:0}\n";
    let flow = |asks: &str| format!("params: {{ x: \"${{{asks}}}\" }}\nsecrets: [{asks}]\nrun: params.x\n");
    let files: Vec<(String, String)> = ["CRM_TOKEN", "HOME", "GATEWAY", "POSTRIDER_X", "POSTRIDER_TOKEN", "LISTEN"]
        .iter()
        .map(|name| (format!("flows/{}.yaml", name.to_lowercase()), flow(name)))
        .collect();
    let folder = folder(&[ENV, ("postrider.yaml", settings)]);
    files.iter().for_each(|(file, text)| write(folder.path(), file, text));
    let mut command = binary::postrider(folder.path(), &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("HOME", "/home/of-the-host").env("POSTRIDER_TOKEN", "of-the-engine").env("LISTEN", "127.0.0.1:0");
    let process = Process::of(command, folder.path());
    let flows = binary::json(folder.path(), &["flows"]);
    let live: Vec<&str> =
        flows["flows"].as_array().unwrap().iter().map(|flow| flow["name"].as_str().unwrap()).collect();
    assert_eq!(live, ["crm_token", "home"], "{flows}");
    let said = binary::json(folder.path(), &["trigger", "home", "--wait"]).to_string();
    assert!(said.contains("/home/of-the-host"), "{said}");
    // With a list, the host's own are nobody's that are not listed.
    write(folder.path(), "postrider.yaml", &format!("{settings}secrets: {{ CRM_TOKEN: [\"*\"] }}\n"));
    let live = std::iter::repeat_with(|| binary::json(folder.path(), &["flows"]));
    assert!(live.take(200).any(|flows| flow_in(&flows, "home").is_null()), "home has lost its name");
    assert!(!flow_in(&binary::json(folder.path(), &["flows"]), "crm_token").is_null());
    let (_, log) = process.terminate();
    assert!(HIDDEN.iter().all(|hidden| !log.contains(hidden)) && !log.contains("of-the-engine"), "{log}");
}

/// A flow that has a secret in both ways, and works with it now and an hour later.
const KEEPER: &str = r#"
triggers:
  - webhook: { path: /keeper, respond: result }
params: { token: "${CRM_TOKEN}" }
secrets: [CRM_TOKEN]
run: |
  if event.trigger == "webhook" { return params.token; }
  hash::hmac_sha256(secret("CRM_TOKEN"), "a");
  sleep("1h");
  hash::hmac_sha256(secret("CRM_TOKEN"), "b")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_away_is_away_at_once_for_new_runs_and_old_ones() {
    let listed = |flows: &str| format!("secrets: {{ CRM_TOKEN: [{flows}] }}\n");
    for crashes in [false, true] {
        let house = House::open(&[
            ENV,
            ("postrider.yaml", "timezone: UTC\n"),
            ("flows/keeper.yaml", KEEPER),
            ("flows/other.yaml", "triggers:\n  - webhook: { path: /other, respond: result }\nrun: 1\n"),
        ])
        .await;
        assert_eq!(house.hook("/keeper", &json!({})).await, (200, json!("the-token-of-the-crm")));
        let sleeping = house.trigger("keeper", Value::Null).await;
        house.run_is(&sleeping, "waiting").await;
        house.write("postrider.yaml", &listed("crm/*"));
        house.flows_are("the keeper to be out", |flows| flow_in(flows, "keeper").is_null()).await;
        assert_eq!((house.hook("/keeper", &json!({})).await.0, house.hook("/other", &json!({})).await.0), (404, 200));
        let house = if crashes { house.crash().await } else { house };
        assert!(flow_in(&house.get("/flows").await, "keeper").is_null());
        house.pass(Duration::from_secs(3_601));
        // The run goes on with its own text, and the secret is as if it were not set.
        let run = house.run_is(&sleeping, "failed").await;
        assert_eq!(run["error"]["line"], 10, "{run}");
        assert!(run["error"]["message"].as_str().unwrap().contains("not set"), "{run}");
        // It comes back as it was.
        house.write("postrider.yaml", &listed("keeper"));
        house.flows_are("the keeper to be back", |flows| flow_in(flows, "keeper")["stale"] == false).await;
        assert_eq!(house.hook("/keeper", &json!({})).await, (200, json!("the-token-of-the-crm")));
        // An account that takes a name for itself takes it from the flows.
        house.write("postrider.yaml", "accounts: { main: { transport: gowa, basic_auth: \"u:${CRM_TOKEN}\" } }\n");
        house.flows_are("the keeper to be out again", |flows| flow_in(flows, "keeper").is_null()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_broken_and_walled_off_at_once_does_not_keep_its_last_good_version() {
    let house = House::open(&[ENV, ("postrider.yaml", "timezone: UTC\n"), ("flows/keeper.yaml", KEEPER)]).await;
    house.write("flows/keeper.yaml", "run: |\n  let a = (;\n");
    house.flows_are("the keeper to be stale", |flows| flow_in(flows, "keeper")["stale"] == true).await;
    assert_eq!(house.hook("/keeper", &json!({})).await, (200, json!("the-token-of-the-crm")));
    house.write("postrider.yaml", "secrets: {}\n");
    house.flows_are("the keeper to be out", |flows| flow_in(flows, "keeper").is_null()).await;
    assert_eq!(house.hook("/keeper", &json!({})).await.0, 404);
}
