//! The state table and what waits make of it.

use super::*;
use MessageState::*;

#[test]
fn every_row_of_the_table_and_nothing_else() {
    let steps = [
        Step::Due,
        Step::Claim,
        Step::Reached(Accepted),
        Step::Reached(Sent),
        Step::Reached(Delivered),
        Step::Reached(Read),
        Step::TryAgain,
        Step::Doubt,
        Step::Refuse,
        Step::GiveUp,
        Step::Expire,
        Step::Cancel,
        Step::Resend,
        Step::Vouch,
        Step::Retry,
    ];
    let mut table = String::new();
    for state in MessageState::ALL {
        for step in steps {
            if let Some(next) = state.after(step) {
                table.push_str(&format!("{} --{step:?}--> {}\n", state.name(), next.name()));
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn acks_never_go_backwards() {
    assert_eq!(Read.after(Step::Reached(Delivered)), None);
    assert_eq!(Delivered.after(Step::Reached(Sent)), None);
    assert_eq!(Unknown.after(Step::Reached(Accepted)), Some(Accepted));
}

#[test]
fn waits_end_when_reached_or_hopeless() {
    assert!(!Queued.answers(Goal::Settled) && Unknown.answers(Goal::Settled));
    assert!(!Unknown.answers(Goal::State(Delivered)) && Dead.answers(Goal::State(Delivered)));
    assert!(Read.answers(Goal::State(Delivered)) && !Sent.answers(Goal::State(Delivered)));
    assert!(Sending.answers(Goal::State(Queued)) && !Scheduled.answers(Goal::State(Queued)));
    assert!(Unknown.answers(Goal::State(Sending)) && Unknown.answers(Goal::State(Unknown)));
    assert!(Sent.answers(Goal::State(Unknown)) && !Sending.answers(Goal::State(Unknown)));
    // It may be refused after all, until it has arrived.
    assert!(!Sent.answers(Goal::State(Rejected)) && Delivered.answers(Goal::State(Rejected)));
    assert!(Rejected.answers(Goal::State(Rejected)) && Sent.answers(Goal::State(Dead)));
}
