//! Commands as they are drawn by chance: which run and which message they mean is seen when they come.

use postrider::store::records::Decision;
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

/// A message that a turn promises.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub to: usize,
    pub delay: Option<u8>,
    pub valid_for: Option<u8>,
    pub keep: bool,
    pub key: Option<u8>,
}

/// How a turn ends.
#[derive(Clone, Debug)]
pub enum End {
    Succeed,
    Fail,
    Retry(u8),
    Sleep(u8),
    Delivery { message: usize, goal: u8, seconds: u8 },
    Event { name: u8, key: Option<u8>, seconds: u8 },
    Words(u8),
    Ask { to: usize, seconds: u8 },
    Cancel { message: usize },
    Increment { shared: bool, by: i8 },
}

/// A value that is written: shared, name, value or none, seconds to live.
pub type Write = (bool, u8, Option<u8>, Option<u8>);

#[derive(Clone, Debug)]
pub enum Command {
    Intake,
    Turn { run: usize, promises: Vec<Sketch>, kv: Vec<Write>, event: Option<(u8, Option<u8>)>, end: End },
    OldTurn { run: usize },
    Wake,
    Move { resend: bool },
    Claim { skip: usize, take: usize },
    Settle { message: usize, verdict: u8 },
    Ack { message: usize, fate: u8 },
    Letter { from: usize, word: u8, event: u8, begins: bool },
    Decide { message: usize, decision: Decision },
    Cancel { run: usize },
    Retry { run: usize },
    EndWait { run: usize },
    Recover,
    Reopen,
}

fn promise() -> impl Strategy<Value = Sketch> {
    (0..3usize, weighted(0.3, 1..90u8), weighted(0.3, 1..120u8), any::<bool>(), weighted(0.2, 0..2u8))
        .prop_map(|(to, delay, valid_for, keep, key)| Sketch { to, delay, valid_for, keep, key })
}

fn end() -> impl Strategy<Value = End> {
    let seconds = 1..120u8;
    prop_oneof![
        2 => Just(End::Succeed),
        2 => Just(End::Fail),
        1 => seconds.clone().prop_map(End::Retry),
        2 => seconds.clone().prop_map(End::Sleep),
        3 => (0..9usize, 0..4u8, seconds.clone())
            .prop_map(|(message, goal, seconds)| End::Delivery { message, goal, seconds }),
        3 => (0..2u8, of(0..2u8), seconds.clone()).prop_map(|(name, key, seconds)| End::Event { name, key, seconds }),
        2 => seconds.clone().prop_map(End::Words),
        4 => (0..2usize, seconds).prop_map(|(to, seconds)| End::Ask { to, seconds }),
        2 => (0..9usize).prop_map(|message| End::Cancel { message }),
        1 => (any::<bool>(), any::<i8>()).prop_map(|(shared, by)| End::Increment { shared, by }),
    ]
}

fn turn() -> impl Strategy<Value = Command> {
    let kv = vec((any::<bool>(), 0..2u8, of(any::<u8>()), of(1..90u8)), 0..2);
    (0..9usize, vec(promise(), 0..3), kv, of((0..2u8, of(0..2u8))), end())
        .prop_map(|(run, promises, kv, event, end)| Command::Turn { run, promises, kv, event, end })
}

fn decision() -> impl Strategy<Value = Decision> {
    use Decision::*;
    prop_oneof![Just(Cancel), Just(Retry), Just(ReleaseAsSent), Just(ReleaseAndResend)]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => Just(Command::Intake),
        14 => turn(),
        1 => (0..9usize).prop_map(|run| Command::OldTurn { run }),
        3 => Just(Command::Wake),
        3 => any::<bool>().prop_map(|resend| Command::Move { resend }),
        6 => (0..3usize, 1..5usize).prop_map(|(skip, take)| Command::Claim { skip, take }),
        8 => (0..60usize, 0..8u8).prop_map(|(message, verdict)| Command::Settle { message, verdict }),
        4 => (0..60usize, 0..5u8).prop_map(|(message, fate)| Command::Ack { message, fate }),
        5 => (0..3usize, 0..6u8, 0..20u8, any::<bool>())
            .prop_map(|(from, word, event, begins)| Command::Letter { from, word, event, begins }),
        3 => (0..60usize, decision()).prop_map(|(message, decision)| Command::Decide { message, decision }),
        2 => (0..9usize).prop_map(|run| Command::Cancel { run }),
        2 => (0..9usize).prop_map(|run| Command::Retry { run }),
        2 => (0..9usize).prop_map(|run| Command::EndWait { run }),
        1 => Just(Command::Recover),
        1 => Just(Command::Reopen),
    ]
}

/// Commands, each with the seconds that pass before it.
pub fn commands() -> impl Strategy<Value = Vec<(u8, Command)>> {
    vec((1..40u8, command()), 1..40)
}

/// The name of the value that is counted up.
pub const SUM: u8 = 2;
