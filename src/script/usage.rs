//! How functions are called, for errors that say so.

/// Each function's call; what stands in brackets may be left out.
const CALLS: [&str; 47] = [
    "ask(to, question [, options])",
    "base64::decode(text)",
    "base64::decode_text(text)",
    "base64::encode(text)",
    "csv::parse(text [, options])",
    "emit(name [, data [, key]])",
    "fail(reason)",
    "files::csv(path [, options])",
    "files::exists(path)",
    "files::lines(path)",
    "files::list(folder)",
    "files::move(from, to)",
    "files::read(path)",
    "flows::start(flow [, data])",
    "hash::hmac_sha256(key, text)",
    "hash::sha256(text)",
    "http::all(calls)",
    "http::delete(url [, body] [, options])",
    "http::get(url [, options])",
    "http::head(url [, options])",
    "http::patch(url [, body [, options]])",
    "http::post(url [, body [, options]])",
    "http::put(url [, body [, options]])",
    "http::request(call)",
    "json::parse(text)",
    "json::stringify(value)",
    "kv::delete(key)",
    "kv::get(key)",
    "kv::increment(key [, by])",
    "kv::list([prefix])",
    "kv::set(key, value [, life])",
    "regex::captures(text, pattern)",
    "regex::find(text, pattern)",
    "regex::is_match(text, pattern)",
    "regex::replace(text, pattern, by)",
    "respond(status [, body [, headers]])",
    "secret(name)",
    "send(to, message [, options])",
    "send_file(to, source [, options])",
    "send_image(to, source [, options])",
    "send_link(to, url [, options])",
    "send_text(to, text [, options])",
    "sleep(duration)",
    "sleep_until(time)",
    "url::encode(text)",
    "wait_for_event(name [, options])",
    "wait_for_message([options])",
];

/// How a function is called, such as `send_text(to, text [, options])`; none for those that explain
/// themselves.
pub fn of(name: &str) -> Option<String> {
    // The values of a flow and those of the workspace are called alike.
    let (shared, asked) = match name.strip_prefix("shared::") {
        Some(rest) => (true, format!("kv::{rest}")),
        None => (false, name.to_owned()),
    };
    let call = CALLS.iter().find(|call| call.split('(').next() == Some(&asked))?;
    Some(if shared { call.replacen("kv::", "shared::", 1) } else { (*call).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::engine;

    #[test]
    fn every_call_is_one_that_there_is() {
        let count = |text: &str| text.split(',').filter(|value| value.chars().any(char::is_alphanumeric)).count();
        for call in CALLS {
            let (name, values) = call.split_once('(').unwrap();
            let (least, most) = (count(values.split('[').next().unwrap()), count(values));
            for number in 0..=5 {
                assert_eq!(engine::takes(name, number), (least..=most).contains(&number), "{call} with {number}");
            }
        }
        assert_eq!(of("shared::set").unwrap(), "shared::set(key, value [, life])");
        assert_eq!(of("shared::put"), None);
    }
}
