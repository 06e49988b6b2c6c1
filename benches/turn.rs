//! Turns by themselves: a first one, a replay of a long journal, an array that grows.
//!
//! `cargo bench --bench turn`
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postrider::id::RunId;
use postrider::model::accounts::{AccountFacts, Accounts};
use postrider::model::journal::Entry;
use postrider::model::policy::{Limits, OnUnsupported};
use postrider::model::walls::FlowNames;
use postrider::script::{Ending, Main, Program, TurnInput, TurnOutput, turn};
use postrider::transport::sandbox::Sandbox;

const SENDER: AccountFacts = AccountFacts {
    transport: "sandbox",
    capabilities: Sandbox::CAPABILITIES,
    on_unsupported: OnUnsupported::Emulate,
    flows: FlowNames::ALL,
    hears: Ok(()),
};

fn compiled(text: &str) -> Program {
    let program = Program::compile(Main { file: &"bench".into(), text: &text.into(), indent: 0 }, &|_| None);
    program.unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn once(program: &Program, journal: &Arc<Vec<Entry>>) -> TurnOutput {
    let by_name = BTreeMap::from([("main".to_owned(), SENDER)]);
    let accounts = Accounts { default: Some("main".into()), by_name, public: false };
    let output = turn(TurnInput {
        event: r#"{"body":{"order":17,"customer":{"name":"Ada","phone":"+15417543010"}}}"#,
        flow: "bench",
        accounts: Arc::new(accounts),
        seed: [2; 16],
        journal: journal.clone(),
        committed: journal.len(),
        limits: Limits { journal: 20_000, ..Limits::default() },
        cpu_left: Duration::from_secs(60),
        ..TurnInput::first(program, RunId::from_bytes([1; 16]), Timestamp::UNIX_EPOCH)
    });
    assert!(matches!(output.ending, Ending::Done(_)), "the script came to its end");
    output
}

/// The median of some rounds.
fn time(rounds: usize, mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

fn main() {
    let empty = Arc::new(Vec::new());
    let send =
        compiled("let order = event.body; send_text(order.customer.phone, `Thank you, ${order.customer.name}`);");
    println!("one turn that sends a text:             {:?}", time(2_001, || drop(once(&send, &empty))));

    let long = compiled("for i in 0..10_000 { kv::set(\"k\" + i, i); }");
    let journal = Arc::new(once(&long, &empty).entries);
    println!("10,000 recorded calls, made:            {:?}", time(11, || drop(once(&long, &empty))));
    println!("10,000 recorded calls, replayed:        {:?}", time(11, || drop(once(&long, &journal))));

    let grow = compiled("let a = []; for i in 0..10_000 { a.push(\"a string that is not short: \" + i); } a.len");
    println!("10,000 pushes of strings (below 30 ms): {:?}", time(11, || drop(once(&grow, &empty))));
}
