//! `verify` of a webhook in a flow file: how callers show that they may.

use std::time::Duration;

use super::node::{Fields, Findings, Node, Yaml};
use super::share::Share;
use super::shown::named;
use super::strength::is_secret;
use crate::flow::webhook::{Encoding, Handshake, Part, Place, Signed, Stamp, StampPlace, Verify, Way, key_within};
use crate::secret::{Hash, Secret};
use crate::units::{nearest, parse_duration};

/// How old a signature may be where nothing else is said.
const TOLERANCE: Duration = Duration::from_secs(300);

const WAYS: [&str; 13] = [
    "token",
    "basic",
    "hmac",
    "github",
    "gitlab",
    "meta",
    "shopify",
    "slack",
    "standard-webhooks",
    "stripe",
    "telegram",
    "twilio",
    "woocommerce",
];

/// Reads how callers show that they may.
pub fn verify(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Verify> {
    let Yaml::Map(entries) = &node.value else {
        node.wrong("verify", "a map such as `{ token: \"${TOKEN}\" }`, or the word `none`", findings);
        return None;
    };
    let mode = |node: &Node, findings: &mut Findings| {
        let known = |word: &str| match word {
            "observe" => Ok(true),
            "enforce" => Ok(false),
            other => Err(format!("`{other}` is neither `observe` nor `enforce`")),
        };
        node.parsed("mode", known, findings)
    };
    let mut observe = false;
    let mut ways = Vec::new();
    for (key, value) in entries {
        match key.as_text() {
            Some("mode") => observe = mode(value, findings)?,
            _ => ways.push((key, value)),
        }
    }
    let [(key, value)] = ways.as_slice() else {
        findings.at(node, "`verify` takes one way of verifying").hint("write `verify: { token: \"${TOKEN}\" }`");
        return None;
    };
    let name = key.as_text().unwrap_or_default();
    let way = match name {
        "token" => token(value, share, findings).map(|(place, secrets)| Way::Token(place, secrets)),
        "basic" => basic(value, share, findings).map(Way::Basic),
        "hmac" => hmac(value, share, findings).map(Way::Signed),
        // https://docs.gitlab.com/user/project/integrations/webhooks/#create-a-webhook
        "gitlab" => in_header("x-gitlab-token", name, value, share, findings),
        // https://core.telegram.org/bots/api#setwebhook
        "telegram" => in_header("x-telegram-bot-api-secret-token", name, value, share, findings),
        // https://www.twilio.com/docs/usage/webhooks/webhooks-security
        "twilio" => secrets(name, value, share, findings).map(Way::Twilio),
        _ if WAYS.contains(&name) => preset(name, value, share, findings).map(Way::Signed),
        other => {
            let finding = findings.at(key, format!("there is no way to verify called `{}`", named(other)));
            match nearest(other, WAYS) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", WAYS.join(", "))),
            }
            None
        }
    }?;
    Some(Verify { way, observe })
}

