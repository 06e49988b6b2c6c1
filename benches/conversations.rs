//! Conversations at scale: many runs wait while single people answer, a gateway tells a lot at once,
//! scripts call other servers. The engine is its own process; load, gateway and servers share the
//! machine with it.
//!
//! `cargo bench --bench conversations -- --runs 200000 --replies 50 --acks 100000 --incoming 20000 --gets 1000
//! --slow 5000 --repeats 100000 --connections 256`; a part whose count is 0 is left out.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/fetching.rs"]
mod fetching;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/house.rs"]
mod house;
#[path = "support/posts.rs"]
mod posts;
#[path = "support/repeats.rs"]
mod repeats;
#[path = "support/told.rs"]
mod told;
#[path = "support/waiting.rs"]
mod waiting;

use figures::flag;

fn main() {
    let number = |name: &str, default: u64| usize::try_from(flag(name, default)).unwrap_or(usize::MAX);
    let connections = number("--connections", 256).max(1);
    let (runs, replies) = (number("--runs", 200_000), number("--replies", 50));
    let (acks, incoming) = (number("--acks", 100_000), number("--incoming", 20_000));
    let (gets, slow) = (number("--gets", 1_000), number("--slow", 5_000));
    let repeats = number("--repeats", 100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    row("figure", "found", "goal");
    runtime.block_on(async {
        if runs > 0 {
            waiting::show(runs, replies, connections).await;
        }
        if acks > 0 || incoming > 0 {
            told::show(acks, incoming, connections).await;
        }
        if gets > 0 || slow > 0 {
            fetching::show(gets, slow, connections).await;
        }
        if repeats > 0 {
            repeats::show(repeats, connections).await;
        }
    });
}

/// One line of the table.
fn row(figure: &str, found: &str, goal: &str) {
    println!("{figure:<56} {found:>32}  {goal}");
}
