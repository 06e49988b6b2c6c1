//! What WAHA's engines send, and what is heard of it.

use serde_json::json;

use super::*;
use crate::model::delivery::{ErrorClass, MessageState};
use crate::model::inbound::Fate;
use crate::transport::events::{post, second};

const BODY: &[u8] = br#"{"event":"message","session":"default","engine":"WEBJS"}"#;
const SIGNED: &str = "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8\
                      097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89";
const GROUP: &str = "120363024512345678@g.us";

/// What an event with this payload tells an account of the session `default`.
fn heard(event: &str, bare: bool, payload: Value) -> Vec<Told> {
    let me = json!({ "id": "15550100009@c.us", "lid": "99@lid" });
    let event = json!({ "id": "evt_1", "event": event, "session": "default", "me": me, "payload": payload });
    match post(None, event.to_string().as_bytes(), |incoming| read("default", bare, None, incoming)) {
        Ok(Heard::Told(told)) => told,
        other => panic!("{other:?}"),
    }
}

fn written(payload: Value) -> Written {
    match heard("message", true, payload).pop() {
        Some(Told::Written(written)) => *written,
        other => panic!("{other:?}"),
    }
}

fn address(text: &str) -> Recipient {
    person(text).unwrap()
}

#[test]
fn the_signature_is_over_the_bytes() {
    let secret = Secret::new("my-secret-key");
    let check = |header, body: &[u8]| post(header, body, |incoming| read("default", false, Some(&secret), incoming));
    let header = Some(("x-webhook-hmac", SIGNED));
    assert_eq!(check(header, BODY), Ok(Heard::Told(Vec::new())));
    let mut other = BODY.to_vec();
    other[12] ^= 1;
    assert_eq!(check(header, &other), Err(NotHeard::Forged));
    let again = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(BODY).unwrap()).unwrap();
    assert_eq!(check(header, &again), Err(NotHeard::Forged));
    assert_eq!(check(None, BODY), Err(NotHeard::Forged));
    let unsigned = post(Some(("x-other", "")), BODY, |incoming| read("default", false, None, incoming));
    assert_eq!(unsigned, Err(NotHeard::Unverifiable));
    assert_eq!(post(None, b"no", |incoming| read("default", false, None, incoming)), Err(NotHeard::Unreadable));
}

#[test]
fn one_message_under_two_names_is_one_event() {
    // The engine in Go, whose chats may be hidden ones.
    let info = json!({ "Sender": "77:3@lid", "SenderAlt": "15417543010@s.whatsapp.net", "PushName": "Ann" });
    let payload = json!({
        "id": "false_77@lid_AAAA", "timestamp": 1_700_000_000, "from": "77@lid", "fromMe": false, "source": "app",
        "body": "Yes", "hasMedia": false, "replyTo": { "id": "3EB0Q", "participant": "99@lid" },
        "_data": { "Info": info, "Message": { "conversation": "Yes" } },
    });
    let phone = address("15417543010");
    let expected = Written {
        fields: None,
        event_id: "message:AAAA".into(),
        message_id: "false_77@lid_AAAA".into(),
        at: second(1_700_000_000),
        chat: phone.clone(),
        from: phone.clone(),
        name: Some("Ann".into()),
        kind: "text",
        text: Some("Yes".into()),
        media: None,
        reply_to: Some("3EB0Q".into()),
    };
    let all = [Told::Same(phone, address("77@lid")), Told::Written(Box::new(expected))];
    assert_eq!(heard("message", true, payload.clone()), all);
    assert_eq!(heard("message.any", true, payload.clone()), all);
    let Some(Told::Written(long)) = heard("message", false, payload).pop() else { panic!() };
    assert_eq!(long.reply_to.as_deref(), Some("true_77@lid_3EB0Q"));
}

#[test]
fn groups_are_chats_and_statuses_are_not() {
    let data = json!({ "key": { "participant": "77@lid", "participantAlt": "15417543010@s.whatsapp.net" } });
    let payload = |chat: &str| {
        json!({
            "id": format!("false_{chat}_AAAA_77@lid"), "timestamp": 1, "from": chat, "fromMe": false, "to": chat,
            "participant": "77@lid", "body": "hi", "_data": data,
        })
    };
    let all = heard("message", true, payload(GROUP));
    assert_eq!(all[0], Told::Same(address("15417543010"), address("77@lid")));
    let Told::Written(written) = &all[1] else { panic!("{all:?}") };
    assert_eq!((&written.chat, &written.from), (&address(GROUP), &address("15417543010")));
    for chat in ["status@broadcast", "1203@newsletter"] {
        assert_eq!(heard("message", true, payload(chat)), []);
    }
    let event = json!({ "event": "message", "session": "other", "payload": payload(GROUP) }).to_string();
    let other = post(None, event.as_bytes(), |incoming| read("default", true, None, incoming));
    assert_eq!(other, Ok(Heard::Told(Vec::new())));
}

