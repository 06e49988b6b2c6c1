//! Runs that wait: what they cost while nothing happens, how soon a restart is through with them, and
//! how soon one goes on when its person answers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::median;
use crate::house::House;
use crate::posts::{self, Post};
use crate::row;

const TOKEN: &str = "nobody-else-knows";
const SLEEP: &str = "triggers:\n  - webhook: /sleep\nrun: sleep(\"30d\")\n";
const ASK: &str = r##"triggers:
  - webhook: /ask
run: |
  ask(event.body.phone, "Does it suit you?", #{ timeout: "30d" })
"##;
/// What is left of the work before is over by then.
const REST: Duration = Duration::from_secs(3);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Half of the runs sleep, half wait for somebody; some of these get their answer.
pub async fn show(runs: usize, replies: usize, connections: usize) {
    let settings = format!("accounts:\n  sandbox: {{ transport: sandbox, inbound_token: {TOKEN} }}\n");
    let house = House::open(&settings, &[("sleep", SLEEP), ("ask", ASK)]);
    let begun = Instant::now();
    let posted = posts::all(house.engine.public, connections, runs, |number| match number % 2 {
        0 => Post { path: "/hooks/sleep", signature: None, body: "{}".into() },
        _ => Post { path: "/hooks/ask", signature: None, body: format!(r#"{{"phone":"+1541{:07}"}}"#, number / 2) },
    })
    .await;
    // A run leaves these lists in this order, and the message of its question after it.
    let on_the_way = ["state=queued", "state=running"].map(|filter| ("runs", filter));
    let unsent = ["state=queued", "state=sending"].map(|filter| ("messages", filter));
    house.empty(&[on_the_way, unsent].concat()).await;
    let all_wait = begun.elapsed().as_secs_f64();
    tokio::time::sleep(REST).await;
    let (resident, peak) = (house.resident(), house.engine.memory("VmHWM") >> 20);
    let mut asked = Vec::new();
    let waiting = house
        .rows("runs", "state=waiting", |run| {
            if run["flow"] == "ask" {
                asked.push(run["id"].as_str().expect("an id").to_owned());
            }
        })
        .await;
    assert_eq!((waiting, asked.len()), (runs, runs / 2), "each run waits");
    let found = format!("{:.0}/s, all wait after {all_wait:.0} s", posted.rate());
    row(&format!("{runs} runs that come to wait: accepted"), &found, "");
    row("  resident when all wait", &format!("{resident:.1} MiB (peak {peak})"), "100 MB");

    let house = house.again();
    tokio::time::sleep(REST).await;
    row("  restart to ready", &format!("{:.3} s", house.engine.ready_after.as_secs_f64()), "2 s");
    row("  resident after the restart", &format!("{:.1} MiB", house.resident()), "100 MB");

    let replies = replies.min(asked.len());
    let mut times = Vec::new();
    for number in 0..replies {
        times.push(answered(&house, &asked[number * asked.len() / replies], number).await);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    let found = format!("median {:.1} ms, worst {worst:.1} ms", median(times));
    row(&format!("  a reply until its run has succeeded, {replies} times"), &found, "50 ms");
    house.stop();
}

/// From the reply to the end of the run that it was for, in milliseconds.
async fn answered(house: &House, run: &str, number: usize) -> f64 {
    let path = format!("/runs/{run}");
    let phone = house.get(&path).await["event"]["body"]["phone"].clone();
    let reply = json!({ "id": format!("REPLY{number}"), "from": phone, "text": format!("Yes, {number}") });
    let begun = Instant::now();
    house.post(&format!("/gateways/sandbox/{TOKEN}"), &reply).await;
    loop {
        let shown = house.get(&path).await;
        if shown["state"] == "succeeded" {
            let time = begun.elapsed();
            assert_eq!(shown["result"]["text"], reply["text"], "the run got its own answer");
            return time.as_secs_f64() * 1e3;
        }
        assert!(begun.elapsed() < PATIENCE, "the reply does not come through: {shown}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
