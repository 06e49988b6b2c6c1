//! Which flows may send from an account and hear it.

use serde_json::{Value, json};

use super::{check, lines};
use crate::support::engine::{House, flow_in};
use crate::support::until;

const ADA: &str = "+15417543010";
const SETTINGS: (&str, &str) = (
    "postrider.yaml",
    "default_account: open\naccounts:\n  main: { transport: sandbox, flows: [crm/*] }\n  open: { transport: sandbox }\n",
);
/// A flow that does what it is told with the account that it is told.
const ANY: &str = r#"
run: |
  let account = event.data.account;
  switch event.data.how {
    "text" => send_text("+15417543010", "x", #{ account: account }),
    "send" => send("+15417543010", #{ kind: "text", text: "x", account: account }),
    "many" => send_text(["+15417543010", "+15417543011"], "x", #{ account: account }),
    "ask" => ask("+15417543010", "well?", #{ account: account }),
    "wait" => wait_for_message(#{ account: account, from: "+15417543010" }),
    "anybody" => wait_for_message(#{ account: account }),
    "save" => #{ account: account, source: "http://127.0.0.1:1/picture" }.save("stolen.jpg"),
    _ => wait_for_message()
  }
"#;

async fn error_of(house: &House, flow: &str, data: Value) -> String {
    let run = house.trigger(flow, data).await;
    let run = house.run_is(&run, "failed").await;
    assert_eq!(run["error"]["kind"], "invalid", "{run}");
    run["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_for_the_flows_that_it_is_given_to() {
    let spoofed = format!("name: crm/spoofed\n{ANY}");
    let house = House::open(&[
        SETTINGS,
        ("flows/crm/any.yaml", ANY),
        ("flows/any.yaml", ANY),
        ("flows/spoofed.yaml", &spoofed),
    ])
    .await;
    for flow in ["any", "crm/spoofed"] {
        for how in ["text", "send", "many", "ask", "wait", "anybody", "save"] {
            let said = error_of(&house, flow, json!({ "how": how, "account": "main" })).await;
            assert!(said.contains(&format!("flow `{flow}` may not use account `main`")), "{how}: {said}");
            assert!(said.contains("`flows` of that one in postrider.yaml"), "{how}: {said}");
        }
    }
    assert!(house.get("/sandbox/messages").await["messages"].as_array().unwrap().is_empty(), "nothing was sent");
    for (flow, account) in [("any", "open"), ("crm/any", "main")] {
        let run = house.trigger(flow, json!({ "how": "text", "account": account })).await;
        house.run_is(&run, "succeeded").await;
    }
    // A person at the command line is no flow.
    house.post("/messages", json!({ "kind": "text", "to": ADA, "text": "by hand", "account": "main" })).await;
    house.messages_are(3, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_an_account_is_heard_by_its_flows_only() {
    let heard = |on: &str| format!("triggers:\n  - message: {on}\nrun: event.text\n");
    let house = House::open(&[
        SETTINGS,
        ("flows/crm/all.yaml", &heard("{}")),
        ("flows/all.yaml", &heard("{}")),
        ("flows/first.yaml", &heard("{ first: true }")),
        ("flows/thief.yaml", &heard("{ account: main, first: true }")),
        ("flows/of.yaml", "account: main\nrun: 1\n"),
    ])
    .await;
    let flows = house.get("/flows").await;
    let said = lines(&flows["diagnostics"]);
    for name in ["thief", "of"] {
        assert!(flow_in(&flows, name).is_null(), "{flows}");
        let wanted = format!(
            "error flows/{name}.yaml:0 flow `{name}` may not use account `main` (name another account, or add {name} "
        );
        assert!(said.iter().any(|said| said.starts_with(&wanted)), "{said:?}");
    }
    let writes = async |account: &str| {
        house.post("/sandbox/messages", json!({ "account": account, "from": ADA, "text": account })).await;
    };
    writes("main").await;
    writes("open").await;
    let count = async |flow: &str| house.runs_of(flow).await.len();
    assert_eq!((count("crm/all").await, count("all").await, count("first").await), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_anybody_without_a_trigger_for_messages() {
    let with = |trigger: &str| format!("triggers:\n  - message: {trigger}\n{ANY}");
    let never = "{ text: \"^never$\" }";
    let house = House::open(&[
        SETTINGS,
        ("flows/none.yaml", ANY),
        ("flows/trigger.yaml", &with(never)),
        ("flows/crm/of.yaml", &with("{ account: main, text: \"^never$\" }")),
        ("flows/victim.yaml", "triggers:\n  - message: {}\nrun: event.text\n"),
    ])
    .await;
    for (flow, data, account) in [
        ("none", json!({ "how": "anybody", "account": "open" }), "open"),
        ("none", json!({ "how": "" }), "open"),
        // Its trigger is for another account.
        ("crm/of", json!({ "how": "" }), "open"),
    ] {
        let said = error_of(&house, flow, data).await;
        assert!(said.contains("needs a `message` trigger of that account"), "{said}");
        assert!(said.contains(&format!("account `{account}`")) && said.contains("name a person by `from`"), "{said}");
    }
    house.post("/sandbox/messages", json!({ "account": "open", "from": ADA, "text": "for the victim" })).await;
    assert_eq!(house.runs_of("victim").await.len(), 1, "the message went where it belongs");
    for (flow, account) in [("trigger", "open"), ("crm/of", "main")] {
        let run = house.trigger(flow, json!({ "how": "anybody", "account": account })).await;
        house.run_is(&run, "waiting").await;
        house.post("/sandbox/messages", json!({ "account": account, "from": ADA, "text": flow })).await;
        assert_eq!(house.run_is(&run, "succeeded").await["result"]["text"], flow);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_account_is_named_only_those_that_are_for_the_flow_are_heard() {
    let settings = "accounts:\n  main: { transport: sandbox, flows: [crm/*] }\n  open: { transport: sandbox }\n";
    let listens = format!("triggers:\n  - message: {{ text: \"^never$\" }}\n{ANY}");
    let house = House::open(&[
        ("postrider.yaml", settings),
        ("flows/listens.yaml", &listens),
        ("flows/crm/listens.yaml", &listens),
    ])
    .await;
    let mut runs = Vec::new();
    for flow in ["listens", "crm/listens"] {
        let run = house.trigger(flow, json!({ "how": "" })).await;
        house.run_is(&run, "waiting").await;
        runs.push(run);
    }
    // The run that has waited longer is not the one that gets it.
    house.post("/sandbox/messages", json!({ "account": "main", "from": ADA, "text": "private" })).await;
    assert_eq!(house.run_is(&runs[1], "succeeded").await["result"]["text"], "private");
    house.post("/sandbox/messages", json!({ "account": "open", "from": ADA, "text": "public" })).await;
    assert_eq!(house.run_is(&runs[0], "succeeded").await["result"]["text"], "public");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_that_is_put_up_later_holds_for_runs_that_wait_already() {
    let open = "accounts:\n  main: { transport: sandbox }\n  spare: { transport: sandbox }\n";
    let house = House::open(&[("postrider.yaml", open), ("flows/any.yaml", ANY)]).await;
    let waits = house.trigger("any", json!({ "how": "wait", "account": "main" })).await;
    house.run_is(&waits, "waiting").await;
    house.write("flows/mine.yaml", "account: main\nrun: 1\n");
    house.flows_are("the flow", |flows| flow_in(flows, "mine")["stale"] == false).await;
    house.write(
        "postrider.yaml",
        &open.replace("main: { transport: sandbox }", "main: { transport: sandbox, flows: [crm/*] }"),
    );
    let flows = house.flows_are("the wall", |flows| flow_in(flows, "mine")["stale"] == true).await;
    assert!(lines(&flow_in(&flows, "mine")["diagnostics"])[0].contains("may not use account `main`"), "{flows}");
    house.post("/sandbox/messages", json!({ "account": "main", "from": ADA, "text": "private" })).await;
    assert_eq!(house.get(&format!("/runs/{waits}")).await["state"], "waiting");
    house.write("postrider.yaml", open);
    house.flows_are("no wall", |flows| flow_in(flows, "mine")["stale"] == false).await;
    house.post("/sandbox/messages", json!({ "account": "main", "from": ADA, "text": "for all" })).await;
    until("the message", async || {
        let run = house.get(&format!("/runs/{waits}")).await;
        (run["result"]["text"] == "for all").then_some(())
    })
    .await;
}

#[test]
fn calls_that_a_wall_stops_are_found_before_a_run() {
    let script = r#"run: |
  send_text("+15417543010", "x", #{ account: "main" });
  ask("+15417543010", "x?", #{ account: "main" });
  wait_for_message(#{ account: "main", from: "+15417543010" });
  wait_for_message(#{ timeout: "1h" });
  wait_for_message();
  wait_for_message(event.data);
  wait_for_message(#{ from: event.data });
"#;
    let listens = format!("triggers:\n  - message: {{}}\n{script}");
    let said = check(&[SETTINGS, ("flows/a.yaml", script)]);
    let barred =
        "flow `a` may not use account `main` (name another account, or add a to `flows` of that one in postrider.yaml)";
    let deaf = "`wait_for_message` without `from` needs a `message` trigger of that account \
                (name a person by `from`, or add the trigger)";
    let wanted = [(2, barred), (3, barred), (4, barred), (5, deaf), (6, deaf)];
    let wanted = wanted.map(|(line, said)| format!("warning flows/a.yaml:{line} {said}"));
    assert_eq!(said, wanted);
    assert_eq!(check(&[SETTINGS, ("flows/crm/a.yaml", &listens)]), [] as [&str; 0]);
}
