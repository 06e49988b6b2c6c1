//! How far a message is, by the number that WhatsApp's own page gives it. Gateways that are made of that page pass it
//! on, in answers and in events.

use serde_json::Value;

use crate::model::delivery::{ErrorClass, MessageState};
use crate::model::inbound::Fate;

fn state(number: i64) -> Option<MessageState> {
    match number {
        1 => Some(MessageState::Sent),
        2 => Some(MessageState::Delivered),
        // 4 is a voice message that was heard.
        3 | 4 => Some(MessageState::Read),
        _ => None,
    }
}

/// What an event with this number says. That a message waits there says nothing.
pub fn ack(number: i64) -> Option<Fate> {
    if number == -1 {
        let error = "WhatsApp reported an error for this message".to_owned();
        return Some(Fate::Failed { class: ErrorClass::Invalid, error });
    }
    state(number).map(Fate::Reached)
}

/// What an answer with this number says. Without one the message is taken by the gateway, whose link to WhatsApp may
/// be dead.
pub fn reached(ack: &Value) -> MessageState {
    ack.as_i64().and_then(state).unwrap_or(MessageState::Accepted)
}
