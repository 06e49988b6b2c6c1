//! Where a run stands: every command in every state, what a turn changes, and what a stale one does not.

use std::time::Duration;

use postrider::model::delivery::MessageState;
use postrider::model::journal::{KvWrite, Outcome, Retrying};
use postrider::model::message::NewMessage;
use postrider::model::question::Question;
use postrider::model::run::{NewRun, RunState, ScriptError, Slot, WhenFull};
use postrider::store::StoreError;
use postrider::store::records::*;
use serde_json::json;

use super::{
    ADA, Ledger, asks, at, ends, entry, fails, id, is_yes, message, ms, pending, promises, run, run_id, sleeps, turn,
};

/// The states that a store knows.
const STATES: [RunState; 5] =
    [RunState::Queued, RunState::Waiting, RunState::Succeeded, RunState::Failed, RunState::Cancelled];

/// Brings a run into a state; gives the number that it was ready with.
async fn bring(ledger: &Ledger, number: u8, state: RunState) -> i64 {
    ledger.begin(number).await;
    let ready = ledger.ready(number).await.unwrap().ready;
    let outcome = match state {
        RunState::Waiting => sleeps(1_000),
        RunState::Succeeded => ends(),
        _ => fails(),
    };
    match state {
        RunState::Queued => {}
        RunState::Cancelled => assert_eq!(ledger.cancel_run(run_id(number), at(1)).await.unwrap(), RunDecided::Done),
        _ => assert!(is_yes(&ledger.commit(turn(number, outcome)).await)),
    }
    assert_eq!(ledger.run_state(number).await, state);
    ready
}

/// All that can be seen of a run.
async fn seen(ledger: &Ledger, number: u8) -> String {
    let run = ledger.run(run_id(number)).await.unwrap();
    let journal = ledger.journal(run_id(number)).await.unwrap();
    format!("{run:?} {journal:?} {:?}", ledger.ready(number).await)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Turn,
    Stale,
    Errand,
    Cancel,
    Retry,
    EndWait,
    Wake,
}

impl Step {
    fn is_legal_in(self, state: RunState) -> bool {
        match self {
            Self::Turn => state == RunState::Queued,
            Self::Cancel => !state.is_over(),
            Self::Retry => state == RunState::Failed,
            Self::EndWait | Self::Wake => state == RunState::Waiting,
            Self::Stale | Self::Errand => false,
        }
    }

    /// Does it; `ready` is the number that the run was last ready with.
    async fn take(self, ledger: &Ledger, number: u8, state: RunState, ready: i64) {
        let whole = |ready| {
            let mut whole = promises(number, vec![message(number, ADA)], ends());
            whole.promises.kv =
                vec![KvWrite { shared: false, key: format!("{number}"), value: Some(json!(1)), expires_at: None }];
            postrider::model::journal::TurnCommit { ready, ..whole }
        };
        let decided = if self.is_legal_in(state) { RunDecided::Done } else { RunDecided::NotIn(state) };
        match self {
            Self::Turn | Self::Stale => {
                let ready = if matches!(self, Self::Stale) { ready + 1_000 } else { ready };
                let committed = ledger.commit_turn(whole(ready)).await.unwrap();
                match self.is_legal_in(state) {
                    true => assert!(is_yes(&committed), "{committed:?}"),
                    false => {
                        let wanted = if state.is_over() { Committed::Over } else { Committed::Stale };
                        assert_eq!(committed, wanted, "{self:?} in {state:?}");
                        assert!(ledger.message(id(number)).await.unwrap().is_none());
                        assert!(ledger.kv_get("flow", &format!("{number}"), at(2)).await.unwrap().is_none());
                    }
                }
            }
            Self::Errand => {
                assert!(!ledger.answer_errand(run_id(number), ready, Ok(json!(1))).await.unwrap(), "{state:?}");
            }
            Self::Cancel => assert_eq!(ledger.cancel_run(run_id(number), at(2)).await.unwrap(), decided),
            Self::Retry => assert_eq!(ledger.retry_run(run_id(number)).await.unwrap(), decided),
            Self::EndWait => assert_eq!(ledger.end_wait(run_id(number), at(2)).await.unwrap(), decided, "{state:?}"),
            Self::Wake => {
                let woken = ledger.wake_runs(at(1_000)).await.unwrap();
                assert_eq!((woken.count, woken.next), (u64::from(self.is_legal_in(state)), None));
            }
        }
    }
}

