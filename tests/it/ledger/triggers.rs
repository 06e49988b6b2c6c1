//! What is kept of triggers: how far each has come, the fate of every instant, and the files that were seen.

use std::time::Duration;

use postrider::model::occurrence::{Fate, Occurrence};
use postrider::model::run::NewRun;
use postrider::store::StoreError;
use postrider::store::records::*;

use super::{Ledger, at, run, run_id};

fn key(trigger: &str) -> TriggerKey {
    TriggerKey { flow: "flow".into(), trigger: trigger.into() }
}

fn armed(trigger: &str, second: i64) -> ArmedRow {
    ArmedRow { key: key(trigger), position: at(second) }
}

fn new(trigger: &str, second: i64) -> NewTrigger {
    NewTrigger { row: armed(trigger, second), past: None, files: Vec::new() }
}

fn file(path: &str) -> SeenFile {
    SeenFile {
        path: path.into(),
        size: 3,
        modified: 7,
        changed: Some(8),
        device: Some(u64::MAX),
        hash: Some([1; 16]),
        gone_at: None,
    }
}

/// An instant at which a run is begun.
fn ran(second: i64, number: u8) -> Occurrence {
    let run = NewRun { trigger: "cron".into(), ..run(number) };
    Occurrence { run: Some(run), ..Occurrence::new(at(second), Fate::Ran) }
}

fn firing(trigger: &str, second: i64, occurrences: Vec<Occurrence>) -> Firing {
    Firing { row: armed(trigger, second), occurrences }
}

async fn all(ledger: &Ledger) -> Vec<OccurrenceRecord> {
    ledger.occurrences(OccurrenceFilter { limit: 100, ..OccurrenceFilter::default() }).await.unwrap()
}

async fn positions(ledger: &Ledger) -> Vec<(String, jiff::Timestamp)> {
    let armed = ledger.armed().await.unwrap();
    let mut known: Vec<_> = armed.iter().map(|row| (row.key.trigger.to_string(), row.position)).collect();
    known.sort();
    known
}

#[tokio::test]
async fn triggers_are_known_until_they_are_forgotten_and_their_record_stays() {
    let ledger = Ledger::new();
    let past = Some(Occurrence::new(at(-100), Fate::BeforeKnown));
    ledger.arm(Vec::new(), vec![NewTrigger { past, ..new("a", 0) }, new("b", 5)]).await.unwrap();
    let ledger = ledger.again();
    assert_eq!(positions(&ledger).await, [("a".to_owned(), at(0)), ("b".to_owned(), at(5))]);
    ledger.arm(vec![key("a")], vec![new("c", 9)]).await.unwrap();
    assert_eq!(positions(&ledger).await, [("b".to_owned(), at(5)), ("c".to_owned(), at(9))]);
    let kept = all(&ledger).await;
    assert_eq!((kept.len(), kept[0].fate, kept[0].at, kept[0].run), (1, Fate::BeforeKnown, at(-100), None));
}

#[tokio::test]
async fn no_instant_is_fired_twice() {
    let ledger = Ledger::new();
    ledger.arm(Vec::new(), vec![new("a", 0), new("b", 0)]).await.unwrap();
    assert_eq!(ledger.fire(vec![firing("a", 10, vec![ran(10, 1)])]).await.unwrap(), 1);
    assert_eq!(positions(&ledger).await[0], ("a".to_owned(), at(10)));
    assert_eq!(ledger.fire(vec![firing("a", 10, vec![ran(10, 2)])]).await.unwrap(), 0);
    let ledger = ledger.again();
    assert_eq!(ledger.fire(vec![firing("a", 20, vec![ran(10, 3), ran(20, 4)])]).await.unwrap(), 1);
    assert_eq!(ledger.fire(vec![firing("b", 10, vec![ran(10, 5)])]).await.unwrap(), 1, "another trigger's instant");
    let begun = ledger.ready_runs("flow", 0, 10).await.unwrap();
    assert_eq!(begun.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(1), run_id(4), run_id(5)]);
    assert!(ledger.run(run_id(2)).await.unwrap().is_none());
    let shown: Vec<_> = all(&ledger).await.iter().map(|shown| (shown.at, shown.run)).collect();
    assert_eq!(shown.len(), 3);
    assert_eq!(shown[0], (at(20), Some(run_id(4))), "newest first");
}

#[tokio::test]
async fn every_fate_is_shown_as_it_was_given() {
    let ledger = Ledger::new();
    ledger.arm(Vec::new(), vec![new("a", 0)]).await.unwrap();
    let fates = (1..).zip(Fate::ALL).map(|(number, fate)| Occurrence {
        until: Some(at(10 * number + 5)),
        count: (number != 3).then_some(4),
        late_by: Some(Duration::from_millis(1_500)),
        reason: Some(format!("because of {number}")),
        ..Occurrence::new(at(10 * number), fate)
    });
    assert_eq!(ledger.fire(vec![firing("a", 100, fates.collect())]).await.unwrap(), 0);
    let shown = all(&ledger).await;
    assert_eq!(shown.iter().rev().map(|shown| shown.fate).collect::<Vec<_>>(), Fate::ALL);
    let third = &shown[4];
    assert_eq!((third.at, third.until, third.count, third.run), (at(30), Some(at(35)), None, None));
    assert_eq!(third.late_by, Some(Duration::from_millis(1_500)));
    assert_eq!((third.reason.as_deref(), &third.key), (Some("because of 3"), &key("a")));
}

