//! `kv::` and `shared::`: numbers that are counted once each, lists of names, life times, and whose is what.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::engine::House;

/// The result of a run of a flow.
async fn result(house: &House, flow: &str, data: Value) -> Value {
    let id = house.trigger(flow, data).await;
    house.run_is(&id, "succeeded").await["result"].clone()
}

/// A script for both kinds of values.
fn both(script: &str) -> [(&'static str, String); 2] {
    [("kv", script.replace("SPACE", "kv")), ("shared", script.replace("SPACE", "shared"))]
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_add_numbers_of_all_sorts() {
    let script = r#"run: |
  let said = [
    SPACE::increment("n"), SPACE::increment("n", 4), SPACE::increment("n", -7), SPACE::increment("n", 0),
    SPACE::increment("n", 0.5), SPACE::get("n"), SPACE::increment("half", -0.25)
  ];
  SPACE::set("own", 10);
  said.push(SPACE::increment("own"));
  SPACE::set("own", 2.5);
  said.push(SPACE::increment("own", 1));
  SPACE::delete("own");
  said.push(SPACE::increment("own"));
  said.push(SPACE::get("own"));
  said
"#;
    for (space, flow) in both(script) {
        let house = House::open(&[("flows/f.yaml", &flow)]).await;
        let wanted = json!([1, 5, -2, -2, -1.5, -1.5, -0.25, 11, 3.5, 1, 1]);
        assert_eq!(result(&house, "f", Value::Null).await, wanted, "{space}");
        let after = json!([-0.5, 3.5, -3.5, -3.5, -3.0, -3.0, -0.5, 11, 3.5, 1, 1]);
        assert_eq!(result(&house, "f", Value::Null).await, after, "{space}: what is there stays there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_number_cannot_be_counted() {
    let script = r#"run: |
  SPACE::set("name", "Ada");
  SPACE::set("list", [1]);
  SPACE::set("flag", true);
  SPACE::set("n", 1);
  let said = [];
  for key in ["name", "list", "flag"] {
    try { said.push(SPACE::increment(key)); } catch (e) { said.push(e.kind); }
  }
  for by in ["1", (), [1], true] {
    try { said.push(SPACE::increment("n", by)); } catch (e) { said.push(e.kind); }
  }
  try { said.push(SPACE::increment("")); } catch (e) { said.push(e.kind); }
  said.push([SPACE::get("name"), SPACE::get("list"), SPACE::get("flag"), SPACE::get("n")]);
  said
"#;
    for (space, flow) in both(script) {
        let bare = format!("run: |\n  {space}::set(\"name\", \"Ada\");\n  {space}::increment(\"name\");\n");
        let house = House::open(&[("flows/f.yaml", &flow), ("flows/bare.yaml", &bare)]).await;
        let types = ["type"; 7];
        let mut wanted = json!(types);
        wanted.as_array_mut().unwrap().extend([json!("invalid"), json!(["Ada", [1], true, 1])]);
        assert_eq!(result(&house, "f", Value::Null).await, wanted, "{space}");
        let id = house.trigger("bare", Value::Null).await;
        let error = house.run_is(&id, "failed").await["error"].clone();
        assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("type"), Some(3)), "{error}");
        assert!(error["message"].as_str().unwrap().contains("`name`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_names_with_what_the_run_itself_has_done() {
    let first = r#"run: |
  for key in ["b/2", "b/1", "a", "b", "b_1", "bb", "B/1", "ä/1", "gone"] { SPACE::set(key, 0); }
  SPACE::delete("gone");
  [SPACE::list(), SPACE::list("b/"), SPACE::list("b"), SPACE::list("b_"), SPACE::list("%"), SPACE::list("ä"),
   SPACE::list("none")]
"#;
    let second = r#"run: |
  SPACE::set("b/3", 1);
  SPACE::delete("b/1");
  SPACE::delete("b/0");
  let before = SPACE::list("b/");
  SPACE::set("b/1", 2);
  SPACE::delete("b/3");
  SPACE::set("b/5", 2, "1h");
  let then = SPACE::list("b/");
  sleep("1m");
  let after = SPACE::list("b/");
  SPACE::increment("b/9");
  [before, then, after, SPACE::list("b/")]
"#;
    for ((space, first), (_, second)) in both(first).into_iter().zip(both(second)) {
        let house = House::open(&[("flows/f.yaml", &first), ("flows/g.yaml", &second)]).await;
        let all = ["B/1", "a", "b", "b/1", "b/2", "b_1", "bb", "ä/1"];
        let slash = ["b/1", "b/2"];
        let wanted = json!([all, slash, ["b", "b/1", "b/2", "b_1", "bb"], ["b_1"], [], ["ä/1"], []]);
        assert_eq!(result(&house, "f", Value::Null).await, wanted, "{space}");
        // A flow's own values are its own; those of the workspace the other flow has made.
        let own = space == "kv";
        let id = house.trigger("g", Value::Null).await;
        house.sleep_through(&id).await;
        let two = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|name| !own || **name != "b/2").map(|name| (*name).to_owned()).collect()
        };
        let wanted = json!([
            two(&["b/2", "b/3"]),
            two(&["b/1", "b/2", "b/5"]),
            two(&["b/1", "b/2", "b/5"]),
            two(&["b/1", "b/2", "b/5", "b/9"]),
        ]);
        assert_eq!(house.run_is(&id, "succeeded").await["result"], wanted, "{space}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_values_are_a_flows_and_some_are_everybodys() {
    let one = r#"run: |
  kv::set("n", "one's");
  shared::set("n", 10);
  shared::set("from", event.flow);
  kv::increment("count");
  [kv::get("n"), shared::get("n")]
"#;
    let other = r#"run: |
  let said = [kv::get("n"), kv::list(), kv::increment("count"), shared::get("n"), shared::get("from"), shared::list()];
  said.push(shared::increment("n", 5));
  shared::delete("from");
  kv::delete("n");
  said
"#;
    let look = "run: |\n  [kv::get(\"n\"), kv::get(\"count\"), shared::get(\"n\"), shared::get(\"from\")]\n";
    let house = House::open(&[("flows/one.yaml", one), ("flows/other.yaml", other)]).await;
    assert_eq!(result(&house, "one", Value::Null).await, json!(["one's", 10]));
    let said = json!([null, [], 1, 10, "one", ["from", "n"], 15]);
    assert_eq!(result(&house, "other", Value::Null).await, said);
    // Values belong to the name of a flow, whatever becomes of its text and of the engine.
    house.write("flows/one.yaml", look);
    let house = house.crash().await;
    assert_eq!(result(&house, "one", Value::Null).await, json!(["one's", 1, 15, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_end_with_their_time() {
    let script = r#"run: |
  if event.data == "look" {
    return [SPACE::get("short"), SPACE::get("long"), SPACE::get("ever"), SPACE::get("again"), SPACE::list()];
  }
  if event.data == "count" {
    return [SPACE::increment("short"), SPACE::increment("long")];
  }
  SPACE::set("short", 5, "1m");
  SPACE::set("long", 5, "1h");
  SPACE::set("ever", 5, "1m");
  SPACE::set("ever", 6);
  SPACE::set("again", 1);
  SPACE::set("again", 2, duration("1m"));
  [SPACE::increment("short"), SPACE::list()]
"#;
    for (space, flow) in both(script) {
        let house = House::open(&[("flows/f.yaml", &flow)]).await;
        let all = json!([6, ["again", "ever", "long", "short"]]);
        assert_eq!(result(&house, "f", json!("set")).await, all, "{space}");
        house.pass(Duration::from_secs(59));
        let now = json!([6, 5, 6, 2, ["again", "ever", "long", "short"]]);
        assert_eq!(result(&house, "f", json!("look")).await, now, "{space}");
        house.pass(Duration::from_secs(2));
        let later = json!([null, 5, 6, null, ["ever", "long"]]);
        assert_eq!(result(&house, "f", json!("look")).await, later, "{space}: counting gives no new time");
        assert_eq!(result(&house, "f", json!("count")).await, json!([1, 6]), "{space}: it begins anew");
        house.pass(Duration::from_secs(3600));
        let house = house.crash().await;
        let end = json!([1, null, 6, null, ["ever", "short"]]);
        assert_eq!(result(&house, "f", json!("look")).await, end, "{space}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_is_counted_once_also_through_a_crash() {
    let flow = r#"run: |
  let own = kv::increment("n");
  let all = shared::increment("all", 2);
  let own_again = kv::increment("again");
  [own, all, own_again]
"#;
    let other = "run: |\n  shared::increment(\"all\", 2)\n";
    let house = House::open(&[("flows/f.yaml", flow), ("flows/g.yaml", other)]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(house.trigger("f", Value::Null).await);
        ids.push(house.trigger("g", Value::Null).await);
    }
    let house = house.crash().await;
    for _ in 0..10 {
        ids.push(house.trigger("f", Value::Null).await);
    }
    let house = house.crash().await;
    let (mut own, mut all, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids {
        let run = house.run_is(id, "succeeded").await;
        let number = |value: &Value| value.as_i64().unwrap();
        match run["result"].as_array() {
            Some(three) => {
                own.push(number(&three[0]));
                all.push(number(&three[1]));
                again.push(number(&three[2]));
            }
            None => all.push(number(&run["result"])),
        }
    }
    for numbers in [&mut own, &mut all, &mut again] {
        numbers.sort_unstable();
    }
    let counted = |step: i64, count: i64| (1..=count).map(|n| n * step).collect::<Vec<_>>();
    assert_eq!((own, all, again), (counted(1, 30), counted(2, 50), counted(1, 30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_after_an_error_counts_nothing_again() {
    let flow = r#"
retry: { attempts: 3, first: 1s }
run: |
  if event.data == "look" {
    return [kv::get("a"), shared::get("b"), kv::get("kept"), kv::get("lost")];
  }
  let a = kv::increment("a");
  kv::set("kept", a);
  let b = shared::increment("b", 2);
  log::info([a, b]);
  kv::set("lost", b);
  throw "no luck"
"#;
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let id = house.trigger("f", json!("go")).await;
    house.sleep_through(&id).await;
    let house = house.crash().await;
    house.sleep_through(&id).await;
    let run = house.run_is(&id, "failed").await;
    assert_eq!((run["attempt"].as_u64(), run["error"]["message"].as_str()), (Some(3), Some("no luck")));
    let kinds: Vec<&str> =
        run["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| kind.ends_with("increment")).count(), 2, "{kinds:?}");
    assert_eq!(result(&house, "f", json!("look")).await, json!([1, 2, 1, null]));
    // By hand it goes on in the same way.
    house.post(&format!("/runs/{id}/retry"), json!({})).await;
    assert_eq!(house.run_is(&id, "failed").await["attempt"], 4);
    assert_eq!(result(&house, "f", json!("look")).await, json!([1, 2, 1, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_have_expired_do_not_fill_the_file() {
    let set = "run: |\n  for n in 0..event.data { SPACE::set(`${n}/${now()}`, n, \"1h\"); }\n";
    let keep = "run: |\n  SPACE::set(\"kept\", 1);\n  SPACE::set(\"longer\", 1, \"30d\");\n";
    for ((space, set), (_, keep)) in both(set).into_iter().zip(both(keep)) {
        let house = House::open(&[("flows/set.yaml", &set), ("flows/keep.yaml", &keep)]).await;
        let count = || {
            let file = house.folder.path().join(".postrider/state.db");
            let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            connection.query_row("SELECT count(*) FROM kv", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        result(&house, "keep", Value::Null).await;
        result(&house, "set", json!(250)).await;
        assert_eq!(count(), 252, "{space}");
        house.pass(Duration::from_secs(2 * 3600));
        result(&house, "set", json!(1)).await;
        assert_eq!(count(), 253, "{space}: the clock may yet be put right");
        house.pass(Duration::from_secs(26 * 3600));
        result(&house, "set", json!(200)).await;
        assert_eq!(count(), 202, "{space}: more leave than come");
    }
}
