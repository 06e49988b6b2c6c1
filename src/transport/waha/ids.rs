//! How WAHA and its hosted sister name chats and messages in requests and in their answers.

use serde_json::Value;

use super::events::chat_of;
use crate::model::delivery::{ErrorClass, SendError};
use crate::model::recipient::Recipient;
use crate::transport::events::{person, person_in};

/// The address of a chat.
pub fn chat(to: &Recipient) -> String {
    match to {
        Recipient::Phone(digits) => format!("{digits}@c.us"),
        other => other.to_string(),
    }
}

/// The id of a message that is to be marked, where it names its chat: the mark goes there, whatever
/// else the request says.
///
/// # Errors
/// [`ErrorClass::Invalid`] when that chat is certainly not the recipient.
pub fn marked(id: String, to: &Recipient) -> Result<String, SendError> {
    let named = chat_of(&id).and_then(person);
    let other = named.filter(|named| match (named, to) {
        // Of some countries' phones WhatsApp has another writing.
        (Recipient::Phone(named), Recipient::Phone(digits)) => !is_one_line(named, digits),
        (Recipient::Phone(_) | Recipient::Lid(_), Recipient::Phone(_) | Recipient::Lid(_) | Recipient::Bsuid(_)) => {
            named.kind() == to.kind() && named != to
        }
        _ => named != to,
    });
    match other {
        None => Ok(id),
        Some(other) => {
            let message = format!("the message that is to be marked stands in the chat {other}, not in that of {to}");
            Err(SendError::new(ErrorClass::Invalid, message))
        }
    }
}

/// Mexico, Argentina and Brazil have lines with a digit more or less behind the country's code.
fn is_one_line(one: &str, other: &str) -> bool {
    let end = |digits: &str| digits.get(digits.len().saturating_sub(8)..).map(str::to_owned);
    let rewritten = ["52", "54", "55"].iter().any(|code| one.starts_with(code) && other.starts_with(code));
    one == other || (rewritten && end(one) == end(other))
}

/// The id of a message object, in the places where engines put it.
pub fn provider_id(body: &Value) -> Option<String> {
    let places = [
        &body["id"]["_serialized"],
        &body["id"],
        &body["_data"]["id"]["_serialized"],
        &body["key"]["id"],
        &body["job_id"],
    ];
    places.into_iter().find_map(Value::as_str).map(str::to_owned)
}

/// The chat that a message object stands in; the long id names it in every engine.
pub fn chat_in(body: &Value) -> Option<Recipient> {
    let id = provider_id(body).unwrap_or_default();
    let places = [&body["id"]["remote"], &body["id"]["remote"]["_serialized"], &body["to"], &body["key"]["remoteJid"]];
    chat_of(&id).and_then(person).or_else(|| places.into_iter().find_map(person_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_in_the_chat_of_its_recipient() {
        let to = |text: &str| Recipient::parse(text).unwrap();
        let fine = [
            ("ABC", "+15417543010"),
            ("false_15417543010@c.us_ABC", "+15417543010"),
            ("false_77@lid_ABC", "+15417543010"),
            ("false_15417543010@c.us_ABC", "77@lid"),
            ("false_555193456789@c.us_ABC", "+5551993456789"),
            ("false_1203630245@g.us_ABC_15417543010@c.us", "1203630245@g.us"),
        ];
        for (id, recipient) in fine {
            assert_eq!(marked(id.into(), &to(recipient)).as_deref(), Ok(id), "{id} {recipient}");
        }
        let wrong = [
            ("false_15417543011@c.us_ABC", "+15417543010"),
            ("true_15417543011@s.whatsapp.net_ABC", "+15417543010"),
            ("false_78@lid_ABC", "77@lid"),
            ("false_1203630245@g.us_ABC_15417543010@c.us", "+15417543010"),
            ("false_15417543010@c.us_ABC", "1203630245@g.us"),
            ("false_1203@newsletter_ABC", "+15417543010"),
        ];
        for (id, recipient) in wrong {
            let error = marked(id.into(), &to(recipient)).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{id} {recipient}");
        }
    }
}
