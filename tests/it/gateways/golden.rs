//! One table for each gateway: every kind and option gives the exact request, the recorded
//! degradation, or the refusal.

use std::fmt::Write;

use regex::Regex;
use serde_json::{Value, json};

use super::fake::{self, Dialect, Got};
use super::{Desk, Outcome};

const PHONE: &str = "+15417543010";

/// Name and message; `to` is a phone unless it is there.
pub fn wishes() -> Vec<(&'static str, Value)> {
    let mut all = bare();
    for (_, wish) in &mut all {
        if wish.get("to").is_none() {
            wish["to"] = PHONE.into();
        }
    }
    all
}

fn bare() -> Vec<(&'static str, Value)> {
    let long = "word ".repeat(1000);
    vec![
        ("text", json!({ "text": "Hi *Ada*\nsecond line" })),
        ("text to a group", json!({ "to": "15417543010-1570918620@g.us", "text": "Hi" })),
        ("text to a channel", json!({ "to": "120363024512345678@newsletter", "text": "Hi" })),
        ("text to a hidden identity", json!({ "to": "77512345678901@lid", "text": "Hi" })),
        ("text to a business-scoped id", json!({ "to": "US.13491208655302741918", "text": "Hi" })),
        ("text reply_to", json!({ "text": "Yes", "reply_to": "false_15417543010@c.us_ABC" })),
        ("text forwarded", json!({ "text": "Look", "forwarded": true })),
        ("text disappear", json!({ "text": "Psst", "disappear": "24h" })),
        ("text disappear, drop", json!({ "text": "Psst", "disappear": "24h", "on_unsupported": "drop" })),
        ("text mentions", json!({ "text": "Hi @15417543011", "mentions": ["+15417543011", "everyone"] })),
        ("text mentions, not in the text", json!({ "text": "Hi", "mentions": ["+15417543011"] })),
        ("text recipient_name", json!({ "text": "Hi", "recipient_name": "Ada Lovelace" })),
        ("text of 5,000 characters", json!({ "text": long })),
        ("text with raw fields", json!({ "text": "Hi", "account": "main", "extra": { "future": "x" } })),
        ("link", json!({ "kind": "link", "url": "MEDIA/page" })),
        ("link to a bare page", json!({ "kind": "link", "url": "MEDIA/bare" })),
        ("link caption", json!({ "kind": "link", "url": "MEDIA/bare", "caption": "Look at this" })),
        (
            "link with a card",
            json!({ "kind": "link", "url": "MEDIA/bare", "caption": "Look", "title": "Mine", "description": "My words" }),
        ),
        (
            "link with a whole card",
            json!({ "kind": "link", "url": "MEDIA/bare", "title": "Mine", "description": "My words",
                "thumbnail": "MEDIA/card.png", "high_quality": true }),
        ),
        (
            "link title, strict",
            json!({ "kind": "link", "url": "MEDIA/bare", "title": "Mine", "on_unsupported": "strict" }),
        ),
        ("link title, drop", json!({ "kind": "link", "url": "MEDIA/bare", "title": "Mine", "on_unsupported": "drop" })),
        (
            "link thumbnail, emulate",
            json!({ "kind": "link", "url": "MEDIA/bare", "caption": "Look", "thumbnail": "MEDIA/card.png",
                "on_unsupported": "emulate" }),
        ),
        ("link without preview", json!({ "kind": "link", "url": "MEDIA/page", "caption": "Look", "preview": false })),
        ("link reply_to", json!({ "kind": "link", "url": "MEDIA/bare", "reply_to": "false_15417543010@c.us_ABC" })),
        ("link track", json!({ "kind": "link", "url": "MEDIA/page", "track": true })),
        ("image from an address", json!({ "kind": "image", "source": "MEDIA/a.jpg", "caption": "c" })),
        ("image from an address without ending", json!({ "kind": "image", "source": "MEDIA/picture" })),
        ("image from a file", json!({ "kind": "image", "source": "files/a.png", "caption": "c" })),
        (
            "image reply_to, forwarded",
            json!({ "kind": "image", "source": "files/a.png", "reply_to": "false_15417543010@c.us_ABC", "forwarded": true }),
        ),
        ("image view_once", json!({ "kind": "image", "source": "files/a.png", "view_once": true })),
        (
            "image view_once, drop",
            json!({ "kind": "image", "source": "files/a.png", "view_once": true, "on_unsupported": "drop" }),
        ),
        ("image hd", json!({ "kind": "image", "source": "files/a.png", "hd": true })),
        ("image that is a page", json!({ "kind": "image", "source": "MEDIA/page.jpg" })),
        ("image that is a document", json!({ "kind": "image", "source": "files/a.pdf" })),
        ("image in WebP", json!({ "kind": "image", "source": "files/a.webp" })),
        ("image of 21 MB", json!({ "kind": "image", "source": "MEDIA/heavy.jpg" })),
        (
            "image with a long caption",
            json!({ "kind": "image", "source": "files/a.png", "caption": "word ".repeat(300) }),
        ),
        ("file from an address", json!({ "kind": "file", "source": "MEDIA/a.pdf" })),
        (
            "file with caption and name",
            json!({ "kind": "file", "source": "files/a.pdf", "caption": "The bill", "name": "Bill 7.pdf" }),
        ),
        ("file name, from an address", json!({ "kind": "file", "source": "MEDIA/a.pdf", "name": "Bill 7.pdf" })),
        ("video", json!({ "kind": "video", "source": "MEDIA/a.mp4", "caption": "c" })),
        ("video from a file, round", json!({ "kind": "video", "source": "files/a.mp4", "note": true })),
        ("video gif, hd", json!({ "kind": "video", "source": "files/a.mp4", "gif": true, "hd": true })),
        ("audio", json!({ "kind": "audio", "source": "files/a.ogg" })),
        ("audio from an address", json!({ "kind": "audio", "source": "MEDIA/a.ogg" })),
        ("voice", json!({ "kind": "voice", "source": "files/a.ogg" })),
        ("voice from an address", json!({ "kind": "voice", "source": "MEDIA/a.ogg" })),
        ("sticker", json!({ "kind": "sticker", "source": "files/a.webp" })),
        ("location", json!({ "kind": "location", "latitude": 52.5163, "longitude": 13.3777 })),
        (
            "location with name and address",
            json!({ "kind": "location", "latitude": -33.5, "longitude": 13.0, "name": "Shop", "address": "Main Street 1" }),
        ),
        ("contact", json!({ "kind": "contact", "name": "Ada Lovelace", "phone": "+1 541-754-3011" })),
        (
            "contacts",
            json!({ "kind": "contact", "contacts": [
                { "name": "Ada Lovelace", "phone": "+15417543011", "organization": "Engines; Ltd." },
                { "name": "Charles Babbage", "phone": "+447700900123" }] }),
        ),
        ("poll", json!({ "kind": "poll", "question": "When?", "options": ["Monday", "Tuesday"] })),
        (
            "poll with several answers",
            json!({ "kind": "poll", "question": "When?", "options": ["Mo", "Tu", "We"], "max_answers": 2 }),
        ),
        (
            "poll, strict",
            json!({ "kind": "poll", "question": "When?", "options": ["Mo", "Tu"], "on_unsupported": "strict" }),
        ),
        ("reaction", json!({ "kind": "reaction", "message": "false_15417543010@c.us_ABC", "emoji": "👍" })),
        (
            "reaction to our own",
            json!({ "kind": "reaction", "message": "true_15417543010@c.us_DEF", "emoji": "👍", "own": true }),
        ),
        (
            "template",
            json!({ "kind": "template", "name": "HX00000000000000000000000000000000", "language": "en_US",
                "variables": { "1": "Ada", "2": "A-17" } }),
        ),
        (
            "template with components",
            json!({ "kind": "template", "name": "HX00000000000000000000000000000000", "language": "en_US",
                "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Ada" }] }] }),
        ),
    ]
}

