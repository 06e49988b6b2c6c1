//! An approval, dropped at every durable step in turn: a webhook, a question to the manager, an answer
//! over chat, a call, a message to the customer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use postrider::app::open_store;
use postrider::clock::HandClock;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::engine::{House, start, workspace};
use crate::support::mortal::{Coroner, Death};
use crate::support::{client, folder, until};

const MANAGER: &str = "+15417543010";
const CUSTOMER: &str = "+442079460000";
const SETTINGS: &str = "
http: { allow: ['127.0.0.1'] }
accounts:
  sandbox: { transport: sandbox, inbound_token: open-sesame, on_unknown: resend, unknown_after: 1m }
";
const FLOW: &str = r#"
triggers: [ webhook: /orders ]
run: |
  let order = event.body;
  let asked = kv::increment("asked");
  let answer = ask(order.manager, `Ship ${order.id}?`, #{ choices: ["Yes", "No"], timeout: "2d", remind: "1d" });
  kv::set(order.id, answer.choice);
  let booked = http::post(order.crm, #{ id: order.id, ok: answer.choice == "Yes" }, #{ expect: "2xx" });
  let told = send_text(order.customer, `Order ${order.id}: ${kv::get(order.id)}, ${booked.json.ref}`);
  let fate = told.wait("delivered", "1d");
  [asked, answer.choice, booked.status, fate.status]
"#;

/// Calls that came to the server, by their keys.
type Calls = Arc<Mutex<Vec<String>>>;

async fn server() -> (String, Calls) {
    let calls = Calls::default();
    let answer = async |State(calls): State<Calls>, headers: HeaderMap| {
        let key = headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned();
        calls.lock().unwrap().push(key);
        json!({ "ref": "R-7" }).to_string()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/crm", listener.local_addr().unwrap());
    let router = Router::new().route("/crm", post(answer)).with_state(calls.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, calls)
}

struct Life {
    /// How it ended: state, result, the kinds of its entries.
    end: (Value, Value, Vec<String>),
    questions: usize,
    told: Vec<Value>,
    calls: Vec<String>,
    steps: Vec<(&'static str, usize)>,
}

/// What the phones have got from us.
async fn on_phones(house: &House) -> Vec<Value> {
    let answer = house.get("/sandbox/messages?limit=1000").await;
    answer["messages"].as_array().unwrap().iter().filter(|message| message["from"] == "sandbox").cloned().collect()
}

/// Does what the outside world does at this point of the story; says whether the story is over.
async fn world(house: &House, crm: &str, answered: &mut bool) -> bool {
    let runs = house.get("/runs").await["runs"].as_array().unwrap().clone();
    if runs.is_empty() {
        // A caller that got no answer, and of whose order nothing is there, asks again.
        let order = json!({ "id": "A-1", "manager": MANAGER, "customer": CUSTOMER, "crm": crm });
        house.hook("/orders", &order).await;
        return false;
    }
    let asked = on_phones(house).await.iter().any(|message| message["to"] == MANAGER);
    if asked && !*answered {
        // A gateway that got no answer tells it again.
        let url = format!("http://{}/gateways/sandbox/open-sesame", house.engine.address().listen);
        let body = json!({ "id": "m1", "from": MANAGER, "text": "yes" }).to_string();
        *answered = client().post(url).body(body).send().await.is_ok_and(|answer| answer.status() == 200);
        return false;
    }
    runs[0]["finished_at"] != Value::Null
}

async fn live(death: Option<Death>) -> Life {
    let (crm, calls) = server().await;
    let folder = folder(&[("flows/approval.yaml", FLOW), ("postrider.yaml", SETTINGS)]);
    let coroner = Coroner::default();
    let opener = coroner.open(open_store(&workspace(folder.path())), death);
    let mut house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    let mut buried = false;
    let mut answered = false;
    for round in 0.. {
        assert!(round < 2_000, "it comes to no end: {} {}", house.get("/runs").await, house.get("/messages").await);
        if coroner.is_dead() && !buried {
            buried = true;
            house = house.crash().await;
        }
        let died = until("the death", async || coroner.is_dead().then_some(()));
        tokio::select! {
            over = world(&house, &crm, &mut answered) => if over { break },
            () = died, if !buried => continue,
        }
        house.pass(Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let runs = house.get("/runs").await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "one order is one run");
    let run = house.get(&format!("/runs/{}", runs["runs"][0]["id"].as_str().unwrap())).await;
    let kinds = run["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap().to_owned());
    let phones = on_phones(&house).await;
    let told = phones.iter().filter(|message| message["to"] == CUSTOMER).map(|message| message["text"].clone());
    let calls = calls.lock().unwrap().clone();
    Life {
        end: (run["state"].clone(), run["result"].clone(), kinds.collect()),
        questions: phones.iter().filter(|message| message["to"] == MANAGER).count(),
        told: told.collect(),
        calls,
        steps: coroner.calls().into_iter().collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_dropped_at_any_step_asks_once_and_tells_once() {
    let whole = live(None).await;
    assert_eq!(whole.end.1, json!([1, "Yes", 200, "delivered"]));
    assert_eq!((whole.questions, whole.told.len(), whole.calls.len()), (1, 1, 1));
    let steps: BTreeSet<&str> = whole.steps.iter().map(|(step, _)| *step).collect();
    assert!(steps.contains("begin") || steps.contains("intake"), "the walk begins with a run");
    for step in ["commit_turn", "answer_errand", "receive", "claim", "settle"] {
        assert!(steps.contains(step), "the walk never comes to `{step}`");
    }
    for (step, count) in &whole.steps {
        // Services that look by the clock look more often than something happens.
        let count = if matches!(*step, "wake_runs" | "move_messages") { 2.min(*count) } else { *count };
        for nth in 1..=count {
            for after in [false, true] {
                let death = Death { step, nth, after };
                let life = live(Some(death.clone())).await;
                assert_eq!(life.end, whole.end, "{death:?}");
                assert_eq!((life.questions, &life.told), (1, &whole.told), "{death:?}");
                let keys: BTreeSet<&String> = life.calls.iter().collect();
                assert!(keys.len() == 1 && life.calls.len() <= 2, "{death:?}: {:?}", life.calls);
            }
        }
    }
}