#[tokio::test]
async fn each_command_does_in_each_state_what_it_may_and_else_nothing() {
    use Step::*;
    for step in [Turn, Stale, Errand, Cancel, Retry, EndWait, Wake] {
        let ledger = Ledger::new();
        for (number, state) in (1..).zip(STATES) {
            let ready = bring(&ledger, number, state).await;
            let before = seen(&ledger, number).await;
            step.take(&ledger, number, state, ready).await;
            let after = ledger.run_state(number).await;
            match (step.is_legal_in(state), step) {
                (false, _) => {
                    assert_eq!(seen(&ledger, number).await, before, "{step:?} in {state:?} changes something")
                }
                (true, Turn) => assert_eq!(after, RunState::Succeeded),
                (true, Cancel) => assert_eq!(after, RunState::Cancelled),
                (true, _) => {
                    assert!(!after.is_over() && ledger.ready(number).await.is_some(), "{step:?} in {state:?}");
                    // Once is enough.
                    let again = if matches!(step, Wake) { ledger.wake_runs(at(2_000)).await.unwrap().count } else { 0 };
                    assert_eq!(again, 0);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_run_is_missing() {
    let ledger = Ledger::new();
    assert_eq!(ledger.cancel_run(run_id(9), at(1)).await.unwrap(), RunDecided::Missing);
    assert_eq!(ledger.retry_run(run_id(9)).await.unwrap(), RunDecided::Missing);
    assert_eq!(ledger.end_wait(run_id(9), at(1)).await.unwrap(), RunDecided::Missing);
    assert!(!ledger.answer_errand(run_id(9), 1, Ok(json!(1))).await.unwrap());
    assert!(ledger.run(run_id(9)).await.unwrap().is_none() && ledger.origin(run_id(9)).await.unwrap().is_none());
    assert!(ledger.journal(run_id(9)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_turn_made_from_an_older_reading_does_not_count() {
    let ledger = Ledger::new();
    ledger.waits(1, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(10) })).await;
    ledger.wake_runs(at(10)).await.unwrap();
    let old = ledger.ready(1).await.unwrap().ready;
    assert!(is_yes(&ledger.commit(turn(1, sleeps(20))).await));
    ledger.wake_runs(at(20)).await.unwrap();
    let whole = promises(1, vec![message(1, ADA)], ends());
    let committed = ledger.commit_turn(postrider::model::journal::TurnCommit { ready: old, ..whole }).await.unwrap();
    assert_eq!((committed, ledger.lane().await.len()), (Committed::Stale, 0));
    assert!(ledger.ready(1).await.unwrap().ready > old);
}

#[tokio::test]
async fn a_run_is_shown_as_it_was_accepted_and_as_it_ended() {
    let ledger = Ledger::new();
    let accepted = NewRun { root: Some(run_id(9)), trigger: "webhook".into(), version: "v7".into(), ..run(1) };
    ledger.intake(accepted).await.unwrap();
    let origin = ledger.origin(run_id(1)).await.unwrap().unwrap();
    assert_eq!((origin.flow.as_str(), origin.version.as_str(), origin.trigger.as_str()), ("flow", "v7", "webhook"));
    assert_eq!((origin.seed, origin.created_at, origin.base, origin.root), ([1; 16], at(0), None, Some(run_id(9))));
    assert!(origin.pending.is_none() && origin.answer.is_none() && !origin.is_open && !origin.is_behind);
    let ready = ledger.ready(1).await.unwrap();
    assert_eq!((ready.attempt, ready.generation, ready.root, ready.cpu), (1, 0, Some(run_id(9)), Duration::ZERO));
    ledger.commit(turn(1, Outcome::Succeeded(json!({ "a": 1 })))).await;
    let ledger = ledger.again();
    let shown = ledger.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.result.as_deref(), shown.error), (RunState::Succeeded, Some(r#"{"a":1}"#), None));
    assert_eq!((shown.started_at, shown.finished_at, shown.created_at), (Some(at(1)), Some(at(1)), at(0)));
    assert_eq!((shown.trigger.as_str(), shown.event.as_str(), shown.waiting_for), ("webhook", r#"{"n":1}"#, None));
    ledger.begin(2).await;
    ledger.commit(turn(2, fails())).await;
    let shown = ledger.run(run_id(2)).await.unwrap().unwrap();
    assert_eq!((shown.error, shown.result), (Some(ScriptError::new("thrown", "no")), None));
}

#[tokio::test]
async fn a_journal_grows_by_turns_and_what_was_thrown_away_is_only_shown() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let mut first = turn(
        1,
        Outcome::Waiting(pending(2, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(10) }))),
    );
    first.entries = vec![entry(0, json!("a")), entry(1, json!("b"))];
    let Committed::Yes { part: Some(part), ready: None } = ledger.commit(first).await else { panic!("no part") };
    ledger.wake_runs(at(10)).await.unwrap();
    assert_eq!(ledger.ready(1).await.unwrap().cpu, Duration::from_millis(5));
    let mut second = turn(1, fails());
    second.lost = vec![entry(2, json!("lost"))];
    ledger.commit(second).await;
    let (entries, last) = ledger.journal_after(run_id(1), 0).await.unwrap();
    let results: Vec<_> = entries.iter().map(|entry| entry.result.clone()).collect();
    assert_eq!((results, last), (vec![json!("a"), json!("b")], part));
    assert!(ledger.journal_after(run_id(1), part).await.unwrap().0.is_empty());
    let shown = ledger.again().journal(run_id(1)).await.unwrap();
    let shown: Vec<_> = shown.iter().map(|call| (call.entry.result.clone(), call.lost)).collect();
    assert_eq!(shown, [(json!("a"), false), (json!("b"), false), (json!("lost"), true)]);
}

#[tokio::test]
async fn a_run_that_threw_is_tried_again_when_its_time_has_come() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let sleep = pending(0, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(5) }));
    let error = ScriptError::new("thrown", "no");
    let retrying =
        |pending, answer| Outcome::Retrying(Box::new(Retrying { error: error.clone(), at: at(30), pending, answer }));
    assert!(is_yes(&ledger.commit(turn(1, retrying(Some(sleep), Some(Ok(json!(7)))))).await));
    let shown = ledger.run(run_id(1)).await.unwrap().unwrap();
    let waits = shown.waiting_for.unwrap();
    assert_eq!((shown.state, waits.kind.as_str(), waits.until), (RunState::Waiting, "retry", Some(ms(30))));
    assert_eq!(shown.error, Some(error.clone()));
    assert_eq!(ledger.wake_runs(at(29)).await.unwrap().next, Some(at(30)));
    assert_eq!(ledger.wake_runs(at(30)).await.unwrap().count, 1);
    let ready = ledger.again().ready(1).await.unwrap();
    assert_eq!((ready.attempt, ready.pending.is_some(), ready.answer), (2, true, Some(Ok(json!(7)))));
}

#[tokio::test]
async fn a_failed_run_goes_on_from_its_last_answer_and_what_it_promised_stays() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let mut first = promises(
        1,
        vec![message(1, ADA)],
        Outcome::Waiting(pending(1, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(10) }))),
    );
    first.entries = vec![entry(0, json!("a"))];
    ledger.commit(first).await;
    ledger.wake_runs(at(10)).await.unwrap();
    ledger.commit(turn(1, fails())).await;
    assert_eq!(ledger.retry_run(run_id(1)).await.unwrap(), RunDecided::Done);
    let ready = ledger.ready(1).await.unwrap();
    assert_eq!((ready.attempt, ready.pending.map(|pending| pending.position)), (2, Some(1)));
    assert_eq!(ledger.journal_after(run_id(1), 0).await.unwrap().0.len(), 1);
    assert_eq!(ledger.lane().await, [1]);
    assert_eq!(ledger.retry_run(run_id(1)).await.unwrap(), RunDecided::NotIn(ledger.run_state(1).await));
    assert!(is_yes(&ledger.commit(turn(1, ends())).await));
}

