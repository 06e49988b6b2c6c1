//! Texts of flow versions: kept for as long as somebody may need them, and no longer. Looked up in the
//! state file itself.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::by_hand::{HOUR, edit, version};
use crate::support::engine::{House, flow_in};
use crate::support::until;

const OTHER: (&str, &str) = ("flows/other.yaml", "run: 0\n");
const GO: (&str, &str) = ("flows/go.yaml", "run: emit(\"go\", 1)\n");

/// A text of the flow: a run may wait in it for as long as it takes, or end at once.
fn text(number: usize) -> String {
    format!("run: |\n  if event.data == \"wait\" {{ wait_for_event(\"go\"); }}\n  \"text {number}\"\n")
}

/// The versions of a flow that are kept.
fn kept(house: &House, flow: &str) -> BTreeSet<String> {
    let file = house.folder.path().join(".postrider/state.db");
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let mut find = connection.prepare("SELECT id FROM versions WHERE flow = ?").unwrap();
    let ids = find.query_map([flow], |row| row.get(0)).unwrap();
    ids.collect::<Result<_, _>>().unwrap()
}

fn set(versions: &[&String]) -> BTreeSet<String> {
    versions.iter().map(|version| (*version).clone()).collect()
}

/// Lets hours pass until just these versions of a flow are kept.
async fn comes_down_to(house: &House, flow: &str, versions: &[&String]) {
    let wanted = set(versions);
    until(&format!("only {wanted:?} of {flow} to be kept"), async || {
        house.pass(HOUR);
        (kept(house, flow) == wanted).then_some(())
    })
    .await;
}

/// Another flow gets another text, until its old one is forgotten: so long, everything else that is not
/// needed was found too.
async fn swept(house: &House, round: usize) {
    edit(house, "other", &format!("run: {round}0\n")).await;
    let new = edit(house, "other", &format!("run: {round}1\n")).await;
    comes_down_to(house, "other", &[&new]).await;
}

async fn live(house: &House, flow: &str) -> String {
    version(&house.get("/flows").await, flow)
}

/// The file goes, and after a while the flow.
async fn let_go(house: &House, flow: &str) {
    house.remove(&format!("flows/{flow}.yaml"));
    house.flows_are("the file to be missed", |flows| flows["diagnostics"].to_string().contains("is gone")).await;
    house.pass(HOUR);
    house.flows_are("the flow to be let go", |flows| flow_in(flows, flow).is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_nobody_needs_are_forgotten() {
    let house = House::open(&[("flows/f.yaml", &text(0))]).await;
    let mut all = vec![live(&house, "f").await];
    for number in 1..5 {
        all.push(edit(&house, "f", &text(number)).await);
    }
    // While the clock stands nobody looks: a run that is just being accepted may need any of them.
    assert_eq!(kept(&house, "f"), set(&all.iter().collect::<Vec<_>>()));
    comes_down_to(&house, "f", &[&all[4]]).await;
    let run = house.trigger("f", Value::Null).await;
    assert_eq!(house.run_is(&run, "succeeded").await["result"], "text 4");
    // Those that were left over when the engine died go too; the one of the run stays.
    let five = edit(&house, "f", &text(5)).await;
    let six = edit(&house, "f", &text(6)).await;
    let house = house.crash().await;
    assert!(kept(&house, "f").contains(&five));
    comes_down_to(&house, "f", &[&all[4], &six]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_runs_need_stay() {
    let house = House::open(&[("flows/f.yaml", &text(1)), OTHER, GO]).await;
    let one = live(&house, "f").await;
    let waiting = house.trigger("f", json!("wait")).await;
    house.run_is(&waiting, "waiting").await;
    let two = edit(&house, "f", &text(2)).await;
    let past = house.trigger("f", Value::Null).await;
    house.run_is(&past, "succeeded").await;
    let three = edit(&house, "f", &text(3)).await;
    let four = edit(&house, "f", &text(4)).await;
    assert_eq!(kept(&house, "f"), set(&[&one, &two, &three, &four]));
    comes_down_to(&house, "f", &[&one, &two, &four]).await;
    // Those are not forgotten later either, nor after a restart.
    swept(&house, 1).await;
    assert_eq!(kept(&house, "f"), set(&[&one, &two, &four]));
    let house = house.crash().await;
    swept(&house, 2).await;
    assert_eq!(kept(&house, "f"), set(&[&one, &two, &four]));

    let go = house.trigger("go", Value::Null).await;
    house.run_is(&go, "succeeded").await;
    let run = house.run_is(&waiting, "succeeded").await;
    assert_eq!((&run["result"], &run["version"]), (&json!("text 1"), &json!(one)));
    let again = house.post(&format!("/runs/{past}/replay"), json!({})).await;
    assert_eq!(house.run_is(again["id"].as_str().unwrap(), "succeeded").await["result"], "text 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flow_that_is_gone_only_what_runs_need_is_kept() {
    let house = House::open(&[("flows/f.yaml", &text(1)), ("flows/g.yaml", &text(1)), GO]).await;
    let one = live(&house, "f").await;
    let waiting = house.trigger("f", json!("wait")).await;
    house.run_is(&waiting, "waiting").await;
    let two = edit(&house, "f", &text(2)).await;
    let_go(&house, "f").await;
    let_go(&house, "g").await;
    assert_ne!(one, two);
    comes_down_to(&house, "f", &[&one]).await;
    comes_down_to(&house, "g", &[]).await;
    let house = house.crash().await;
    let go = house.trigger("go", Value::Null).await;
    house.run_is(&go, "succeeded").await;
    assert_eq!(house.run_is(&waiting, "succeeded").await["result"], "text 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_text_of_a_broken_file_and_one_that_came_back_stay() {
    let house = House::open(&[("flows/broken.yaml", &text(1)), ("flows/back.yaml", &text(1)), OTHER]).await;
    let good = live(&house, "broken").await;
    house.write("flows/broken.yaml", "run: [\n");
    house.flows_are("it to be stale", |flows| flow_in(flows, "broken")["stale"] == true).await;
    let one = live(&house, "back").await;
    let two = edit(&house, "back", &text(2)).await;
    assert_eq!(edit(&house, "back", &text(1)).await, one, "the same text is the same version");
    comes_down_to(&house, "back", &[&one]).await;
    assert_ne!(one, two);
    swept(&house, 1).await;
    let house = house.crash().await;
    swept(&house, 2).await;
    assert_eq!((kept(&house, "broken"), kept(&house, "back")), (set(&[&good]), set(&[&one])));
    assert_eq!(flow_in(&house.get("/flows").await, "broken")["stale"], true);
    for flow in ["broken", "back"] {
        let run = house.trigger(flow, Value::Null).await;
        assert_eq!(house.run_is(&run, "succeeded").await["result"], "text 1");
    }
}
