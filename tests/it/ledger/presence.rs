//! When the engine was there, and what was turned away.

use postrider::store::records::*;

use super::{Ledger, at};

#[tokio::test]
async fn it_is_known_when_nobody_was_there() {
    let ledger = Ledger::new();
    assert_eq!(ledger.last_beat().await.unwrap(), None);
    let gap = |from, to, kind| Gap { from: at(from), to: at(to), kind };
    ledger.beat(Beat { at: at(10), stopped: false }, vec![gap(1, 5, GapKind::Down)]).await.unwrap();
    ledger
        .beat(Beat { at: at(30), stopped: true }, vec![gap(12, 20, GapKind::Asleep), gap(25, 22, GapKind::Back)])
        .await
        .unwrap();
    let ledger = ledger.again();
    assert_eq!(ledger.last_beat().await.unwrap(), Some(Beat { at: at(30), stopped: true }));
    let kinds = async |from, to| {
        let gaps = ledger.gaps(at(from), at(to)).await.unwrap();
        gaps.into_iter().map(|gap| gap.kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(0, 100).await, ["down", "asleep", "clock_back"]);
    assert_eq!(kinds(5, 12).await, ["down"]);
    assert_eq!(kinds(13, 14).await, ["asleep"]);
    assert_eq!(kinds(30, 40).await, Vec::<&str>::new());
}

#[tokio::test]
async fn refused_requests_are_kept_as_they_are_and_the_oldest_go() {
    let ledger = Ledger::new();
    let row = |id: i64, count| RefusedRow {
        id,
        since: at(1),
        at: at(id),
        what: "POST /hooks/in".into(),
        status: 401,
        reason: "the signature is missing".into(),
        from: "203.0.113.9".into(),
        count,
    };
    ledger.keep_refused(vec![row(1, 1), row(2, 1)], vec![]).await.unwrap();
    ledger.keep_refused(vec![row(2, 7), row(3, 1)], vec![1, 9]).await.unwrap();
    assert_eq!(ledger.again().refused().await.unwrap(), [row(2, 7), row(3, 1)]);
}
