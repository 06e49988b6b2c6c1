//! The circuit breaker of an account. It is closed while messages go out; it opens when the account itself
//! cannot send. Then single messages probe, one at a time: while one is under way it is half-open, and when one
//! reaches the gateway, it is closed again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::SharedView;
use super::outcome::{LaneAction, Outcome};
use super::queues::{Next, RecipientQueues};
use crate::clock::after;
use crate::id::MessageId;

/// The first probe goes after this, the next one after twice as long, and so on.
const FIRST_PROBE: Duration = Duration::from_secs(5);
const LAST_PROBE: Duration = Duration::from_secs(300);

/// The breaker of one lane.
pub struct Breaker {
    account: String,
    view: SharedView,
    /// Why it is open, if it is.
    outage: Option<Outage>,
    /// Messages for which it opened, and others went out all the same: how often.
    blamed: HashMap<MessageId, u32>,
    /// The view says that the gateway takes messages; it is not locked for each of them.
    is_shown: bool,
}

/// Why nothing goes out, and since when.
pub struct Outage {
    /// What the gateway said last.
    pub reason: String,
    /// When it began.
    pub since: Timestamp,
    /// The account itself is at fault (credentials, payment): waiting will not help.
    pub certain: bool,
    /// When a message is tried next.
    pub probe_at: Timestamp,
    /// The message that is being tried.
    probe: Option<MessageId>,
    /// Whose messages have tried in vain since all were asked: the next one to try is another's, so that no
    /// single message can hold the account.
    tried: HashSet<Arc<str>>,
    /// The messages that did, or for which it began.
    failed: HashSet<MessageId>,
    failures: u32,
}

impl Outage {
    fn new(reason: String, certain: bool, now: Timestamp) -> Self {
        let (tried, failed) = (HashSet::new(), HashSet::new());
        let probe_at = after(now, FIRST_PROBE);
        Self { reason, since: now, certain, probe_at, probe: None, tried, failed, failures: 0 }
    }

    /// The probe failed for the account's reason.
    fn goes_on(&mut self, reason: String, certain: bool, now: Timestamp) {
        self.failures += 1;
        (self.reason, self.certain) = (reason, certain);
        let wait = FIRST_PROBE.saturating_mul(1 << self.failures.min(10)).min(LAST_PROBE);
        self.probe_at = after(now, wait);
    }

    /// Whether a message is being tried.
    pub fn is_half_open(&self) -> bool {
        self.probe.is_some()
    }
}

impl Breaker {
    /// A closed one. `view` shows how it stands.
    pub fn new(account: &str, view: SharedView) -> Self {
        Self { account: account.to_owned(), view, outage: None, blamed: HashMap::new(), is_shown: false }
    }

    /// Why it is open, if it is.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// How many more may be under way: all for whom there is room, or the one that probes, once everything that
    /// went before it has come back.
    pub fn room(&self, under_way: usize, most: usize, now: Timestamp) -> usize {
        match &self.outage {
            None => most.saturating_sub(under_way),
            Some(outage) => usize::from(outage.probe_at <= now && under_way == 0 && !outage.is_half_open()),
        }
    }

    /// The next message; of an open breaker one for somebody who has not tried yet.
    pub fn next(&mut self, queues: &mut RecipientQueues, now: Timestamp) -> Option<Next> {
        let Some(outage) = &mut self.outage else { return queues.next(now, &HashSet::new()) };
        queues.next(now, &outage.tried).or_else(|| {
            outage.tried.clear();
            queues.next(now, &outage.tried)
        })
    }

    /// A message goes out; if the breaker is open, to probe.
    pub fn goes_out(&mut self, message: MessageId) {
        if let Some(outage) = &mut self.outage {
            outage.probe = Some(message);
        }
    }

    /// A message never went out: if it was to be the probe, the next one may be it.
    pub fn never_went(&mut self, message: &MessageId) {
        if let Some(outage) = &mut self.outage {
            outage.probe.take_if(|probe| probe == message);
        }
    }