#[tokio::test]
async fn a_cancelled_run_takes_back_what_is_not_yet_sent_unless_it_is_to_be_kept() {
    use MessageState::*;
    let ledger = Ledger::new();
    let own = |number| NewMessage { run: Some(run_id(1)), ..message(number, ADA) };
    let mut kept = own(13);
    kept.body.options.keep = true;
    ledger.begin(1).await;
    ledger.commit(promises(1, vec![kept], sleeps(1_000))).await;
    for (number, state) in (1..).zip(MessageState::ALL) {
        ledger.bring(own(number), state).await;
    }
    ledger.put(message(14, ADA)).await;
    assert_eq!(ledger.cancel_run(run_id(1), at(10)).await.unwrap(), RunDecided::Done);
    for (number, state) in (1..).zip(MessageState::ALL) {
        let wanted = if [Scheduled, Queued].contains(&state) { Cancelled } else { state };
        assert_eq!(ledger.state(number).await, wanted, "{state:?}");
    }
    assert_eq!(ledger.lane().await, [13, 14]);
    let shown = ledger.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((shown.finished_at, shown.waiting_for), (Some(at(10)), None));
    assert_eq!(ledger.wake_runs(at(2_000)).await.unwrap().count, 0);
}

#[tokio::test]
async fn a_run_that_failed_leaves_what_it_promised() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let own = NewMessage { run: Some(run_id(1)), ..message(1, ADA) };
    ledger.commit(promises(1, vec![own], fails())).await;
    assert_eq!(ledger.cancel_run(run_id(1), at(2)).await.unwrap(), RunDecided::NotIn(RunState::Failed));
    assert_eq!(ledger.state(1).await, MessageState::Queued);
}

