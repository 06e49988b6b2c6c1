//! What becomes of wishes that a gateway cannot fulfil.

use super::*;
use crate::model::capability::{Intake, Kind};
use crate::model::message::Contact;

const POOR: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &[]),
        Kind::new("link", &["title"]),
        Kind::media("image", &["caption"], Intake::URL),
        Kind::media("file", &[], Intake::URL),
    ],
    addresses: &["phone"],
    cards: true,
    whole_cards: false,
    in_flight: 1,
    max_text: Some(20),
    max_caption: Some(10),
    window: false,
};
const PLAIN: Capabilities =
    Capabilities { kinds: &[Kind::new("text", &[]), Kind::new("link", &["caption"])], max_text: None, ..POOR };

fn link() -> Body {
    let content = Content::Link {
        url: "https://a.example".into(),
        caption: Some("look".into()),
        title: Some("Title".into()),
        description: Some("Words".into()),
        thumbnail: None,
        high_quality: None,
        preview: None,
        track: None,
    };
    Body { content, options: SendOptions { reply_to: Some("X".into()), ..SendOptions::default() } }
}

fn body(content: Content) -> Body {
    Body { content, options: SendOptions::default() }
}

fn picture(caption: &str) -> Media {
    let source = Source::Url { url: "https://a.example/a.png".into() };
    Media { caption: Some(caption.into()), ..Media::new(source) }
}

/// The parts in a few words.
fn parts(fitted: &Fitted) -> Vec<String> {
    let said = |content: &Content| match content {
        Content::Text { text } => text.clone(),
        Content::Link { title, caption, url, .. } => format!("link {title:?} {caption:?} {url}"),
        other => other.kind().to_owned(),
    };
    fitted.parts.iter().map(|part| said(&part.content)).collect()
}

fn emulated(content: Content) -> Fitted {
    POOR.adapt(body(content), OnUnsupported::Emulate, true).unwrap()
}

#[test]
fn a_card_becomes_words_and_each_change_is_recorded() {
    let fitted = PLAIN.adapt(link(), OnUnsupported::Emulate, false).unwrap();
    assert_eq!(parts(&fitted), ["link None Some(\"*Title*\\nWords\\nlook\") https://a.example"]);
    let fields: Vec<_> = fitted.degraded.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["title", "description", "reply_to"]);
}

#[test]
fn words_that_have_no_place_beside_a_link_go_before_it() {
    let fitted = POOR.adapt(link(), OnUnsupported::Emulate, false).unwrap();
    assert_eq!(parts(&fitted), ["Words\nlook", "link Some(\"Title\") None https://a.example"]);
    assert_eq!(fitted.main, 1);
}

#[test]
fn strict_refuses_and_privacy_is_never_dropped_by_itself() {
    let refused = PLAIN.adapt(link(), OnUnsupported::Strict, false).unwrap_err();
    assert_eq!(refused.class, ErrorClass::Unsupported);
    let mut secret = link();
    secret.options.disappear = Some(86_400);
    assert!(PLAIN.adapt(secret.clone(), OnUnsupported::Emulate, false).is_err());
    let fitted = PLAIN.adapt(secret, OnUnsupported::Drop, false).unwrap();
    assert_eq!(fitted.parts[0].options.disappear, None);
    assert!(fitted.degraded.iter().any(|change| change.field == "disappear"));
}

#[test]
fn a_link_without_preview_is_text() {
    let mut body = link();
    if let Content::Link { preview, .. } = &mut body.content {
        *preview = Some(false);
    }
    let fitted = PLAIN.adapt(body, OnUnsupported::Emulate, false).unwrap();
    assert_eq!(parts(&fitted), ["*Title*\nWords\nlook\nhttps://a.example"]);
}

#[test]
fn a_thumbnail_makes_a_picture_of_a_link_only_on_the_authors_word() {
    let mut body = link();
    if let Content::Link { thumbnail, .. } = &mut body.content {
        *thumbnail = Some("https://a.example/a.png".into());
    }
    let fitted = POOR.adapt(body.clone(), OnUnsupported::Emulate, false).unwrap();
    assert!(fitted.degraded.iter().any(|change| change.field == "thumbnail" && change.action == "left out"));
    body.options.on_unsupported = Some(OnUnsupported::Emulate);
    let fitted = POOR.adapt(body, OnUnsupported::Emulate, false).unwrap();
    assert_eq!(parts(&fitted), ["image", "*Title*\nWords\nlook", "https://a.example"]);
}

#[test]
fn kinds_that_are_missing_have_stand_ins_but_approved_texts_and_marks_do_not() {
    let poll = Content::Poll { question: "When?".into(), answers: vec!["now".into(), "no".into()], max_answers: 1 };
    assert_eq!(parts(&emulated(poll.clone())), ["When?\n1. now\n2. no"]);
    assert!(POOR.adapt(body(poll), OnUnsupported::Strict, true).is_err());
    let place = Content::Location { latitude: 52.5, longitude: 13.4, name: Some("Berlin".into()), address: None };
    assert!(parts(&PLAIN.adapt(body(place), OnUnsupported::Emulate, true).unwrap())[0].starts_with("Berlin\nhttps://"));
    assert_eq!(parts(&emulated(Content::Voice(Media::new(picture("x").source)))), ["file"]);
    let contact = Contact { name: "Ada; L.".into(), phone: "+15417543010".into(), organization: None };
    let card = Content::Contact { contacts: vec![contact] };
    assert_eq!(parts(&emulated(card.clone())), ["file"]);
    assert_eq!(parts(&POOR.adapt(body(card), OnUnsupported::Emulate, false).unwrap()).join(""), "Ada; L.:+15417543010");
    for content in [
        Content::Reaction { message: "X".into(), emoji: "👍".into(), own: false },
        Content::Template { name: "t".into(), language: None, components: Vec::new(), variables: Default::default() },
        Content::Sticker(picture("x")),
    ] {
        for policy in [OnUnsupported::Emulate, OnUnsupported::Drop, OnUnsupported::Strict] {
            assert_eq!(POOR.adapt(body(content.clone()), policy, true).unwrap_err().class, ErrorClass::Unsupported);
        }
    }
}

#[test]
fn what_is_too_long_is_cut_at_a_good_place() {
    let fitted = emulated(Content::Text { text: "one two three\n\nfour five six seven eight nine".into() });
    assert_eq!(parts(&fitted), ["one two three", "four five six seven", "eight nine"]);
    assert_eq!(
        parts(&emulated(Content::Text { text: "x".repeat(45) })),
        ["x".repeat(20), "x".repeat(20), "x".repeat(5)]
    );
    assert_eq!(parts(&emulated(Content::Image(picture("longer than ten")))), ["image", "longer than ten"]);
    assert_eq!(parts(&emulated(Content::File(picture("said")))), ["file", "said"]);
    let long = body(Content::Text { text: "x".repeat(21) });
    assert!(POOR.adapt(long, OnUnsupported::Strict, true).is_err());
}

#[test]
fn a_vcard_holds_what_whatsapp_looks_for() {
    let contact = Contact { name: "Ada, L.".into(), phone: "+15417543010".into(), organization: Some("A;B".into()) };
    let card = contact.vcard();
    assert!(card.contains("FN:Ada\\, L.\n") && card.contains("ORG:A\\;B\n"), "{card}");
    assert!(card.contains("waid=15417543010:+15417543010\n"), "{card}");
}