    /// Nobody knows what became of the probe: the next message may be it.
    pub fn forget_probe(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probe = None;
        }
    }

    /// Somebody says that the gateway may take messages again: it is tried at once.
    pub fn probe_now(&mut self, now: Timestamp) {
        if let Some(outage) = &mut self.outage {
            outage.probe_at = now;
        }
    }

    /// How often the account stopped for a message while others went out.
    pub fn blame(&self, message: &MessageId) -> u32 {
        self.blamed.get(message).copied().unwrap_or_default()
    }

    /// A message has left the lane.
    pub fn forget(&mut self, message: &MessageId) {
        self.blamed.remove(message);
    }

    /// An attempt is over. If it reached the gateway, the breaker is closed; if it was the probe, the time of the
    /// next one is set.
    pub fn ended(&mut self, message: &Next, outcome: &Outcome) {
        if let Some(outage) = self.outage.take_if(|_| outcome.reached) {
            for id in outage.failed.into_iter().filter(|id| *id != message.id) {
                *self.blamed.entry(id).or_default() += 1;
            }
            tracing::info!(account = %self.account, "account `{}` sends again", self.account);
        }
        if outcome.reached && !std::mem::replace(&mut self.is_shown, true) {
            self.view.goes_on();
        }
        let Some(outage) = self.outage.as_mut().filter(|outage| outage.probe == Some(message.id)) else { return };
        outage.probe = None;
        match &outcome.action {
            LaneAction::Open { reason, certain, .. } => outage.goes_on(reason.clone(), *certain, outcome.at),
            // A probe that failed for a reason of its own says nothing about the gateway.
            _ => {
                let probe_at = after(outcome.at, FIRST_PROBE);
                outage.probe_at = probe_at;
                self.view.show(|view| {
                    if let Some((_, at)) = &mut view.paused {
                        *at = probe_at;
                    }
                });
            }
        }
    }

    /// The account could not send a message. `unreached` says that the gateway was not there, for which no message
    /// is to blame.
    pub fn open(&mut self, message: &Next, reason: String, certain: bool, unreached: bool, now: Timestamp) {
        // The rest of the volley in which it opened counts for nothing.
        if self.outage.is_none() {
            tracing::warn!(account = %self.account, %reason, "account `{}` is paused", self.account);
        }
        let outage = self.outage.get_or_insert_with(|| Outage::new(reason.clone(), certain, now));
        outage.tried.insert(message.to.clone());
        if !unreached {
            outage.failed.insert(message.id);
        }
        self.is_shown = false;
        self.view.pauses(reason, outage.probe_at, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use crate::wake::Bell;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn message(number: u8) -> Next {
        Next {
            id: MessageId::from_bytes([number; 16]),
            seq: number.into(),
            to: format!("person {number}").into(),
            known: None,
        }
    }

    fn breaker() -> Breaker {
        Breaker::new("main", SharedView::new("main", Bell::default(), Feed::default()))
    }

    fn ended(breaker: &mut Breaker, number: u8, action: LaneAction, reached: bool, second: i64) {
        breaker.ended(&message(number), &Outcome { action, reached, sent_at: None, at: at(second) });
    }

    fn refused() -> LaneAction {
        LaneAction::Open { reason: "logged out".into(), certain: true, unreached: false }
    }

    #[test]
    fn an_open_breaker_lets_one_probe_out_when_all_have_come_back() {
        let mut breaker = breaker();
        assert_eq!((breaker.room(1, 4, at(0)), breaker.room(9, 4, at(0))), (3, 0));
        breaker.open(&message(1), "logged out".into(), true, false, at(0));
        assert_eq!((breaker.room(0, 4, at(4)), breaker.room(1, 4, at(5)), breaker.room(0, 4, at(5))), (0, 0, 1));
        breaker.goes_out(message(2).id);
        assert!(breaker.outage().unwrap().is_half_open());
        assert_eq!(breaker.room(0, 4, at(5)), 0);
        // The next ones come later and later; one that failed for a reason of its own changes nothing.
        ended(&mut breaker, 2, refused(), false, 5);
        assert_eq!(breaker.outage().unwrap().probe_at, at(15));
        breaker.goes_out(message(3).id);
        breaker.never_went(&message(1).id);
        assert!(breaker.outage().unwrap().is_half_open(), "another one is no probe");
        ended(&mut breaker, 3, LaneAction::Advance, false, 15);
        assert_eq!(breaker.outage().unwrap().probe_at, at(20));
        breaker.goes_out(message(4).id);
        breaker.never_went(&message(4).id);
        assert_eq!(breaker.room(0, 4, at(20)), 1, "the next one may be it");
        breaker.goes_out(message(3).id);
        ended(&mut breaker, 3, LaneAction::Advance, true, 20);
        assert!(breaker.outage().is_none());
    }

    #[test]
    fn a_message_is_blamed_when_others_go_out_all_the_same() {
        let mut breaker = breaker();
        breaker.open(&message(1), "not found".into(), false, false, at(0));
        breaker.open(&message(2), "connection refused".into(), false, true, at(0));
        ended(&mut breaker, 3, LaneAction::Advance, true, 5);
        assert_eq!((breaker.blame(&message(1).id), breaker.blame(&message(2).id)), (1, 0));
        breaker.forget(&message(1).id);
        assert_eq!(breaker.blame(&message(1).id), 0);
    }
}
