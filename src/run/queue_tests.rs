//! What the run queue promises: no run is lost or taken twice, no flow waits for ever.

use std::collections::BTreeMap;

use super::*;
use crate::model::run::NewRun;
use crate::run::flow_queue::AHEAD;

fn take(queue: &Arc<RunQueue>) -> Lease {
    queue.take(&Alarm::mine(), 0).unwrap()
}

fn run(id: u8, flow: &str, ready: i64) -> ReadyRun {
    ReadyRun::bare(flow, RunId::from_bytes([id; 16]), ready)
}

/// Everything that is ready of a flow behind a number is read.
fn fill(queue: &RunQueue, flow: &str, cursor: i64, runs: Vec<ReadyRun>) {
    queue.fill(&Page { flow: flow.into(), cursor, most: AHEAD }, runs);
}

/// Where flows are to be read on from.
fn wanting(queue: &RunQueue) -> Vec<(String, i64)> {
    queue.wanting().into_iter().map(|page| (page.flow.to_string(), page.cursor)).collect()
}

#[test]
fn flows_take_turns_and_none_holds_all_threads() {
    let queue = RunQueue::new(3);
    for flow in ["a", "b"] {
        queue.announce(flow.into());
    }
    fill(&queue, "a", 0, (1..=5).map(|n| run(n, "a", i64::from(n))).collect());
    let first = take(&queue);
    let second = take(&queue);
    assert_eq!((first.run.flow.as_str(), second.run.flow.as_str()), ("a", "a"));
    fill(&queue, "b", 0, vec![run(9, "b", 9)]);
    let third = take(&queue);
    assert_eq!(third.run.flow, "b", "the third thread is not for a third run of `a`");
    let ready = first.off_thread().unwrap();
    queue.done(ready.id);
    assert_eq!(take(&queue).run.flow, "a");
}

#[test]
fn a_run_that_is_ready_again_before_word_of_its_commit_came_is_not_lost() {
    let queue = RunQueue::new(2);
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 7)]);
    let taken = take(&queue).off_thread().unwrap();
    // The commit made it ready again with a higher number, and the store was read at once.
    fill(&queue, "a", 7, vec![run(1, "a", 8)]);
    assert_eq!(wanting(&queue), []);
    queue.done(taken.id);
    assert_eq!(wanting(&queue), [("a".into(), 7)]);
    fill(&queue, "a", 7, vec![run(1, "a", 8)]);
    assert_eq!(take(&queue).run.ready, 8);
}

#[test]
fn a_reading_that_is_older_than_the_end_of_a_turn_begins_nothing_again() {
    let queue = RunQueue::new(2);
    queue.announce("a".into());
    queue.reads();
    fill(&queue, "a", 0, vec![run(1, "a", 7)]);
    let taken = take(&queue).off_thread().unwrap();
    // The store is read, then the turn's commit is heard of, then the reading arrives.
    queue.announce("a".into());
    queue.reads();
    queue.in_flight(taken.id, "a", 8);
    queue.landed(taken.id, "a");
    fill(&queue, "a", 7, vec![run(1, "a", 8)]);
    queue.announce("a".into());
    queue.reads();
    fill(&queue, "a", 0, vec![run(1, "a", 9)]);
    assert_eq!(take(&queue).run.ready, 9, "8 was through");
}

#[test]
fn a_thread_that_was_given_up_takes_nothing_from_the_next_turn_of_its_run() {
    let queue = RunQueue::new(2);
    queue.joined();
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 7)]);
    let old = take(&queue);
    assert!(queue.give_up(&queue.turns()[0], Overdue::Time(Duration::ZERO)));
    queue.done(old.run.id);
    // Somebody retries the run while its old thread still computes.
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 8)]);
    let new = take(&queue);
    assert!(old.off_thread().is_none());
    assert_eq!(new.off_thread().unwrap().ready, 8);
}

#[test]
fn a_turn_that_was_not_committed_is_read_again() {
    let queue = RunQueue::new(2);
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 7)]);
    let taken = take(&queue).off_thread().unwrap();
    assert_eq!(queue.running().len(), 1);
    queue.again(taken.id, taken.ready);
    assert_eq!(wanting(&queue), [("a".into(), 6)]);
    assert!(queue.running().is_empty());
}

/// A store of one flow: its ready runs by number.
fn read(queue: &RunQueue, store: &BTreeMap<i64, ReadyRun>) {
    for page in queue.wanting() {
        queue.reads();
        let behind = store.range(page.cursor + 1..).take(page.most);
        queue.fill(&page, behind.map(|(_, run)| run.clone()).collect());
    }
}

#[test]
fn flows_without_ready_runs_cost_nothing() {
    let queue = RunQueue::new(2);
    for number in 0..1_000u16 {
        let flow: Arc<str> = number.to_string().into();
        let mut id = [0; 16];
        id[14..].copy_from_slice(&number.to_be_bytes());
        queue.announce(flow.clone());
        fill(&queue, &flow, 0, vec![ReadyRun::bare(&flow, RunId::from_bytes(id), 1 + i64::from(number))]);
    }
    assert_eq!(queue.lock().order.len(), 1_000);
    for _ in 0..1_000 {
        let taken = take(&queue).off_thread().unwrap();
        queue.done(taken.id);
    }
    queue.announce("nothing".into());
    fill(&queue, "nothing", 0, Vec::new());
    let state = queue.lock();
    assert_eq!((state.flows.len(), state.order.len(), state.taken.len(), state.held), (0, 0, 0, 0));
}