#[tokio::test]
async fn runs_that_others_begin_count_for_the_backlog_and_begin_once() {
    let ledger = Ledger::new();
    ledger.limit_backlog(2).await.unwrap();
    ledger.begin(1).await;
    ledger.begin(2).await;
    assert!(!ledger.has_room("flow"));
    assert_eq!(ledger.intake(run(3)).await.unwrap_err(), StoreError::Backlog(2));
    assert!(ledger.run(run_id(3)).await.unwrap().is_none());
    let child = |number| NewRun { trigger: "flow".into(), generation: 1, ..run(number) };
    let begins = |number, children: Vec<NewRun>, outcome| {
        let mut turn = promises(number, vec![message(number, ADA)], outcome);
        turn.promises.runs = children;
        turn
    };
    let both = begins(1, vec![child(11), child(12)], ends());
    assert_eq!(ledger.commit(both).await, Committed::NoRoom);
    assert_eq!((ledger.lane().await.len(), ledger.run_state(1).await), (0, RunState::Queued));
    ledger.limit_backlog(100).await.unwrap();
    assert!(ledger.has_room("flow"));
    assert!(is_yes(&ledger.commit(begins(1, vec![child(11)], ends())).await));
    assert!(is_yes(&ledger.commit(begins(2, vec![child(11)], ends())).await), "the same promise is one run");
    let all = ledger.runs(RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap().rows;
    assert_eq!(all.len(), 3);
    assert_eq!(ledger.ready(11).await.unwrap().generation, 1);
}

#[tokio::test]
async fn whoever_fails_for_good_begins_the_run_that_hears_of_it() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let alert = NewRun { flow: "alert".into(), trigger: "failure".into(), ..run(2) };
    let mut failed = turn(1, fails());
    failed.follow_up = Some(alert);
    assert!(is_yes(&ledger.commit(failed).await));
    assert_eq!(ledger.ready_flows().await.unwrap(), ["alert"]);
    assert_eq!(ledger.ready_runs("alert", 0, 10).await.unwrap()[0].id, run_id(2));
}

