//! Random commands to a store and to the model of one: after each of them both show the same.
//!
//! The cases are always the same; a case that fails is printed, as short as it can be made.

mod compare;
mod sketch;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postrider::clock::from_millis;
use postrider::id::{MessageId, RunId};
use postrider::model::delivery::{ErrorClass, MessageState};
use postrider::model::inbound::{Ack, Fate as AckFate, Told};
use postrider::model::journal::{Digest, Emitted, KvWrite, Outcome, Retrying, TurnCommit};
use postrider::model::message::NewMessage;
use postrider::model::question::{Asked, Question};
use postrider::model::recipient::Recipient;
use postrider::model::run::{NewRun, RunState, ScriptError};
use postrider::store::records::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::model::{Message, Model, Place, Promise, Said, Wait};
use super::{ADA, BOB, EVE, Ledger, at, entry, inbound, letter, message, pending, posted, run, turn};
use MessageState::*;
use sketch::{Command, End, Sketch};

/// Cases of so many commands at most.
const CASES: u32 = 64;
const PEOPLE: [&str; 3] = [ADA, BOB, EVE];
/// Whoever is waited for by `wait_for_message`; the others are asked.
const TALKER: usize = 2;
/// An unknown message is sent again after so long.
const DOUBT: i64 = 60_000;

fn bytes(number: u32) -> [u8; 16] {
    let [a, b, c, d] = number.to_be_bytes();
    [1, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, a, b, c, d]
}

