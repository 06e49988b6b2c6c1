//! What a store owes to its callers, noun by noun, and by random commands against a model of it.
//!
//! All of it stands in the design (its sections on runs, the outbox and triggers); none of it looks at tables.

mod chaos;
mod events;
mod flows;
mod inbound;
mod keep;
mod lists;
mod messages;
mod model;
mod outbox;
mod people;
mod phones;
mod presence;
mod questions;
mod runs;
mod triggers;
mod troubles;
mod values;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postrider::id::{MessageId, RunId};
use postrider::ledger::Ledger as Durable;
use postrider::model::delivery::MessageState;
use postrider::model::inbound::{Ack, Fate as AckFate, OwnId, Told, Written};
use postrider::model::journal::{Digest, Entry, Kind, Outcome, Pending, Promises, TurnCommit};
use postrider::model::message::{Body, Content, NewMessage, SendOptions};
use postrider::model::opt_out::OptOut;
use postrider::model::policy::Retry;
use postrider::model::question::Question;
use postrider::model::recipient::Recipient;
use postrider::model::run::{NewRun, RunState, ScriptError};
use postrider::model::walls::FlowNames;
use postrider::store::records::*;
use postrider::store::{Signals, Store};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const ADA: &str = "+15417543010";
pub const BOB: &str = "+15417543011";
pub const EVE: &str = "+15417543012";
/// The form of Ada that hides her phone.
pub const LID: &str = "251556368777322@lid";
/// So many runs may wait for their first turn, unless a test says otherwise.
const BACKLOG: u64 = 1_000;

/// A store in a folder of its own.
pub struct Ledger {
    store: Arc<dyn Store>,
    folder: TempDir,
}

impl Deref for Ledger {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

fn opened(folder: &TempDir, backlog: u64) -> Arc<dyn Store> {
    Arc::new(Durable::open(&folder.path().join("state.db"), backlog, Signals::default()).unwrap())
}

impl Ledger {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: opened(&folder, BACKLOG), folder }
    }

    /// The same file, opened again: as after a stop.
    pub fn again(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        Self { store: opened(&folder, BACKLOG), folder }
    }

    /// Accepts a run of `flow`.
    pub async fn begin(&self, number: u8) {
        self.intake(run(number)).await.unwrap();
    }

    /// A run as it is ready, if it is.
    pub async fn ready(&self, number: u8) -> Option<ReadyRun> {
        let ready = self.ready_runs("flow", 0, 1_000).await.unwrap();
        ready.into_iter().find(|ready| ready.id == run_id(number))
    }

    /// Commits a turn made from what is ready now.
    pub async fn commit(&self, turn: TurnCommit) -> Committed {
        let ready = self.ready_runs(&turn.flow, 0, 1_000).await.unwrap();
        let ready = ready.iter().find(|ready| ready.id == turn.run).map_or(0, |ready| ready.ready);
        self.commit_turn(TurnCommit { ready, ..turn }).await.unwrap()
    }

    /// A new run that waits for the answer to a question.
    pub async fn waits(&self, number: u8, question: Question) -> Committed {
        self.begin(number).await;
        let committed = self.commit(turn(number, asks(question))).await;
        assert!(is_yes(&committed), "{committed:?}");
        committed
    }

    pub async fn run_state(&self, number: u8) -> RunState {
        self.run(run_id(number)).await.unwrap().unwrap().state
    }

    pub async fn record(&self, number: u8) -> MessageRecord {
        self.message(id(number)).await.unwrap().unwrap()
    }

    pub async fn state(&self, number: u8) -> MessageState {
        self.record(number).await.state
    }

    /// Puts a message into the outbox.
    pub async fn put(&self, message: NewMessage) {
        self.promise(vec![message], at(0)).await.unwrap();
    }

    /// Opens an attempt; says whether that was possible.
    pub async fn claims(&self, number: u8, now: Timestamp) -> bool {
        let claims = self.claim("main", vec![id(number).into()], ClaimRules::default(), now).await.unwrap();
        claims.claimed.len() == 1
    }

    pub async fn settles(&self, number: u8, verdict: Verdict, now: Timestamp) {
        self.settle(Settlement { id: id(number), at: now, verdict, parts: Vec::new(), opened: None }).await.unwrap();
    }

    /// Sends a message; it ends so.
    pub async fn sends(&self, number: u8, verdict: Verdict) {
        assert!(self.claims(number, at(1)).await, "message {number} cannot be claimed");
        self.settles(number, verdict, at(2)).await;
    }

    /// What became of what people wrote.
    pub async fn hears(&self, told: Vec<Received>, now: Timestamp) -> Vec<Fate> {
        self.receive(inbound(told, now)).await.unwrap()
    }

    /// The numbers of the messages that are queued for `main`, in their order.
    pub async fn lane(&self) -> Vec<u8> {
        let due = self.due_messages("main", 0, 1_000).await.unwrap();
        due.iter().map(|due| due.id.as_bytes()[0]).collect()
    }

    /// Brings a message into a state, before second 10.
    pub async fn bring(&self, message: NewMessage, state: MessageState) {
        use MessageState::*;
        let number = message.id.as_bytes()[0];
        let error = || ("upstream".to_owned(), "no".to_owned());
        let again = Verdict::TryAgain { error: error(), due_at: at(3), counts: true };
        let doubt = Verdict::Doubt { error: "?".into(), provider_id: Some(provider(number)) };
        match state {
            Scheduled => self.put(NewMessage { at: Some(at(100)), ..message }).await,
            Expired => {
                self.put(NewMessage { valid_for: Some(Duration::from_secs(1)), ..message }).await;
                self.move_messages(at(1), Vec::new()).await.unwrap();
            }
            _ => self.put(message).await,
        }
        match state {
            Scheduled | Expired => {}
            Queued => self.sends(number, again).await,
            Sending => assert!(self.claims(number, at(1)).await),
            Accepted | Sent | Delivered | Read => self.sends(number, reached(number, state)).await,
            Unknown => self.sends(number, doubt).await,
            Rejected => self.sends(number, Verdict::Refuse { error: error() }).await,
            Dead => self.sends(number, Verdict::GiveUp { error: error() }).await,
            Cancelled => {
                let now = self.decide(id(number), Decision::Cancel, at(2)).await.unwrap();
                assert_eq!(now, Decided::Now(Cancelled));
            }
        }
        assert_eq!(self.state(number).await, state);
    }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub fn ms(second: i64) -> i64 {
    at(second).as_millisecond()
}