#[tokio::test]
async fn ready_runs_come_in_their_order_and_by_their_flow() {
    let ledger = Ledger::new();
    for number in [3, 1, 2] {
        ledger.begin(number).await;
    }
    ledger.intake(NewRun { flow: "other".into(), ..run(4) }).await.unwrap();
    let mut flows = ledger.ready_flows().await.unwrap();
    flows.sort();
    assert_eq!(flows, ["flow", "other"]);
    let first = ledger.ready_runs("flow", 0, 2).await.unwrap();
    assert_eq!(first.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(3), run_id(1)]);
    let rest = ledger.ready_runs("flow", first[1].ready, 2).await.unwrap();
    assert_eq!(rest.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(2)]);
    let again = ledger.again().ready_runs("flow", 0, 9).await.unwrap();
    assert_eq!(again.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(3), run_id(1), run_id(2)]);
}

#[tokio::test]
async fn a_repeated_run_knows_what_the_others_promised_and_may_have_sent() {
    let ledger = Ledger::new();
    let own = |number, by: u8| NewMessage { run: Some(run_id(by)), ..message(number, ADA) };
    ledger.begin(1).await;
    ledger.commit(promises(1, vec![own(1, 1), own(2, 1), own(3, 1)], ends())).await;
    ledger.decide(id(2), Decision::Cancel, at(2)).await.unwrap();
    ledger.intake(NewRun { root: Some(run_id(1)), ..run(2) }).await.unwrap();
    ledger.commit(promises(2, vec![own(4, 2)], ends())).await;
    ledger.intake(NewRun { root: Some(run_id(1)), ..run(3) }).await.unwrap();
    let known = ledger.promised(run_id(1), run_id(3)).await.unwrap();
    assert_eq!(known.iter().map(|known| known.id).collect::<Vec<_>>(), [id(1), id(3), id(4)]);
    assert_eq!((known[0].to.as_str(), known[0].account.as_str()), (ADA, "main"));
    let own = ledger.promised(run_id(1), run_id(2)).await.unwrap();
    assert_eq!(own.len(), 2, "its own are not among them");
    assert!(is_yes(
        &ledger
            .commit(turn(3, asks(Question::Change(postrider::model::question::Change::Cancel { message: id(1) }))))
            .await
    ));
}

#[tokio::test]
async fn runs_of_a_limited_flow_stand_in_line_and_know_who_is_ahead() {
    let ledger = Ledger::new();
    let limited = |number, most| {
        let slot = Slot { part: "all".into(), most, when_full: WhenFull::Queue };
        NewRun { slot: Some(slot), ..run(number) }
    };
    for number in 1..=4 {
        ledger.intake(limited(number, 1)).await.unwrap();
    }
    let line = async |number| ledger.line(run_id(number)).await.unwrap();
    let ahead =
        |holders: &[u8], before| Some(Line { holders: holders.iter().map(|number| run_id(*number)).collect(), before });
    let lines = [line(1).await, line(2).await, line(3).await, line(4).await];
    assert_eq!(lines, [None, ahead(&[1], 0), ahead(&[1], 1), ahead(&[1], 2)]);
    // The rule of today holds for all, and nobody is overtaken.
    ledger.intake(limited(5, 2)).await.unwrap();
    let lines = [line(2).await, line(3).await, line(4).await, line(5).await];
    assert_eq!(lines, [None, ahead(&[1, 2], 0), ahead(&[1, 2], 1), ahead(&[1, 2], 2)]);
    // Without a rule nobody has to stand in line.
    ledger.intake(run(6)).await.unwrap();
    assert_eq!([line(3).await, line(4).await, line(5).await], [None, None, None]);
}