fn number(bytes: &[u8; 16]) -> u32 {
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

fn mid(number: u32) -> MessageId {
    MessageId::from_bytes(bytes(number))
}

fn rid(number: u32) -> RunId {
    RunId::from_bytes(bytes(number))
}

/// A store, the model of it, and what both are told.
struct World {
    ledger: Option<Ledger>,
    model: Model,
    now: i64,
    last: u32,
    /// The numbers that runs were ready with when they had their last turn.
    old: BTreeMap<u32, i64>,
    /// Runs that failed behind a question to a person: what a retry does then is another test's.
    asked: BTreeSet<u32>,
}

impl World {
    fn store(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    fn time(&self) -> Timestamp {
        from_millis(self.now)
    }

    fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn pick<T: Clone>(from: impl IntoIterator<Item = T>, choice: usize) -> Option<T> {
        let all: Vec<T> = from.into_iter().collect();
        all.get(choice % all.len().max(1)).cloned()
    }

    fn some_message(&self, choice: usize) -> Option<u32> {
        Self::pick(self.model.messages.keys().copied(), choice)
    }

    fn some_run(&self, choice: usize) -> Option<u32> {
        Self::pick(self.model.runs.keys().copied(), choice)
    }

    async fn obey(&mut self, command: &Command) {
        match command {
            Command::Intake => self.intake().await,
            Command::Turn { run, promises, kv, event, end } => self.turn(*run, promises, kv, *event, end).await,
            Command::OldTurn { run } => self.old_turn(*run).await,
            Command::Wake => self.wake().await,
            Command::Move { resend } => self.move_messages(*resend).await,
            Command::Claim { skip, take } => self.claim(*skip, *take).await,
            Command::Settle { message, verdict } => self.settle(*message, *verdict).await,
            Command::Ack { message, fate } => self.ack(*message, *fate).await,
            Command::Letter { from, word, event, begins } => self.letter(*from, *word, *event, *begins).await,
            Command::Decide { message, decision } => self.decide(*message, *decision).await,
            Command::Cancel { run } => self.cancel(*run).await,
            Command::Retry { run } => self.retry(*run).await,
            Command::EndWait { run } => self.end_wait(*run).await,
            Command::Recover => self.recover().await,
            Command::Reopen => self.ledger = self.ledger.take().map(Ledger::again),
        }
    }

    fn new_run(&mut self) -> NewRun {
        let number = self.fresh();
        NewRun { id: rid(number), at: self.time(), ..run(1) }
    }

    async fn intake(&mut self) {
        let run = self.new_run();
        self.model.intake(number(run.id.as_bytes()));
        self.store().intake(run).await.unwrap();
    }

    async fn wake(&mut self) {
        self.model.loosen();
        let woken = self.store().wake_runs(self.time()).await.unwrap();
        assert_eq!(woken.count, self.model.wake(self.now), "woken");
        assert_eq!(woken.next.map(|at| at.as_millisecond()), self.model.next_wake(), "the next to be woken");
    }

    async fn move_messages(&mut self, resend: bool) {
        // Whether a doubt is sent again that is worth nothing by now is not said.
        let is_limited = |message: &Message| message.state == Unknown && message.valid_until.is_some();
        let resend = resend && !self.model.messages.values().any(is_limited);
        let after = std::time::Duration::from_millis(DOUBT.unsigned_abs());
        let policy = ResendPolicy { account: "main".into(), after, attempts: 1_000 };
        let policies = if resend { vec![policy] } else { Vec::new() };
        self.store().move_messages(self.time(), policies).await.unwrap();
        self.model.move_messages(self.now, resend.then_some(DOUBT));
    }

    async fn recover(&mut self) {
        // A question in doubt is another test's.
        if self.model.messages.values().any(|message| message.state == Sending && message.is_question) {
            return;
        }
        let open = self.store().recover(self.time()).await.unwrap();
        assert_eq!(open, self.model.recover(self.now));
    }

    async fn claim(&mut self, skip: usize, take: usize) {
        let asked: Vec<u32> = self
            .model
            .lane()
            .into_iter()
            .map(|(number, _)| number)
            .skip(skip)
            .take(take)
            .chain(self.some_message(skip))
            .collect();
        let ids = asked.iter().map(|number| mid(*number).into()).collect();
        let claims = self.store().claim("main", ids, ClaimRules::default(), self.time()).await.unwrap();
        let mut claimed: Vec<u32> = claims.claimed.iter().map(|claimed| number(claimed.id.as_bytes())).collect();
        claimed.sort_unstable();
        let fits = |number: &u32| {
            let message = &self.model.messages[number];
            message.state == Queued && !message.is_stale(self.now) && !self.model.opted_out.contains(&message.to)
        };
        let wanted: BTreeSet<u32> = asked.iter().copied().filter(fits).collect();
        assert_eq!(claimed, wanted.iter().copied().collect::<Vec<_>>(), "claimed");
        for number in wanted {
            self.model.messages.get_mut(&number).unwrap().claims += 1;
            self.model.moves(number, Sending, self.now);
        }
    }

    async fn settle(&mut self, choice: usize, verdict: u8) {
        let sending: Vec<u32> =
            self.model.messages.iter().filter(|(_, m)| m.state == Sending).map(|(n, _)| *n).collect();
        // Now and then one that has no attempt open.
        let chosen = if choice.is_multiple_of(5) { self.some_message(choice) } else { Self::pick(sending, choice) };
        let Some(number) = chosen else { return };
        let is_open = self.model.messages[&number].state == Sending;
        // A late yes is evidence: what it does, the table does not say.
        if !is_open && verdict > 1 {
            return;
        }
        let provider_id = Some(format!("P{number}"));
        let error = ("upstream".to_owned(), "no".to_owned());
        let is_question = self.model.messages[&number].is_question;
        let due = self.now + 5_000;
        let reached =
            |state| Verdict::Reached { state, provider_id: provider_id.clone(), chat: None, degraded: Vec::new() };
        let (verdict, state) = match verdict {
            0 => (Verdict::TryAgain { error, due_at: from_millis(due), counts: true }, Queued),
            1 if !is_question => (Verdict::Doubt { error: "?".into(), provider_id: provider_id.clone() }, Unknown),
            2 => (Verdict::Refuse { error }, Rejected),
            3 => (Verdict::GiveUp { error }, Dead),
            4 => (reached(Sent), Sent),
            5 => (reached(Delivered), Delivered),
            _ => (reached(Accepted), Accepted),
        };
        let settlement = Settlement { id: mid(number), at: self.time(), verdict, parts: Vec::new(), opened: None };
        self.store().settle(settlement).await.unwrap();
        if !is_open {
            return;
        }
        let message = self.model.messages.get_mut(&number).unwrap();
        match state {
            Queued => message.due_at = Some(due),
            Rejected | Dead => {}
            _ => message.provider = true,
        }
        match state {
            Unknown => self.model.doubts(number, self.now),
            _ => self.model.moves(number, state, self.now),
        }
    }

    async fn ack(&mut self, choice: usize, fate: u8) {
        let known: Vec<u32> = self.model.messages.iter().filter(|(_, m)| m.provider).map(|(n, _)| *n).collect();
        let Some(number) = Self::pick(known, choice) else { return };
        let state = self.model.messages[&number].state;
        // What an ack does to what is tried again, or was refused, the table does not say.
        if matches!(state, Sending | Queued | Rejected) {
            return;
        }
        let reached = [Accepted, Sent, Delivered, Read].get(usize::from(fate)).copied();
        let failed = AckFate::Failed { class: ErrorClass::Invalid, error: "no".into() };
        let ack = Ack {
            message_id: format!("P{number}"),
            ours: None,
            chat: None,
            fate: reached.map_or(failed, AckFate::Reached),
        };
        let told = inbound(vec![Received::Told(Told::Ack(ack))], self.time());
        assert!(self.store().receive(told).await.unwrap().is_empty());
        match reached {
            Some(reached) => self.model.acked(number, reached, self.now),
            None if matches!(state, Accepted | Sent) => self.model.moves(number, Rejected, self.now),
            None => {}
        }
    }

    async fn letter(&mut self, from: usize, word: u8, event: u8, begins: bool) {
        self.wake().await;
        let question = self.model.open_question(from);
        let state = question.map(|(_, message)| self.model.messages[&message].state);
        // Whoever answers while the answer of the gateway is not there yet may be understood or not.
        if state == Some(Sending) {
            return;
        }
        let is_out = matches!(state, Some(Accepted | Sent | Delivered | Read));
        let text = match word {
            0 if self.model.questions(from) == usize::from(is_out) && self.model.listener(from).is_none() => "stop",
            1 if self.model.opted_out.contains(&from) => "start",
            _ => "hello",
        };
        let run = self.new_run();
        let begun = number(run.id.as_bytes());
        let mut letter = letter(&format!("E{event}"), PEOPLE[from], text, self.time());
        if begins {
            letter.others = vec![run];
        }
        let fates = self.store().receive(inbound(posted(letter), self.time())).await.unwrap();
        let wanted = if !self.model.heard.insert(event) {
            Fate::Known
        } else if text == "stop" {
            self.model.opted_out.insert(from);
            if let Some((run, _)) = question {
                self.model.answer(run, Said::Thrown("opted_out"), self.now);
            }
            Fate::Opted
        } else if text == "start" {
            self.model.opted_out.remove(&from);
            Fate::Opted
        } else if let Some(run) = question.map(|(run, _)| run).filter(|_| is_out).or(self.model.listener(from)) {
            self.model.answer(run, Said::Value(Some("text"), json!(text)), self.now);
            Fate::Answered(rid(run))
        } else if begins {
            self.model.intake(begun);
            Fate::Began(vec![rid(begun)])
        } else {
            Fate::Unwanted
        };
        assert_eq!(fates, [wanted]);
    }

    async fn decide(&mut self, choice: usize, decision: Decision) {
        let Some(number) = self.some_message(choice) else { return };
        let message = &self.model.messages[&number];
        let is_again = matches!(decision, Decision::Retry | Decision::ReleaseAndResend);
        // Whether a second round is worth the same time, and whether it is rejected at once, is not said.
        if is_again && (message.valid_until.is_some() || self.model.opted_out.contains(&message.to)) {
            return;
        }
        let before = message.state;
        let decided = self.store().decide(mid(number), decision, self.time()).await.unwrap();
        let wanted = self.model.decide(number, decision, self.now);
        assert_eq!(decided, wanted.map_or(Decided::NotIn(before), Decided::Now));
    }

    async fn cancel(&mut self, choice: usize) {
        let Some(number) = self.some_run(choice) else { return };
        self.model.loosen();
        let decided = self.store().cancel_run(rid(number), self.time()).await.unwrap();
        match self.model.runs[&number].place {
            Place::Over(state) => assert_eq!(decided, RunDecided::NotIn(state)),
            _ => {
                assert_eq!(decided, RunDecided::Done);
                self.model.cancel(number, self.now);
            }
        }
    }

    async fn retry(&mut self, choice: usize) {
        let Some(number) = self.some_run(choice).filter(|number| !self.asked.contains(number)) else { return };
        let decided = self.store().retry_run(rid(number)).await.unwrap();
        match self.model.runs[&number].place {
            Place::Over(RunState::Failed) => {
                assert_eq!(decided, RunDecided::Done);
                let run = self.model.runs.get_mut(&number).unwrap();
                (run.place, run.attempt) = (Place::Ready(Said::Anything), run.attempt + 1);
            }
            Place::Over(state) => assert_eq!(decided, RunDecided::NotIn(state)),
            _ => assert!(matches!(decided, RunDecided::NotIn(state) if !state.is_over()), "{decided:?}"),
        }
    }

    async fn end_wait(&mut self, choice: usize) {
        let Some(number) = self.some_run(choice) else { return };
        self.model.loosen();
        match self.model.runs[&number].place.clone() {
            // Of a question that is not out yet the time has not begun.
            Place::Waiting(_, None) => {}
            Place::Waiting(..) => {
                assert_eq!(self.store().end_wait(rid(number), self.time()).await.unwrap(), RunDecided::Done);
                self.model.time_is_up(number, self.now);
            }
            place => {
                let decided = self.store().end_wait(rid(number), self.time()).await.unwrap();
                let is_right = |state: RunState| match place {
                    Place::Over(over) => over == state,
                    _ => !state.is_over(),
                };
                assert!(matches!(decided, RunDecided::NotIn(state) if is_right(state)), "{decided:?} of {place:?}");
            }
        }
    }

    async fn old_turn(&mut self, choice: usize) {
        let Some(run) = Self::pick(self.old.keys().copied(), choice) else { return };
        let number = self.fresh();
        let mut commit = TurnCommit { run: rid(run), at: self.time(), ready: self.old[&run], ..turn(1, super::ends()) };
        commit.promises.messages = vec![NewMessage { id: mid(number), ..message(1, ADA) }.into()];
        let committed = self.store().commit_turn(commit).await.unwrap();
        let is_over = matches!(self.model.runs[&run].place, Place::Over(_));
        assert_eq!(committed, if is_over { Committed::Over } else { Committed::Stale });
    }
}

#[test]
fn a_store_does_what_the_model_of_it_does_whatever_comes() {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        rng_seed: RngSeed::Fixed(0x706f_7374),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = TestRunner::new(config).run(&sketch::commands(), |commands| {
        runtime.block_on(played(&commands));
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
}

async fn played(commands: &[(u8, Command)]) {
    let mut world = World {
        ledger: Some(Ledger::new()),
        model: Model::default(),
        now: at(0).as_millisecond(),
        last: 0,
        old: BTreeMap::new(),
        asked: BTreeSet::new(),
    };
    for (seconds, command) in commands {
        world.now += 1_000 * i64::from(*seconds);
        world.obey(command).await;
        world.compare().await;
    }
    world.obey(&Command::Reopen).await;
    world.compare().await;
}
