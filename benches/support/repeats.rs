//! A webhook that senders post twice, each time at nearly the same moment, to a flow that runs once for each key.

use crate::house::House;
use crate::posts::{self, Post};
use crate::row;

const FLOW: &str = "triggers:\n  - webhook: { path: /orders, dedupe: { body: id, window: 1h } }\nrun: event.body.id\n";

/// So many requests; each of their keys comes twice.
pub async fn show(requests: usize, connections: usize) {
    let house = House::open("{}\n", &[("orders", FLOW)]);
    let cpu = house.engine.cpu();
    let posted = posts::all(house.engine.public, connections, requests, |number| {
        let body = format!(r#"{{"id":"order-{}","lines":[1,2,3]}}"#, number / 2);
        Post { path: "/hooks/orders", signature: None, body }
    })
    .await;
    let cpu = (house.engine.cpu() - cpu).as_secs_f64() * 1e6 / requests as f64;
    house.empty(&["state=queued", "state=running"].map(|filter| ("runs", filter))).await;
    let runs = house.rows("runs", "state=succeeded", |_| {}).await;
    assert_eq!(runs, requests.div_ceil(2), "one run for two requests");
    let found = format!("{:.0}/s, p99 {:.1} ms", posted.rate(), posted.percentile(99));
    row(&format!("webhooks with `dedupe`: {requests}, each key twice"), &found, "5,000/s");
    row("  each key ran once", &format!("{runs} runs, {cpu:.0} µs of CPU each"), "");
    house.stop();
}