/// A request in one line, or one for each part of a form.
fn written(got: &Got) -> String {
    let mut text = format!("{} {}", got.method, got.path);
    if let Some(query) = &got.query {
        write!(text, "?{query}").unwrap();
    }
    let kind = got.header("content-type").unwrap_or_default();
    if kind.starts_with("multipart/") {
        for part in got.multipart().unwrap() {
            let what = match (&part.file_name, &part.content_type) {
                (Some(name), Some(kind)) => format!("file {name:?} {kind} of {} bytes", part.bytes.len()),
                _ => format!("{:?}", part.text().unwrap()),
            };
            write!(text, "\n    {} = {what}", part.name).unwrap();
        }
    } else if kind == "application/x-www-form-urlencoded" {
        for (name, value) in got.form().unwrap() {
            write!(text, "\n    {name} = {value:?}").unwrap();
        }
    } else {
        write!(text, "\n    {}", serde_json::from_slice::<Value>(&got.body).unwrap_or_default()).unwrap();
    }
    text
}

fn told(outcome: &Outcome) -> String {
    let mut text = String::new();
    for request in &outcome.requests {
        writeln!(text, "  {}", written(request)).unwrap();
    }
    let message = &outcome.message;
    let class = message["attempts"].as_array().and_then(|all| all.last()).map(|last| last["outcome"].clone());
    write!(text, "  = {}", message["state"].as_str().unwrap()).unwrap();
    match (message["why"].as_str(), class.and_then(|class| class.as_str().map(str::to_owned))) {
        (Some(why), Some(class)) => writeln!(text, " ({class}): {why}").unwrap(),
        (Some(why), None) => writeln!(text, ": {why}").unwrap(),
        _ => writeln!(text, " {}", message["provider_id"].as_str().unwrap_or("without an id")).unwrap(),
    }
    for change in message["degraded"].as_array().into_iter().flatten() {
        writeln!(text, "  ~ {}: {}", change["field"].as_str().unwrap(), change["action"].as_str().unwrap()).unwrap();
    }
    for part in message["parts"].as_array().into_iter().flatten() {
        writeln!(text, "  + {} {}", part["kind"].as_str().unwrap(), part["state"].as_str().unwrap()).unwrap();
    }
    text
}