#[test]
fn kinds_are_seen_in_every_engine() {
    let of = |more: Value| {
        let mut payload = json!({ "id": "false_15417543010@c.us_A", "timestamp": 1, "fromMe": false });
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        heard("message", true, payload).pop().map(|told| match told {
            Told::Written(written) => (written.kind, written.text),
            other => panic!("{other:?}"),
        })
    };
    let media = |mime: &str| json!({ "hasMedia": true, "media": { "url": "http://w/api/files/a", "mimetype": mime } });
    for (more, kind) in [
        (media("image/jpeg"), "image"),
        (media("image/webp"), "sticker"),
        (media("audio/ogg; codecs=opus"), "voice"),
        (media("audio/mpeg"), "audio"),
        (media("application/pdf"), "file"),
        (json!({ "_data": { "message": { "ephemeralMessage": { "message": { "ptvMessage": {} } } } } }), "video"),
        (json!({ "_data": { "Message": { "audioMessage": { "PTT": true } } } }), "voice"),
        (json!({ "location": { "latitude": 1 }, "body": "/9j/4AAQ" }), "location"),
        (json!({ "_data": { "type": "vcard" }, "body": "BEGIN:VCARD" }), "contact"),
    ] {
        assert_eq!(of(more.clone()), Some((kind, None)), "{more}");
    }
    let poll = json!({ "_data": { "Message": { "pollCreationMessageV3": { "name": "Lunch?" } } } });
    assert_eq!(of(poll), Some(("poll", Some("Lunch?".into()))));
    let chosen = json!({ "body": "Yes [b1]", "interactiveResponse": { "selectedText": "Yes" } });
    assert_eq!(of(chosen), Some(("choice", Some("Yes".into()))));
    let named =
        json!({ "body": "a.pdf", "media": { "url": "x", "filename": "a.pdf" }, "_data": { "type": "document" } });
    assert_eq!(of(named), Some(("file", None)));
    for nothing in [json!({}), json!({ "_data": { "type": "e2e_notification" }, "body": "x" }), json!({ "id": 5 })] {
        assert_eq!(of(nothing), None);
    }
    let url =
        json!({ "id": "false_15417543010@c.us_A", "media": { "url": "http://w/api/files/a", "mimetype": "a/b" } });
    assert_eq!(written(url).media.unwrap().source, "http://w/api/files/a");
}

#[test]
fn our_own_come_back_and_are_acknowledged() {
    let echo = |bare| {
        let payload = json!({
            "id": "true_15417543010@c.us_3EB0A", "fromMe": true, "source": "app", "body": "hi", "from": "15550100009@c.us",
        });
        match heard("message.any", bare, payload).pop() {
            Some(Told::Echo(echo)) => echo,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((echo(true).message_id.as_str(), echo(true).by_hand), ("3EB0A", true));
    assert_eq!(
        (echo(false).message_id.as_str(), echo(false).chat),
        ("true_15417543010@c.us_3EB0A", address("15417543010"))
    );
    let ack = |number: i64| {
        let payload = json!({ "id": "true_77@lid_3EB0A", "fromMe": true, "ack": number, "ackName": "X" });
        heard("message.ack", true, payload)
    };
    let chat = Some(address("77@lid"));
    let told = |fate| vec![Told::Ack(Ack { message_id: "3EB0A".into(), fate, ours: None, chat: chat.clone() })];
    assert_eq!(ack(1), told(Fate::Reached(MessageState::Sent)));
    assert_eq!(ack(2), told(Fate::Reached(MessageState::Delivered)));
    assert_eq!(ack(4), told(Fate::Reached(MessageState::Read)));
    assert!(matches!(&ack(-1)[..], [Told::Ack(Ack { fate: Fate::Failed { class: ErrorClass::Invalid, .. }, .. })]));
    assert_eq!(ack(0), []);
    assert_eq!(heard("message.ack", true, json!({ "id": "false_77@lid_B", "fromMe": false, "ack": 3 })), []);
}

#[test]
fn marks_votes_and_states() {
    let mark = json!({
        "id": "false_15417543010@c.us_R", "timestamp": 7, "from": "15417543010@c.us", "fromMe": false,
        "reaction": { "text": "👍", "messageId": "true_15417543010@c.us_3EB0A" },
    });
    let told = heard("message.reaction", true, mark);
    assert!(matches!(&told[..], [Told::Reaction(mark)] if mark.message_id == "3EB0A" && mark.emoji == "👍"));
    let vote = |options: Value, at: i64| {
        let poll = json!({ "id": "true_15417543010@c.us_3EB0P", "fromMe": true });
        let vote = json!({
            "id": "false_15417543010@c.us_3EB0P", "from": "15417543010@c.us", "to": "me", "fromMe": false,
            "selectedOptions": options, "timestamp": at,
        });
        heard("poll.vote", true, json!({ "poll": poll, "vote": vote }))
    };
    let first = vote(json!(["Yes"]), 1_700_000_000_000);
    let [Told::Written(chosen)] = &first[..] else { panic!("{first:?}") };
    assert_eq!((chosen.kind, chosen.text.as_deref(), chosen.at), ("choice", Some("Yes"), second(1_700_000_000)));
    assert_eq!(chosen.reply_to.as_deref(), Some("3EB0P"));
    let second_vote = vote(json!(["No"]), 1_700_000_009_000);
    assert!(matches!(&second_vote[..], [Told::Written(other)] if other.event_id != chosen.event_id));
    assert_eq!(vote(json!([]), 1), []);
    for (state, is_up) in [("WORKING", true), ("SCAN_QR_CODE", false)] {
        let told = heard("session.status", true, json!({ "name": "default", "status": state }));
        assert_eq!(told, [Told::Connection(Connection { is_up, state: state.into() })]);
    }
}

#[test]
fn hostile_events_tell_nothing() {
    for event in ["message", "message.ack", "message.reaction", "poll.vote", "session.status", "presence.update"] {
        for payload in [json!(null), json!([1]), json!({ "id": ["x"], "ack": 1e300, "vote": 1, "timestamp": {} })] {
            assert_eq!(heard(event, true, payload), [], "{event}");
        }
    }
    assert_eq!((chat_of("true__x"), chat_of("_")), (None, None));
}