#[tokio::test]
async fn occurrences_are_listed_by_flow_and_by_time() {
    let ledger = Ledger::new();
    let other = TriggerKey { flow: "other".into(), trigger: "a".into() };
    let row = ArmedRow { key: other, position: at(0) };
    ledger
        .arm(Vec::new(), vec![new("a", 0), NewTrigger { row: row.clone(), past: None, files: Vec::new() }])
        .await
        .unwrap();
    let skipped = |second| Occurrence::new(at(second), Fate::Skipped);
    ledger.fire(vec![firing("a", 40, vec![skipped(10), skipped(20), skipped(30), skipped(40)])]).await.unwrap();
    ledger
        .fire(vec![Firing { row: ArmedRow { position: at(15), ..row }, occurrences: vec![skipped(15)] }])
        .await
        .unwrap();
    let list = async |filter: OccurrenceFilter| -> Vec<i64> {
        let shown = ledger.occurrences(filter).await.unwrap();
        shown.iter().map(|shown| shown.at.as_second() - at(0).as_second()).collect()
    };
    let filter = || OccurrenceFilter { limit: 10, ..OccurrenceFilter::default() };
    assert_eq!(list(filter()).await, [40, 30, 20, 15, 10]);
    assert_eq!(list(OccurrenceFilter { limit: 2, ..filter() }).await, [40, 30]);
    assert_eq!(list(OccurrenceFilter { flow: Some("other".into()), ..filter() }).await, [15]);
    assert_eq!(list(OccurrenceFilter { from: Some(at(15)), to: Some(at(40)), ..filter() }).await, [30, 20, 15]);
}

#[tokio::test]
async fn firing_is_refused_only_when_there_is_no_room_for_a_single_run() {
    let ledger = Ledger::new();
    ledger.limit_backlog(1).await.unwrap();
    ledger.arm(Vec::new(), vec![new("a", 0)]).await.unwrap();
    assert_eq!(ledger.fire(vec![firing("a", 20, vec![ran(10, 1), ran(20, 2)])]).await.unwrap(), 2);
    let full = ledger.fire(vec![firing("a", 30, vec![ran(30, 3)])]).await.unwrap_err();
    assert!(matches!(full, StoreError::Backlog(_)), "{full}");
    assert_eq!((positions(&ledger).await[0].1, all(&ledger).await.len()), (at(20), 2), "nothing was written");
    ledger.limit_backlog(100).await.unwrap();
    assert_eq!(ledger.fire(vec![firing("a", 30, vec![ran(30, 3)])]).await.unwrap(), 1);
}

#[tokio::test]
async fn files_are_kept_as_they_were_seen_and_begin_runs_with_it() {
    let ledger = Ledger::new();
    let there = NewTrigger { files: vec![file("in/a"), file("in/b")], ..new("a", 0) };
    ledger.arm(Vec::new(), vec![there, new("b", 0)]).await.unwrap();
    let changed = SeenFile { size: 9, hash: None, ..file("in/a") };
    let gone = SeenFile { gone_at: Some(at(50)), ..file("in/b") };
    let seen = vec![
        Seen { row: changed.clone(), run: Some(run(1)) },
        Seen { row: gone.clone(), run: None },
        Seen { row: file("in/c"), run: None },
    ];
    ledger.see_files(&key("a"), seen, at(40)).await.unwrap();
    let ledger = ledger.again();
    let files = async |trigger: &str| {
        let mut files = ledger.seen_files(&key(trigger)).await.unwrap();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    };
    assert_eq!(files("a").await, [changed, gone, file("in/c")]);
    assert!(files("b").await.is_empty());
    assert!(ledger.ready(1).await.is_some());
    ledger.see_files(&key("a"), Vec::new(), at(51)).await.unwrap();
    assert_eq!(files("a").await.len(), 2, "what has long been gone is forgotten");
    ledger.arm(vec![key("a")], Vec::new()).await.unwrap();
    assert!(files("a").await.is_empty());
}

#[tokio::test]
async fn a_file_for_whose_run_there_is_no_room_is_not_seen_yet() {
    let ledger = Ledger::new();
    ledger.limit_backlog(1).await.unwrap();
    ledger.arm(Vec::new(), vec![new("a", 0)]).await.unwrap();
    ledger.begin(1).await;
    let seen = || vec![Seen { row: file("in/a"), run: Some(run(2)) }, Seen { row: file("in/b"), run: None }];
    let full = ledger.see_files(&key("a"), seen(), at(0)).await.unwrap_err();
    assert!(matches!(full, StoreError::Backlog(_)), "{full}");
    assert!(ledger.seen_files(&key("a")).await.unwrap().is_empty(), "all or none");
    ledger.limit_backlog(9).await.unwrap();
    ledger.see_files(&key("a"), seen(), at(0)).await.unwrap();
    assert_eq!(ledger.seen_files(&key("a")).await.unwrap().len(), 2);
    assert!(ledger.ready(2).await.is_some());
}