#[test]
fn a_flow_that_may_not_begin_comes_back_into_the_order() {
    let queue = RunQueue::new(2);
    queue.joined();
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 1), run(2, "a", 2)]);
    let first = take(&queue);
    assert_eq!(queue.lock().order.len(), 0, "the last thread is for others");
    let first = first.off_thread().unwrap();
    assert_eq!(queue.lock().order.len(), 1);
    queue.done(first.id);
    let second = take(&queue);
    assert!(queue.give_up(&queue.turns()[0], Overdue::Memory));
    queue.done(second.run.id);
    assert_eq!(queue.lock().flows.len(), 0);
}

#[test]
fn a_flow_that_was_forgotten_is_read_again_when_an_answer_could_not_be_recorded() {
    let queue = RunQueue::new(2);
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 7)]);
    let taken = take(&queue).off_thread().unwrap();
    queue.in_flight(taken.id, "a", 8);
    queue.landed(taken.id, "a");
    assert_eq!(queue.lock().flows.len(), 0);
    queue.reread("a", 8);
    assert_eq!(wanting(&queue), [("a".into(), 0)]);
    queue.reads();
    fill(&queue, "a", 0, vec![run(1, "a", 8)]);
    assert_eq!(take(&queue).run.ready, 8);
}

#[test]
fn what_is_held_is_bounded_by_bytes_and_each_run_is_taken_once() {
    const RUNS: i64 = 100;
    let queue = RunQueue::new(3);
    let heavy = |ready: i64| {
        let event = "x".repeat(1 << 20);
        ReadyRun { event: event.into(), ..run(ready as u8, "a", ready) }
    };
    let mut store: BTreeMap<i64, ReadyRun> = (1..=RUNS).map(|ready| (ready, heavy(ready))).collect();
    queue.announce("a".into());
    let mut order = Vec::new();
    while !store.is_empty() {
        read(&queue, &store);
        assert!(queue.lock().held < HELD + (2 << 20));
        // Somebody else's small run is held beside it.
        if order.len() == 10 {
            queue.announce("b".into());
            let page = queue.wanting().into_iter().find(|page| &*page.flow == "b").unwrap();
            queue.fill(&page, vec![run(200, "b", 1_000)]);
        }
        let taken = take(&queue).off_thread().unwrap();
        order.push(taken.ready);
        store.remove(&taken.ready);
        queue.done(taken.id);
    }
    let other = order.iter().position(|ready| *ready == 1_000).unwrap();
    assert!(other < 13, "the other flow waits for none of what the first one holds");
    order.remove(other);
    assert_eq!(order, (1..=RUNS).collect::<Vec<_>>());
    assert_eq!(queue.lock().held, 0);
}

fn fresh(id: u8, flow: &str) -> (ReadyRun, Arc<Fresh>) {
    let run = NewRun {
        id: RunId::from_bytes([id; 16]),
        flow: flow.into(),
        version: "v".into(),
        trigger: "webhook".into(),
        event: "{}".into(),
        seed: [0; 16],
        at: jiff::Timestamp::UNIX_EPOCH,
        root: None,
        generation: 0,
        marks: Vec::new(),
        slot: None,
    };
    (ReadyRun::fresh(&run), Fresh::new(run).0)
}

#[test]
fn a_run_that_is_offered_is_taken_once_and_what_follows_is_not_lost() {
    let queue = RunQueue::new(2);
    let (run_1, way) = fresh(1, "a");
    assert!(queue.offer(run_1, &way));
    let lease = take(&queue);
    assert!(lease.fresh.is_some());
    // It was accepted without its turn meanwhile, and the store is read.
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 5)]);
    queue.numbered(lease.run.id, 5);
    let taken = lease.off_thread().unwrap();
    // Its turn has made it ready again, and that was read before word of the commit came.
    queue.announce("a".into());
    fill(&queue, "a", 5, vec![run(1, "a", 6)]);
    queue.done(taken.id);
    assert_eq!(wanting(&queue), [("a".into(), 5)]);
    fill(&queue, "a", 5, vec![run(1, "a", 6)]);
    let again = take(&queue);
    assert_eq!((again.run.ready, again.fresh.is_none()), (6, true));
}

#[test]
fn a_run_that_went_with_its_turn_is_read_again_with_whatever_number_it_has_then() {
    let queue = RunQueue::new(2);
    let (run_1, way) = fresh(1, "a");
    assert!(queue.offer(run_1, &way));
    let taken = take(&queue).off_thread().unwrap();
    queue.hands_in(taken.id);
    queue.announce("a".into());
    fill(&queue, "a", 0, vec![run(1, "a", 1)]);
    queue.done(taken.id);
    fill(&queue, "a", 0, vec![run(1, "a", 1)]);
    assert_eq!(take(&queue).run.ready, 1);
}

#[test]
fn nobody_is_overtaken_by_what_is_offered() {
    let queue = RunQueue::new(2);
    queue.announce("a".into());
    let (run_9, way) = fresh(9, "a");
    assert!(!queue.offer(run_9.clone(), &way), "the store may have older runs of this flow");
    fill(&queue, "a", 0, vec![run(1, "a", 1)]);
    assert!(queue.offer(run_9, &way));
    let (run_8, other) = fresh(8, "b");
    assert!(queue.offer(run_8, &other));
    let order = [take(&queue), take(&queue)];
    assert_eq!(order.map(|lease| lease.run.id.as_bytes()[0]), [1, 8], "flows take turns");
    queue.close();
    let (run_7, late) = fresh(7, "c");
    assert!(!queue.offer(run_7, &late));
}
