//! The steps, each with all that it needs to know.

use jiff::Timestamp;

use crate::feed::Change;
use crate::id::{MessageId, RunId};
use crate::ledger::work::{Refusal, Work};
use crate::ledger::{
    attempts, claims, delivery_waits, failover, forget, inbound, keep, message_timers, messages, operator, people,
    recovery, run_timers, runs, triggers, troubles, turns,
};
use crate::model::delivery::{Degraded, Part};
use crate::model::journal::TurnCommit;
use crate::model::message::NewMessage;
use crate::model::question::Answer;
use crate::model::run::NewRun;
use crate::store::records::{
    Beat, Begun, ClaimRules, Claims, Committed, Decided, Decision, Diversion, Fate, Firing, Forgotten, Gap,
    HandsetChange, Inbound, KeptFlows, Moved, NewTrigger, OldRecords, PhoneMessage, Pruned, RefusedRow, ResendPolicy,
    RunDecided, Seen, Settlement, Spans, Telling, ToClaim, TriggerKey, Woken,
};

use super::job::Step;
use crate::store::rows;
use crate::store::rows::forget::Known;

/// A step: its fields, what it gives, and how it is taken. `at` says when, where something follows from it; `ours`
/// that its data are our own.
macro_rules! step {
    (
        $(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? } -> $gives:ty,
        $(at |$when:ident| $at:expr,)? $(ours $ours:literal,)?
        |$self:ident, $work:ident| $take:expr
    ) => {
        $(#[$doc])*
        pub struct $name { $(pub $field: $kind),* }

        impl Step for $name {
            type Gives = $gives;
            $(const GUARDED: bool = !$ours;)?

            $(fn at(&self) -> Option<Timestamp> {
                let $when = self;
                Some($at)
            })?

            fn take(&self, $work: &mut Work<'_>) -> Result<$gives, Refusal> {
                let $self = self;
                Ok($take)
            }
        }
    };
}

/// When some runs were accepted; where there are none nothing follows.
fn begun_at<'a>(mut runs: impl Iterator<Item = &'a NewRun>) -> Timestamp {
    runs.next().map_or(Timestamp::UNIX_EPOCH, |run| run.at)
}