fn in_header(header: &str, name: &str, node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Way> {
    secrets(name, node, share, findings).map(|secrets| Way::Token(Place::Header(header.to_owned()), secrets))
}

fn token(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<(Place, Vec<Secret>)> {
    if !matches!(node.value, Yaml::Map(_)) {
        return secrets("token", node, share, findings).map(|secrets| (Place::Usual, secrets));
    }
    let mut fields = Fields::of(node, "`token`", &["header", "query", "secret"], findings)?;
    let place = match (fields.parsed("header", header, findings), fields.text("query", findings)) {
        (Some(header), None) => Place::Header(header),
        (None, Some(query)) => Place::Query(query),
        _ => {
            findings
                .at(node, "`token` needs `header` or `query`")
                .hint("write `token: { header: X-Api-Key, secret: \"${TOKEN}\" }`");
            return None;
        }
    };
    let Some(secret) = fields.take("secret") else {
        findings.at(node, "`token` needs `secret`").hint("write `secret: \"${TOKEN}\"`");
        return None;
    };
    Some((place, secrets("secret", secret, share, findings)?))
}

fn basic(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Vec<Secret>> {
    let pairs = secrets("basic", node, share, findings)?;
    if pairs.iter().any(|pair| !pair.reveal().contains(':')) {
        findings.at(node, "`basic` takes `user:password`").hint("write `basic: \"${HOOK_LOGIN}\"`");
        return None;
    }
    Some(pairs)
}

/// The name of a header, in small letters.
///
/// # Errors
/// A sentence that says how one is written.
pub fn header(word: &str) -> Result<String, String> {
    match !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        true => Ok(word.to_ascii_lowercase()),
        false => Err("a header's name has letters, digits, `-` and `_` only".to_owned()),
    }
}

fn hmac(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Signed> {
    let keys = ["header", "secret", "algorithm", "encoding", "prefix", "timestamp_header", "tolerance"];
    let mut fields = Fields::of(node, "`hmac`", &keys, findings)?;
    let algorithm = |word: &str| match word {
        "sha1" => Ok(Hash::Sha1),
        "sha256" => Ok(Hash::Sha256),
        "sha512" => Ok(Hash::Sha512),
        other => Err(format!("`{other}` is none of `sha1`, `sha256`, `sha512`")),
    };
    let encoding = |word: &str| match word {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        other => Err(format!("`{other}` is neither `hex` nor `base64`")),
    };
    let algorithm = fields.parsed("algorithm", algorithm, findings).unwrap_or(Hash::Sha256);
    let encoding = fields.parsed("encoding", encoding, findings).unwrap_or(Encoding::Hex);
    let prefix = fields.text("prefix", findings).unwrap_or_default();
    for key in ["header", "secret"] {
        if fields.take(key).is_none() {
            findings
                .at(node, format!("`hmac` needs `{key}`"))
                .hint("write `hmac: { header: X-Signature, secret: \"${SECRET}\" }`");
        }
    }
    let stamped = fields.parsed("timestamp_header", header, findings);
    let tolerance = fields.parsed("tolerance", parse_duration, findings);
    if stamped.is_none() && tolerance.is_some() {
        findings
            .at(node, "`tolerance` is for the time of a signature, and nothing says where it stands")
            .hint("add `timestamp_header: X-Timestamp`");
    }
    let over = match stamped {
        Some(_) => vec![Part::Stamp, Part::Text("."), Part::Body],
        None => vec![Part::Body],
    };
    let stamp =
        stamped.map(|header| Stamp { place: StampPlace::Header(header), tolerance: tolerance.unwrap_or(TOLERANCE) });
    let header = fields.parsed("header", header, findings);
    let secrets = secrets("secret", fields.take("secret")?, share, findings)?;
    let header = header?;
    Some(Signed {
        header,
        secrets,
        wrapped: false,
        algorithm,
        encoding,
        prefix,
        over,
        stamp,
        id: None,
        handshake: None,
    })
}

/// The signature of a known sender, as its documentation has it.
fn preset(name: &str, node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Signed> {
    let (node, handshake) = match (name, &node.value) {
        ("meta", Yaml::Map(_)) => meta(node, share, findings)?,
        ("woocommerce", _) => (node, Some(Handshake::Ping)),
        _ => (node, None),
    };
    let secrets = secrets(name, node, share, findings)?;
    let within = |header: &str| Stamp { place: StampPlace::Header(header.to_owned()), tolerance: TOLERANCE };
    let (header, encoding, prefix, over, stamp) = match name {
        // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
        // https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads
        "github" | "meta" => ("x-hub-signature-256", Encoding::Hex, "sha256=", vec![Part::Body], None),
        // https://shopify.dev/docs/apps/build/webhooks/subscribe/https
        "shopify" => ("x-shopify-hmac-sha256", Encoding::Base64, "", vec![Part::Body], None),
        // https://woocommerce.com/document/webhooks/
        "woocommerce" => ("x-wc-webhook-signature", Encoding::Base64, "", vec![Part::Body], None),
        // https://api.slack.com/authentication/verifying-requests-from-slack
        "slack" => {
            let over = vec![Part::Text("v0:"), Part::Stamp, Part::Text(":"), Part::Body];
            ("x-slack-signature", Encoding::Hex, "v0=", over, Some(within("x-slack-request-timestamp")))
        }
        // https://docs.stripe.com/webhooks#verify-manually
        "stripe" => {
            let stamp = Stamp { place: StampPlace::Within("t="), tolerance: TOLERANCE };
            let over = vec![Part::Stamp, Part::Text("."), Part::Body];
            ("stripe-signature", Encoding::Hex, "v1=", over, Some(stamp))
        }
        // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        _ => {
            if secrets.iter().any(|secret| key_within(secret).is_none()) {
                findings
                    .at(node, format!("`{name}` takes a key in base64, such as `whsec_MfKQ9r8G...`"))
                    .hint("copy it whole, with `whsec_`");
                return None;
            }
            let dot = || Part::Text(".");
            let over = vec![Part::Header("webhook-id"), dot(), Part::Stamp, dot(), Part::Body];
            ("webhook-signature", Encoding::Base64, "v1,", over, Some(within("webhook-timestamp")))
        }
    };
    let (header, prefix, standard) = (header.to_owned(), prefix.to_owned(), name == "standard-webhooks");
    Some(Signed {
        header,
        secrets,
        wrapped: standard,
        algorithm: Hash::Sha256,
        encoding,
        prefix,
        over,
        stamp,
        id: standard.then_some("webhook-id"),
        handshake,
    })
}

/// The long form of `meta`: its secret, and the word of its question.
fn meta<'n>(node: &'n Node, share: &Share<'_>, findings: &mut Findings) -> Option<(&'n Node, Option<Handshake>)> {
    let fields = Fields::of(node, "`meta`", &["secret", "verify_token"], findings)?;
    let Some(secret) = fields.take("secret") else {
        findings.at(node, "`meta` needs `secret`").hint("write `secret: \"${APP_SECRET}\"`");
        return None;
    };
    let word = match fields.take("verify_token") {
        Some(word) => Some(Handshake::Word(Secret::new(word.filled("verify_token", share, findings)?))),
        None => None,
    };
    Some((secret, word))
}

/// One secret, or two while one replaces the other.
fn secrets(name: &str, node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Vec<Secret>> {
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() || items.len() > 2 {
        findings.at(node, format!("`{name}` takes one secret, or two while one replaces the other"));
        return None;
    }
    let mut secrets = Vec::new();
    for item in items {
        let text = item.filled(name, share, findings)?;
        if !is_secret(item, name, &text, findings) {
            return None;
        }
        like_a_name(item, name, &text, findings);
        secrets.push(Secret::new(text));
    }
    Some(secrets)
}

/// Warns of what other programs would fill in and we take as it stands.
fn like_a_name(node: &Node, name: &str, text: &str, findings: &mut Findings) {
    let dollar = text.strip_prefix('$').filter(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    });
    if dollar.is_some() || text.starts_with("{{") {
        let hint = match dollar {
            Some(name) => format!("write `\"${{{name}}}\"` and give {name} a value in .env"),
            None => "write `\"${NAME}\"` and give NAME a value in .env".to_owned(),
        };
        findings.warn(node, format!("`{name}` is taken as it stands: nothing is filled in for it")).hint(hint);
    }
}
