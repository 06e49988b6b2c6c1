//! A lane on a real store, with a defect in the middle of an attempt.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::blobs::Blobs;
use crate::clock::{Clock, HandClock, Passed};
use crate::feed::Feed;
use crate::fetch::Fetch;
use crate::ledger::Ledger;
use crate::links::LinkKey;
use crate::model::delivery::MessageState;
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::policy::{OnUnknown, OnUnsupported, Pace, Retry};
use crate::model::recipient::Recipient;
use crate::secret::Secret;
use crate::shutdown::{Phase, channel};
use crate::store::Signals;
use crate::transport::gateway::Adapter as _;
use crate::transport::sandbox::{Sandbox, SandboxOptions};
use crate::transport::site::{Phones, Site};
use crate::transport::{Download, Outgoing};
use crate::wake::Bell;

/// A clock that panics once, the next time it is asked.
struct OddClock {
    hands: HandClock,
    breaks: AtomicBool,
}

impl Clock for OddClock {
    fn now(&self) -> Timestamp {
        assert!(!self.breaks.swap(false, Ordering::SeqCst), "the clock broke down");
        self.hands.now()
    }

    fn sleep_until(&self, instant: Timestamp, since: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.hands.sleep_until(instant, since)
    }

    fn passed(&self) -> Passed {
        self.hands.passed()
    }
}

/// Phones that tell what they get, and break the clock with the first message: its attempt asks for the time only
/// when the wire has been touched, where nothing catches a panic any more.
struct BreakingPhones {
    clock: Arc<OddClock>,
    is_first: AtomicBool,
    got: mpsc::UnboundedSender<MessageId>,
}

impl Phones for BreakingPhones {
    fn receive(&self, _: &str, message: Outgoing) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send>> {
        self.got.send(message.id).unwrap();
        if self.is_first.swap(false, Ordering::SeqCst) {
            self.clock.breaks.store(true, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(Ok(true)))
    }

    fn file(&self, _: &str) -> Download {
        unreachable!("nobody sends a file")
    }
}

fn account(phones: BreakingPhones) -> Account {
    let phones: Arc<dyn Phones> = Arc::new(phones);
    let site = Site { account: "main", public_url: None, inbound_token: None, phones: &phones };
    Account {
        name: "main".into(),
        kind: "sandbox",
        transport: Arc::new(Sandbox::new(&SandboxOptions::default(), &site).unwrap()),
        // One at a time: a permit that is not given back would be the last one.
        pace: Pace { jitter: Some(Duration::from_millis(1)), ..Pace::UNLIMITED },
        retry: Retry { attempts: 3, first: Duration::from_secs(1), max: Duration::from_secs(1) },
        on_unknown: OnUnknown::Hold,
        unknown_after: Duration::from_secs(60),
        on_unsupported: OnUnsupported::Emulate,
        zone: jiff::tz::TimeZone::UTC,
        fallback: None,
        public_url: None,
        inbound_token: None,
        opt_out: None,
    }
}

fn message(number: u8) -> NewMessage {
    NewMessage {
        id: MessageId::from_bytes([number; 16]),
        run: None,
        flow: String::new(),
        account: "main".into(),
        to: Recipient::parse("+15417543010").unwrap(),
        body: Body { content: Content::Text { text: format!("m{number}") }, options: SendOptions::default() },
        at: None,
        valid_for: None,
        key: None,
    }
}

#[tokio::test]
async fn a_panic_in_an_attempt_keeps_neither_its_permit_nor_its_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let signals = Signals::default();
    let store = Ledger::open(&folder.path().join("state.db"), 100, signals.clone()).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let clock = Arc::new(OddClock {
        hands: HandClock::new("2026-11-20T07:00:00Z".parse().unwrap()),
        breaks: AtomicBool::new(false),
    });
    let (got, mut gets) = mpsc::unbounded_channel();
    let account = account(BreakingPhones { clock: clock.clone(), is_first: AtomicBool::new(true), got });
    store.promise(vec![message(1), message(2)], clock.now()).await.unwrap();

    let key = LinkKey::new(&Secret::new("key"));
    let blobs = Blobs::new(folder.path().join("blobs"));
    let preparer = Preparer::new(blobs, Fetch::new(Vec::new()).unwrap(), key, clock.clone());
    let view = SharedView::new("main", Bell::default(), Feed::default());
    let lane = Lane::new(Arc::new(account), store.clone(), preparer, signals.lanes.of("main"), view, false);
    let (stopper, shutdown) = channel();
    let running = tokio::spawn(lane.run(shutdown));

    let both_went = async {
        assert_eq!(gets.recv().await, Some(message(1).id));
        loop {
            clock.hands.advance(STORE_REST);
            tokio::task::yield_now().await;
            if let Ok(id) = gets.try_recv() {
                return id;
            }
        }
    };
    let second = tokio::time::timeout(Duration::from_secs(60), both_went).await.expect("the next one is held up");
    assert_eq!(second, message(2).id, "what may have gone out went out again");
    let first = store.message(message(1).id).await.unwrap().unwrap();
    assert_eq!(first.state, MessageState::Unknown, "{first:?}");
    assert!(first.error.unwrap().contains("the clock broke down"));
    stopper.enter(Phase::Draining);
    running.await.unwrap();
}
