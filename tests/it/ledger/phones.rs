//! The sandbox's phones, and the browsers that may look at them.

use postrider::store::records::*;

use super::{ADA, BOB, Ledger, at, id, text};

fn got(number: u8, to: &str, second: i64) -> PhoneMessage {
    PhoneMessage {
        id: id(number),
        account: "sandbox".into(),
        to: to.into(),
        body: text(&format!("m{number}")),
        at: at(second),
        incoming: false,
    }
}

async fn on(ledger: &Ledger, phone: Option<&str>, limit: usize) -> Vec<u8> {
    let got = ledger.phone_messages(phone.map(str::to_owned), limit).await.unwrap();
    got.iter().map(|got| got.id.as_bytes()[0]).collect()
}

async fn phones(ledger: &Ledger) -> Vec<String> {
    ledger.handsets().await.unwrap().into_iter().map(|phone| phone.phone).collect()
}

#[tokio::test]
async fn a_phone_has_what_it_got_newest_first_and_each_once() {
    let ledger = Ledger::new();
    for (number, to) in [(1, ADA), (2, BOB), (3, ADA), (1, ADA)] {
        assert!(ledger.receive_on_phone(got(number, to, i64::from(number))).await.unwrap());
    }
    let typed = PhoneMessage { incoming: true, ..got(4, ADA, 4) };
    assert!(ledger.receive_on_phone(typed.clone()).await.unwrap());
    let ledger = ledger.again();
    assert_eq!(on(&ledger, None, 10).await, [4, 3, 2, 1]);
    assert_eq!(on(&ledger, Some(ADA), 10).await, [4, 3, 1]);
    assert_eq!(on(&ledger, Some(ADA), 1).await, [4]);
    assert_eq!(ledger.phone_messages(Some(ADA.into()), 1).await.unwrap(), [typed]);
    assert_eq!(phones(&ledger).await, [ADA, BOB], "the one that got something last comes first");
}

#[tokio::test]
async fn a_phone_is_made_named_and_switched() {
    let ledger = Ledger::new();
    let change = |name: Option<&str>, off| HandsetChange { name: name.map(str::to_owned), off };
    ledger.change_handset(ADA, change(Some("Ada"), None), at(1)).await.unwrap();
    let ada = |off| Handset { phone: ADA.into(), name: Some("Ada".into()), off, at: at(1) };
    assert_eq!(ledger.handsets().await.unwrap(), [ada(false)]);
    ledger.change_handset(ADA, change(None, Some(true)), at(5)).await.unwrap();
    let ledger = ledger.again();
    assert_eq!(ledger.handsets().await.unwrap(), [ada(true)], "what is not changed stays");
    assert!(!ledger.receive_on_phone(got(1, ADA, 6)).await.unwrap(), "it is off");
    ledger.change_handset(ADA, change(None, Some(false)), at(7)).await.unwrap();
    assert!(ledger.receive_on_phone(got(2, ADA, 8)).await.unwrap());
    assert!(on(&ledger, Some(ADA), 10).await.contains(&2));
}

#[tokio::test]
async fn emptied_phones_have_nothing() {
    let ledger = Ledger::new();
    ledger.receive_on_phone(got(1, ADA, 1)).await.unwrap();
    ledger.empty_phones().await.unwrap();
    assert!(on(&ledger, None, 10).await.is_empty());
    assert!(ledger.receive_on_phone(got(2, ADA, 2)).await.unwrap());
    assert_eq!(on(&ledger, None, 10).await, [2]);
}

#[tokio::test]
async fn a_browser_is_let_in_for_as_long_as_it_comes() {
    let ledger = Ledger::new();
    let (one, other) = ([1; 32], [2; 32]);
    assert!(!ledger.session(one, at(0)).await.unwrap());
    ledger.open_session(one, at(100)).await.unwrap();
    ledger.open_session(other, at(200)).await.unwrap();
    let ledger = ledger.again();
    assert!(ledger.session(one, at(100)).await.unwrap() || ledger.session(one, at(99)).await.unwrap());
    assert!(!ledger.session([3; 32], at(0)).await.unwrap());
    assert!(!ledger.session(other, at(100_000_000)).await.unwrap(), "it stayed away for too long");
    ledger.open_session(other, at(300)).await.unwrap();
    assert_eq!(ledger.close_sessions(Some(one)).await.unwrap(), 1);
    assert_eq!(ledger.close_sessions(Some(one)).await.unwrap(), 0);
    assert!(!ledger.session(one, at(0)).await.unwrap() && ledger.session(other, at(0)).await.unwrap());
    assert_eq!(ledger.close_sessions(None).await.unwrap(), 1);
    assert!(!ledger.session(other, at(0)).await.unwrap());
}
