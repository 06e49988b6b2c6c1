//! What a message holds that is neither words nor a file: a place, people's cards, a form that was filled in.

use serde_json::{Value, json};

use super::text;

/// Most cards of one message, and most fields of a form, that are kept.
const MOST: usize = 50;

/// `#{ latitude, longitude, name, address }`; none without a place.
pub fn place(latitude: &Value, longitude: &Value, name: &Value, address: &Value) -> Option<Value> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let (latitude, longitude) = (number(latitude)?, number(longitude)?);
    Some(json!({ "latitude": latitude, "longitude": longitude, "name": text(name), "address": text(address) }))
}

/// `#{ contacts: [#{ name, phone }] }`; none without one.
pub fn cards(cards: impl IntoIterator<Item = (Option<String>, Option<String>)>) -> Option<Value> {
    let known = cards.into_iter().filter(|(name, phone)| name.is_some() || phone.is_some());
    let cards: Vec<Value> = known.take(MOST).map(|(name, phone)| json!({ "name": name, "phone": phone })).collect();
    (!cards.is_empty()).then(|| json!({ "contacts": cards }))
}

/// Name and phone of a card (RFC 6350): WhatsApp writes the digits of its own beside the phone.
pub fn card(vcard: &str) -> (Option<String>, Option<String>) {
    let (mut name, mut phone) = (None, None);
    for line in vcard.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        // `item1.TEL;type=CELL;waid=15417543010`
        let mut parts = key.split(';');
        let property = parts.next().unwrap_or_default().rsplit('.').next().unwrap_or_default();
        let value = value.trim();
        if property.eq_ignore_ascii_case("FN") && !value.is_empty() {
            name.get_or_insert_with(|| value.to_owned());
        }
        if property.eq_ignore_ascii_case("TEL") {
            let own = parts.find_map(|part| part.strip_prefix("waid=")).map(|digits| format!("+{digits}"));
            let written = Some(value.trim_start_matches("tel:").to_owned()).filter(|value| !value.is_empty());
            phone = phone.or(own).or(written);
        }
    }
    (name, phone)
}

/// What was filled into a form, which comes as the text of JSON.
pub fn form(answer: &Value) -> Option<Value> {
    let fields: serde_json::Map<String, Value> = serde_json::from_str(answer.as_str()?).ok()?;
    Some(fields.into_iter().take(MOST).collect::<serde_json::Map<_, _>>().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_as_far_as_they_go() {
        let text = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada Lovelace\r\nitem1.TEL;type=CELL;waid=15417543010:+1 541-754-3010\r\nEND:VCARD";
        assert_eq!(card(text), (Some("Ada Lovelace".into()), Some("+15417543010".into())));
        assert_eq!(card("FN:\nTEL:0151 1\nTEL:2"), (None, Some("0151 1".into())));
        assert_eq!(cards([card("nothing")]), None);
    }
}