pub fn run_id(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

pub fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

/// What the gateway calls a message.
pub fn provider(number: u8) -> String {
    format!("P{number}")
}

pub fn run(number: u8) -> NewRun {
    NewRun {
        id: run_id(number),
        flow: "flow".into(),
        version: "v1".into(),
        trigger: "manual".into(),
        root: None,
        generation: 0,
        marks: Vec::new(),
        slot: None,
        event: json!({ "n": number }).to_string().into(),
        seed: [number; 16],
        at: at(0),
    }
}

pub fn text(text: &str) -> Body {
    Body { content: Content::Text { text: text.into() }, options: SendOptions::default() }
}

pub fn message(number: u8, to: &str) -> NewMessage {
    NewMessage {
        id: id(number),
        run: None,
        flow: "flow".into(),
        account: "main".into(),
        to: Recipient::parse(to).unwrap(),
        body: text(&format!("m{number}")),
        at: None,
        valid_for: None,
        key: None,
    }
}

/// A link that is counted.
pub fn link(number: u8, to: &str) -> NewMessage {
    let content = Content::Link {
        url: "https://example.com/".into(),
        caption: None,
        title: None,
        description: None,
        thumbnail: None,
        high_quality: None,
        preview: None,
        track: Some(true),
    };
    NewMessage { body: Body { content, options: SendOptions::default() }, ..message(number, to) }
}

pub fn turn(number: u8, outcome: Outcome) -> TurnCommit {
    TurnCommit {
        run: run_id(number),
        flow: "flow".into(),
        ready: 0,
        attempt: 1,
        at: at(1),
        cpu: Duration::from_millis(5),
        waited_for: None,
        entries: Vec::new(),
        lost: Vec::new(),
        promises: Promises::default(),
        outcome,
        follow_up: None,
    }
}

/// A turn that promises messages.
pub fn promises(number: u8, messages: Vec<NewMessage>, outcome: Outcome) -> TurnCommit {
    let mut turn = turn(number, outcome);
    turn.promises.messages = messages.into_iter().map(Arc::new).collect();
    turn
}

pub fn pending(position: u32, question: Question) -> Pending {
    let request = RawValue::from_string("{}".into()).unwrap();
    let kind = match &question {
        Question::Wait(postrider::model::question::Wait::Delivery { .. }) => Kind::Wait,
        Question::Change(postrider::model::question::Change::Cancel { .. }) => Kind::Cancel,
        Question::Errand(postrider::model::question::Errand::Http { .. }) => Kind::Http,
        Question::Change(postrider::model::question::Change::Increment { .. }) => Kind::KvIncrement,
        Question::Wait(postrider::model::question::Wait::Ask(_)) => Kind::Ask,
        Question::Wait(postrider::model::question::Wait::Message { .. }) => Kind::WaitMessage,
        Question::Wait(postrider::model::question::Wait::Event { .. }) => Kind::WaitEvent,
        _ => Kind::Sleep,
    };
    Pending { position, kind, digest: Digest::of("{}"), line: 1, request, asked_at: None, question }
}

pub fn entry(position: u32, result: Value) -> Entry {
    let kind = Kind::Now;
    Pending { kind, ..pending(position, Question::Wait(postrider::model::question::Wait::Sleep { until: 0 })) }
        .answered(at(1), Ok(result))
}

/// The run waits for the answer.
pub fn asks(question: Question) -> Outcome {
    Outcome::Waiting(pending(0, question))
}

pub fn sleeps(second: i64) -> Outcome {
    asks(Question::Wait(postrider::model::question::Wait::Sleep { until: ms(second) }))
}

pub fn ends() -> Outcome {
    Outcome::Succeeded(Value::Null)
}

pub fn fails() -> Outcome {
    Outcome::Failed(ScriptError::new("thrown", "no"))
}

pub fn is_yes(committed: &Committed) -> bool {
    matches!(committed, Committed::Yes { .. })
}

pub fn reached(number: u8, state: MessageState) -> Verdict {
    Verdict::Reached { state, provider_id: Some(provider(number)), chat: None, degraded: Vec::new() }
}

pub fn inbound(told: Vec<Received>, now: Timestamp) -> Inbound {
    let retry = Retry { attempts: 8, first: Duration::from_secs(2), max: Duration::from_secs(600) };
    let opt_out = Some(OptOut::usual("en"));
    Inbound { account: "main".into(), window: false, opt_out, retry, flows: FlowNames::ALL, told, now }
}

/// A gateway says how far a message is.
pub fn ack(number: u8, fate: AckFate) -> Received {
    let ours = Some(OwnId { message: id(number), part: 0 });
    Received::Told(Told::Ack(Ack { message_id: provider(number), ours, chat: None, fate }))
}

/// Somebody writes in a private chat.
pub fn letter(event: &str, from: &str, text: &str, when: Timestamp) -> Letter {
    let from = Recipient::parse(from).unwrap();
    let seen = json!({ "from": from, "text": text, "message_id": event });
    let written = Written {
        event_id: event.into(),
        message_id: event.into(),
        at: when,
        chat: from.clone(),
        from,
        name: None,
        kind: "text",
        text: Some(text.into()),
        media: None,
        fields: None,
        reply_to: None,
    };
    Letter { written, event: seen, first: Vec::new(), others: Vec::new() }
}

pub fn posted(letter: Letter) -> Vec<Received> {
    vec![Received::Letter(Box::new(letter))]
}

/// The names of the methods of a trait, as they stand in its source.
fn methods<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let start = source.find(&format!("trait {name}")).unwrap();
    let body = &source[start..];
    let body = &body[..body.find("\n}").unwrap()];
    let words = body.split("    fn ").skip(1);
    words.map(|rest| &rest[..rest.find(['(', '<']).unwrap()]).collect()
}

#[test]
fn every_method_of_the_store_is_called_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/store/mod.rs")).unwrap();
    let mut suite = String::new();
    let files =
        ["tests/it/ledger", "tests/it/ledger/chaos"].map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    for path in files.into_iter().flatten().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        suite.push_str(&std::fs::read_to_string(path).unwrap());
    }
    let all = methods(&source, "Store");
    assert!(all.len() > 60, "only {} methods were found", all.len());
    let missing: Vec<_> = all.into_iter().filter(|name| !suite.contains(&format!(".{name}("))).collect();
    assert!(missing.is_empty(), "no test here calls {missing:?}");
}