step!(
    /// Keeps the texts of flow versions, and which of them is the last good one of each file.
    KeepFlows { kept: KeptFlows } -> (),
    |this, work| {
        for (file, version) in &this.kept.good {
            rows::flows::keep(work.tx, file, version)?;
        }
        for file in &this.kept.gone {
            rows::flows::drop_file(work.tx, file)?;
        }
        if let Some(home) = this.kept.home {
            rows::flows::keep_home(work.tx, home)?;
        }
    }
);
step!(
    /// The engine is there.
    KeepBeat { beat: Beat, gaps: Vec<Gap> } -> (),
    |this, work| {
        this.gaps.iter().try_for_each(|gap| rows::presence::add(work.tx, gap))?;
        rows::presence::beat(work.tx, this.beat)?;
    }
);
step!(
    /// Keeps requests that were turned away.
    KeepRefused { rows: Vec<RefusedRow>, gone: Vec<i64> } -> (),
    |this, work| rows::refused::keep(work.tx, &this.rows, &this.gone)?
);
step!(
    /// Forgets versions that have not come back meanwhile.
    PruneVersions { unused: Vec<String> } -> u64,
    |this, work| {
        let mut gone = 0;
        for version in &this.unused {
            gone += u64::from(rows::flows::delete_if_unused(work.tx, version)?);
        }
        gone
    }
);
step!(
    /// Deletes what is old enough.
    Prune { runs: Vec<RunId>, messages: Vec<MessageId>, until: Spans, records: OldRecords } -> Pruned,
    |this, work| keep::prune(work, (&this.runs, &this.messages), &this.until, &this.records)?
);
step!(
    /// Forgets triggers and gets to know others.
    Arm { gone: Vec<TriggerKey>, come: Vec<NewTrigger> } -> (),
    |this, work| triggers::arm(work, &this.gone, &this.come)?
);
step!(
    /// Gives instants their fate.
    Fire { firings: Vec<Firing> } -> u64, at |step| begun_at(step.firings.iter().flat_map(|firing| {
        firing.occurrences.iter().filter_map(|occurrence| occurrence.run.as_ref())
    })),
    |this, work| triggers::fire(work, &this.firings)?
);
step!(
    /// Records what a trigger saw.
    SeeFiles { key: TriggerKey, seen: Vec<Seen>, forget: Timestamp } -> (), at |step| begun_at(step.seen.iter().filter_map(|seen| seen.run.as_ref())),
    |this, work| triggers::see(work, &this.key, &this.seen, this.forget)?
);
step!(
    /// Sets how many runs may wait for their first turn.
    LimitBacklog { most: u64 } -> (), ours true,
    |this, work| work.memory.backlog.limit(this.most)
);
step!(
    /// Accepts a run. Gives its number among the ready ones.
    Intake { run: NewRun } -> i64, at |step| step.run.at, ours true,
    |this, work| runs::intake(work, &this.run)?
);
step!(
    /// Accepts a run together with its first turn.
    Begin { run: NewRun, turn: TurnCommit } -> Begun, at |step| step.turn.at,
    |this, work| turns::begin(work, &this.run, &this.turn)?
);
step!(
    /// Commits a turn.
    CommitTurn { turn: TurnCommit } -> Committed, at |step| step.turn.at,
    |this, work| turns::commit(work, &this.turn)?
);
step!(
    /// Answers a question that is an errand.
    AnswerErrand { run: RunId, ready: i64, answer: Answer } -> bool,
    |this, work| runs::answer_errand(work, this.run, this.ready, &this.answer)?
);
step!(
    /// Makes runs ready whose time has come.
    WakeRuns { now: Timestamp } -> Woken, at |step| step.now, ours true,
    |this, work| run_timers::wake(work, this.now)?
);
step!(
    /// Takes a run back.
    CancelRun { run: RunId, now: Timestamp } -> RunDecided, at |step| step.now,
    |this, work| operator::cancel(work, this.run, this.now)?
);
step!(
    /// Lets a failed run go on.
    RetryRun { run: RunId } -> RunDecided,
    |this, work| operator::retry(work, this.run)?
);
step!(
    /// Lets the wait of a run end.
    EndWait { run: RunId, now: Timestamp } -> RunDecided, at |step| step.now,
    |this, work| operator::end_wait(work, this.run, this.now)?
);
step!(
    /// Puts messages without a run into the outbox.
    Promise { messages: Vec<NewMessage>, now: Timestamp } -> (),
    |this, work| {
        for message in &this.messages {
            messages::insert(work, message, this.now)?;
        }
    }
);
step!(
    /// Opens attempts.
    Claim { account: String, messages: Vec<ToClaim>, rules: ClaimRules, now: Timestamp } -> Claims,
    at |step| step.now, ours true,
    |this, work| claims::claim(work, &this.account, &this.messages, &this.rules, this.now)?
);
step!(
    /// An attempt touches the wire.
    Touch { id: MessageId } -> (), ours true,
    |this, work| messages::each(work, this.id, None, |work| attempts::touch(work, this.id))?
);
step!(
    /// An account counts its days no more.
    StopCounting { account: String } -> (), ours true,
    |this, work| rows::accounts::forget_days(work.tx, &this.account)?
);
step!(
    /// Records how far a message of several parts has come.
    NoteParts { id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp } -> (), at |step| step.now, ours true,
    |this, work| {
        let note = |work: &mut Work<'_>| attempts::note_parts(work, this.id, &this.parts, &this.cut, this.now);
        messages::each(work, this.id, Some(this.now), note)?
    }
);
step!(
    /// Moves messages to another account.
    Divert { messages: Vec<MessageId>, diversion: Diversion, now: Timestamp } -> u64,
    |this, work| failover::divert(work, &this.messages, &this.diversion, this.now)?
);
step!(
    /// Takes in what a gateway told.
    Receive { inbound: Inbound } -> Vec<Fate>, at |step| step.inbound.now,
    |this, work| inbound::receive(work, &this.inbound)?
);
step!(
    /// Erases a person.
    Forget { known: Known, mark: String, now: Timestamp } -> Forgotten, at |step| step.now,
    |this, work| forget::forget(work, &this.known, &this.mark, this.now)?
);
step!(
    /// Somebody followed a message's link.
    Click { id: MessageId, now: Timestamp } -> (), at |step| step.now, ours true,
    |this, work| messages::each(work, this.id, Some(this.now), |work| delivery_waits::click(work, this.id, this.now))?
);
step!(
    /// Records how an attempt ended.
    Settle { settlement: Settlement } -> (), at |step| step.settlement.at, ours true,
    |this, work| {
        let settlement = &this.settlement;
        messages::each(work, settlement.id, Some(settlement.at), |work| attempts::settle(work, settlement))?
    }
);
step!(
    /// Moves what the clock moves.
    MoveMessages { now: Timestamp, resend: Vec<ResendPolicy> } -> Moved, at |step| step.now, ours true,
    |this, work| message_timers::advance(work, this.now, &this.resend)?
);
step!(
    /// What a dead engine left open becomes unknown.
    Recover { now: Timestamp } -> u64, at |step| step.now, ours true,
    |this, work| recovery::recover(work, this.now)?
);
step!(
    /// A person's decision about a message.
    Decide { id: MessageId, decision: Decision, now: Timestamp } -> Decided, at |step| step.now,
    |this, work| operator::decide(work, this.id, this.decision, this.now)?
);
step!(
    /// A person wants to hear of an account again.
    OptIn { account: String, who: String } -> bool,
    |this, work| people::opt_in(work, &this.account, &this.who)?
);
step!(
    /// Tells of troubles.
    Tell { telling: Telling } -> (),
    |this, work| troubles::tell(work, &this.telling)?
);
step!(
    /// Puts a message onto a phone of the sandbox.
    ReceiveOnPhone { message: PhoneMessage } -> bool,
    |this, work| {
        rows::phones::insert(work.tx, &this.message)?;
        work.after.note(|| Change::Phone { phone: this.message.to.clone() });
        !rows::phones::is_off(work.tx, &this.message.to)?
    }
);
step!(
    /// Makes a phone of the sandbox, or changes it.
    ChangeHandset { phone: String, change: HandsetChange, now: Timestamp } -> (),
    |this, work| {
        rows::phones::change(work.tx, &this.phone, &this.change, this.now)?;
        work.after.note(|| Change::Phone { phone: this.phone.clone() });
    }
);
step!(
    /// Takes everything off the phones of the sandbox.
    EmptyPhones {} -> (),
    |_this, work| {
        rows::phones::delete_all(work.tx)?;
        work.after.note(|| Change::Phone { phone: String::new() });
    }
);
step!(
    /// Lets a browser in.
    OpenSession { digest: [u8; 32], now: Timestamp } -> (),
    |this, work| rows::phones::open_session(work.tx, &this.digest, this.now)?
);
step!(
    /// Lets browsers in no more.
    CloseSessions { digest: Option<[u8; 32]> } -> u64,
    |this, work| rows::phones::close_sessions(work.tx, this.digest.as_ref())?
);