async fn table(dialect: Dialect) {
    let desk = Desk::open(dialect, "").await;
    let mut table = String::new();
    let media = Regex::new(r"/media/[\w-]+").unwrap();
    let ids = [
        (Regex::new(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap(), "UUID"),
        (Regex::new(r#""3EB0[0-9A-F]{20}""#).unwrap(), "\"OWN-ID\""),
        (Regex::new(r"/l/[\w-]+").unwrap(), "/l/TOKEN"),
        (Regex::new(r"(word ?){100,}").unwrap(), "WORDS"),
        // Ids that the fakes make up: what stays is where they were found.
        (Regex::new(r"wamid\.[\w+/=]+").unwrap(), "wamid.#"),
        (Regex::new(r#""id":"\d{10,}""#).unwrap(), "\"id\":\"#\""),
        (Regex::new(r"(3EB0|SM|_)[0-9A-Fa-f]{16,32}").unwrap(), "$1#"),
        (Regex::new(r"accepted [0-9a-f]{24}").unwrap(), "accepted #"),
    ];
    for (name, wish) in wishes() {
        let outcome = desk.send(&wish).await;
        let mut text = told(&outcome).replace(&desk.media.to_string(), "media.example");
        text = media.replace_all(&text, "/media/TOKEN").into_owned();
        for (pattern, instead) in &ids {
            text = pattern.replace_all(&text, *instead).into_owned();
        }
        writeln!(table, "{name}\n{text}").unwrap();
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(".");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(dialect.name, table));
    assert_eq!(desk.fake.faults(), Vec::<String>::new(), "the gateway would have refused these");
}

macro_rules! tables {
    ($($test:ident: $name:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            table(fake::$name::DIALECT).await;
        }
    )*};
}

tables! {
    gowa_gets_what_it_documents: gowa;
    wapim_gets_what_it_documents: wapim;
    wawp_gets_what_it_documents: wawp;
    express_chat_gets_what_it_documents: express_chat;
    waha_gets_what_it_documents: waha;
    meta_gets_what_it_documents: meta;
    evolution_gets_what_it_documents: evolution;
    twilio_gets_what_it_documents: twilio;
}
