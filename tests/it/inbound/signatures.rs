//! Signatures: the right one opens, and one bit of it, of the body or of the address closes.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider::app::Workspace;
use postrider::config::Flags;
use reqwest::Method;
use serde_json::{Value, json};

use super::said::{self, NOW};
use super::{ECHO, PUBLIC, TOKEN, call, sign};
use crate::support::engine::House;
use crate::support::{client, folder, until};

const GOWA: &str = "transport: gowa\nwebhook_secret: \"g0wa/+secret\"";
const TWILIO: &str = "transport: twilio\naccount_sid: AC0123456789abcdef0123456789abcdef\nauth_token: \"12345\"\n\
                      from: \"+14155238886\"";

/// A body of WAHA and Wawp.
const WAHA: &str = r#"{ "id": "evt_01m0xx31cj9qweg9zxaf51mbp9", "event": "message", "session": "default",
    "payload": { "id": "false_15417543010@c.us_SIG", "timestamp": 1795158000, "from": "15417543010@c.us",
        "fromMe": false, "to": "15550100009@c.us", "body": "h\u00e9llo \/ there" } }"#;

/// An engine with one account; lines of `postrider.yaml` before the accounts, and of the account.
async fn house(before: &str, account: &str) -> House {
    let lines: String = account.lines().map(|line| format!("    {line}\n")).collect();
    let settings = format!("{before}accounts:\n  main:\n{lines}");
    House::open(&[ECHO, ("postrider.yaml", &settings)]).await
}

/// Waits for the one run that the right request started; what was refused came before it.
async fn one_run(house: &House) {
    until("the run of the right one", async || (!house.runs_of("echo").await.is_empty()).then_some(())).await;
    assert_eq!(house.runs_of("echo").await.len(), 1, "what is refused starts nothing, and what comes again neither");
}

/// A gateway that signs the raw body, and a message as it comes over the wire: with blanks, escapes
/// and an order that no writer of JSON would give it again.
struct Signs {
    account: &'static str,
    header: &'static str,
    sign: fn(&[u8]) -> String,
    body: &'static str,
}

async fn only_these_very_bytes(signs: Signs) {
    let house = house("", signs.account).await;
    let (client, body) = (client(), signs.body.as_bytes());
    let right = (signs.sign)(body);
    let post = async |headers: &[(&str, &str)], body: &[u8]| {
        call(&client, &house, Method::POST, "/gateways/main", headers, body.to_vec()).await
    };
    let refused = async |what: &str, signature: &str, body: &[u8]| {
        let (status, answer) = post(&[(signs.header, signature)], body).await;
        assert_eq!(status, 401, "{what}: {answer}");
        let computed = (signs.sign)(body);
        assert!(!answer.contains(computed.trim_start_matches("sha256=")), "nothing computed is told: {answer}");
    };
    for place in (0..body.len()).step_by(5) {
        let mut other = body.to_vec();
        other[place] ^= 1 << (place % 8);
        refused("one bit of the body", &right, &other).await;
    }
    for place in 0..right.len() {
        let mut other = right.clone().into_bytes();
        other[place] ^= 1;
        refused("one bit of the signature", &String::from_utf8(other).unwrap(), body).await;
    }
    let value: Value = serde_json::from_str(signs.body).unwrap();
    for other in [
        value.to_string(),
        serde_json::to_string_pretty(&value).unwrap(),
        signs.body.replace(r"\u00e9", "é"),
        signs.body.replace(r"\u00e9", r"\u00E9"),
        signs.body.replace(r"\/", "/"),
        signs.body.replace(": ", ":"),
        format!("{}\n", signs.body),
        format!(" {}", signs.body),
        signs.body[..signs.body.len() - 1].to_owned(),
        String::new(),
    ] {
        assert_ne!(other, signs.body);
        refused("the same in other bytes", &right, other.as_bytes()).await;
    }
    let (longer, twice) = (format!("{right}00"), format!("{right}, {right}"));
    for other in ["", "sha256=", "sha512=", &right[..right.len() / 2], longer.as_str(), twice.as_str()] {
        refused("no whole signature", other, body).await;
    }
    refused("another secret's", &sign::hub("another secret", body), body).await;
    refused("another secret's", &sign::sha512("", body), body).await;
    assert_eq!(post(&[], body).await.0, 401, "no signature");
    assert_eq!(post(&[("x-signature", right.as_str())], body).await.0, 401, "another header");
    let bearer = format!("Bearer {right}");
    assert_eq!(post(&[("authorization", bearer.as_str())], body).await.0, 401, "another header");
    let broken = (signs.sign)(b"{");
    assert_eq!(post(&[(signs.header, broken.as_str())], b"{").await.0, 400, "signed, but no JSON");
    for _ in 0..2 {
        let headers = [(signs.header, right.as_str()), ("x-webhook-hmac-algorithm", "sha512")];
        let (status, answer) = post(&headers, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    one_run(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gowa_signs_the_raw_body() {
    only_these_very_bytes(Signs {
        account: GOWA,
        header: "x-hub-signature-256",
        sign: |body| sign::hub("g0wa/+secret", body),
        body: r#"{ "event": "message", "device_id": "628123456789@s.whatsapp.net", "payload": { "id": "SIG",
            "chat_id": "15417543010@s.whatsapp.net", "from": "15417543010@s.whatsapp.net", "is_from_me": false,
            "timestamp": "2026-11-20T07:00:00Z", "body": "h\u00e9llo \/ there" } }"#,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_signs_the_raw_body_with_its_escapes() {
    only_these_very_bytes(Signs {
        account: "transport: meta\nphone_number_id: \"106540352242922\"\naccess_token: t\napp_secret: \"4pp/+secret\"",
        header: "x-hub-signature-256",
        sign: |body| sign::hub("4pp/+secret", body),
        body: r#"{ "object": "whatsapp_business_account", "entry": [ { "id": "1", "changes": [ { "value": {
            "messaging_product": "whatsapp", "metadata": { "phone_number_id": "106540352242922" },
            "contacts": [ { "wa_id": "15417543010", "profile": { "name": "Ad\u00e9le" } } ],
            "messages": [ { "id": "wamid.SIG", "from": "15417543010", "timestamp": "1795158000", "type": "text",
                "text": { "body": "a \/ b" } } ] }, "field": "messages" } ] } ] }"#,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waha_signs_the_raw_body_with_sha512() {
    only_these_very_bytes(Signs {
        account: "transport: waha\nwebhook_secret: \"w4ha/+secret\"",
        header: "x-webhook-hmac",
        sign: |body| sign::sha512("w4ha/+secret", body),
        body: WAHA,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wawp_signs_the_raw_body_with_sha256() {
    only_these_very_bytes(Signs {
        account: "transport: wawp\ninstance_id: default\naccess_token: t\nwebhook_secret: \"w4wp/+secret\"",
        header: "x-webhook-hmac",
        sign: |body| sign::sha256("w4wp/+secret", body),
        body: WAHA,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_wawp_can_be_named() {
    only_these_very_bytes(Signs {
        account: "transport: wawp\ninstance_id: default\naccess_token: t\nwebhook_secret: \"w4wp/+secret\"\n\
                  webhook_header: X-Wawp-Sign",
        header: "x-wawp-sign",
        sign: |body| sign::sha256("w4wp/+secret", body),
        body: WAHA,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_vectors_are_taken_as_they_stand() {
    let waha = "transport: waha\nwebhook_secret: my-secret-key";
    let meta = "transport: meta\nphone_number_id: \"1\"\naccess_token: t\napp_secret: app-secret";
    for (account, header, signature, body) in [
        (
            waha,
            "X-Webhook-Hmac",
            "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8\
             097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89",
            r#"{"event":"message","session":"default","engine":"WEBJS"}"#,
        ),
        (
            meta,
            "X-Hub-Signature-256",
            "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f",
            r#"{"object":"whatsapp_business_account","entry":[]}"#,
        ),
    ] {
        let (house, client) = (house("", account).await, client());
        let body = body.as_bytes().to_vec();
        let (status, answer) =
            call(&client, &house, Method::POST, "/gateways/main", &[(header, signature)], body).await;
        assert_eq!(status, 200, "{account}: {answer}");
    }
    // GOWA's has the secret that GOWA comes with, and with that we do not listen.
    let folder = folder(&[("postrider.yaml", "accounts:\n  main: { transport: gowa, webhook_secret: secret }\n")]);
    let flags = Flags::default();
    assert!(Workspace::open(folder.path(), flags, BTreeMap::new()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_signs_the_public_address_and_the_form() {
    let house = house(&format!("public_url: {PUBLIC}\n"), TWILIO).await;
    let client = client();
    let path = "/gateways/main/in?foo=1&bar=2";
    let form = said::twilio(&said::id("twilio", "51"), &[("Body", "h\u{e9}llo & more"), ("ButtonText", "Yes")]);
    let fields = said::fields(&form);
    let right = sign::twilio("12345", &format!("{PUBLIC}{path}"), &fields);
    let post = async |path: &str, signature: &str, body: Vec<u8>| {
        let kind = ("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
        let headers = [kind, ("x-twilio-signature", signature)];
        call(&client, &house, Method::POST, path, &headers, body).await.0
    };
    let body = said::encoded(&fields);
    let address = |base: &str| sign::twilio("12345", &format!("{base}{path}"), &fields);
    let local = format!("http://{}", house.engine.address().listen);
    for (what, path, signature) in [
        ("the address where we listen", path, address(&local)),
        ("without TLS", path, address(&PUBLIC.replace("https", "http"))),
        ("a slash more", path, address(&format!("{PUBLIC}/"))),
        ("another token", path, sign::twilio("12346", &format!("{PUBLIC}{path}"), &fields)),
        ("the form left out", path, sign::twilio("12345", &format!("{PUBLIC}{path}"), &[])),
        ("another path", "/gateways/main?foo=1&bar=2", right.clone()),
        ("another order", "/gateways/main/in?bar=2&foo=1", right.clone()),
        ("no query", "/gateways/main/in", right.clone()),
        ("more of a query", "/gateways/main/in?foo=1&bar=2&", right.clone()),
        ("other escapes", "/gateways/main/in?foo=%31&bar=2", right.clone()),
        ("hex instead of Base64", path, sign::sha256("12345", &body)),
        ("nothing", path, String::new()),
    ] {
        assert_eq!(post(path, &signature, body.clone()).await, 401, "{what}");
    }
    // In the last digit before the padding some bits stand for nothing.
    for place in 0..right.len() - 2 {
        let mut other = right.clone().into_bytes();
        other[place] ^= 1;
        assert_eq!(post(path, &String::from_utf8(other).unwrap(), body.clone()).await, 401);
    }
    for place in 0..fields.len() {
        let mut other = fields.clone();
        other[place].1.push('x');
        assert_eq!(post(path, &right, said::encoded(&other)).await, 401, "{} changed", other[place].0);
        let gone = other.remove(place).0;
        assert_eq!(post(path, &right, said::encoded(&other)).await, 401, "{gone} left out");
    }
    let mut more = fields.clone();
    more.push(("Zeta".into(), String::new()));
    assert_eq!(post(path, &right, said::encoded(&more)).await, 401, "a field more");
    let unsigned = call(&client, &house, Method::POST, path, &[], body.clone()).await;
    assert_eq!(unsigned.0, 401, "no signature");
    // The order of the fields and the way of escaping are not signed: it is the same message.
    let reversed: Vec<_> = fields.iter().rev().cloned().collect();
    let escaped = String::from_utf8(body.clone()).unwrap().replace('+', "%20");
    for same in [body, said::encoded(&reversed), escaped.into_bytes()] {
        assert_eq!(post(path, &right, same).await, 200);
    }
    one_run(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evolution_shows_a_token_that_lives_for_ten_minutes() {
    let account =
        "transport: evolution\nurl: http://127.0.0.1:9\napi_key: k\ninstance: my shop\nwebhook_secret: \"ev0/+jwt\"";
    let (house, client) = (house("", account).await, client());
    let event = said::text("evolution", "SIG", "Hi");
    let post = async |header: &str, event: &Value| {
        let headers = [("authorization", header), ("content-type", "application/json")];
        let body = event.to_string().into_bytes();
        call(&client, &house, Method::POST, "/gateways/main/messages-upsert", &headers, body).await.0
    };
    let head = json!({ "alg": "HS256", "typ": "JWT" });
    let claims = json!({ "iat": NOW, "exp": NOW + 600, "app": "evolution", "action": "webhook" });
    let right = sign::jwt("ev0/+jwt", &head, &claims);
    // In the last digit some bits stand for nothing.
    for place in 0..right.len() - 1 {
        let mut other = right.clone().into_bytes();
        other[place] ^= 1;
        let other = String::from_utf8(other).unwrap();
        assert_eq!(post(&format!("Bearer {other}"), &event).await, 401, "{place}: {other}");
    }
    let parts: Vec<&str> = right.split('.').collect();
    let none = sign::jwt("ev0/+jwt", &json!({ "alg": "none", "typ": "JWT" }), &claims);
    let none: Vec<&str> = none.split('.').collect();
    for wrong in [
        sign::jwt("another", &head, &claims),
        sign::jwt("", &head, &claims),
        sign::jwt("ev0/+jwt", &head, &json!({ "iat": NOW - 7200, "exp": NOW - 6600, "app": "evolution" })),
        format!("{}.{}.", none[0], none[1]),
        format!("{}.{}.{}", none[0], none[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{right}.{}", parts[2]),
        "ev0/+jwt".to_owned(),
        String::new(),
    ] {
        assert_eq!(post(&format!("Bearer {wrong}"), &event).await, 401, "{wrong}");
    }
    assert_eq!(post(&format!("Basic {right}"), &event).await, 401);
    let body = event.to_string().into_bytes();
    let keyed = call(&client, &house, Method::POST, "/gateways/main", &[("apikey", "ev0/+jwt")], body).await;
    assert_eq!(keyed.0, 401, "the key in the body and in other headers proves nothing");
    assert_eq!(post(&format!("Bearer {right}"), &event).await, 200);
    // A retry of the server's some minutes later, and one too late.
    house.pass(Duration::from_secs(540));
    assert_eq!(post(&format!("Bearer {right}"), &event).await, 200);
    house.pass(Duration::from_secs(3600));
    assert_eq!(post(&format!("Bearer {right}"), &event).await, 401);
    one_run(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_both_a_secret_and_a_secret_address_wants_both() {
    let (house, client) = (house("", &format!("{GOWA}\ninbound_token: {TOKEN}")).await, client());
    let body = said::text("gowa", "SIG", "Hi").to_string().into_bytes();
    let right = sign::hub("g0wa/+secret", &body);
    let post = async |path: &str, headers: &[(&str, &str)]| {
        call(&client, &house, Method::POST, path, headers, body.clone()).await.0
    };
    let there = format!("/gateways/main/{TOKEN}");
    let signed = [("x-hub-signature-256", right.as_str())];
    assert_eq!(post("/gateways/main", &signed).await, 401);
    assert_eq!(post("/gateways/main/elsewhere", &signed).await, 401);
    assert_eq!(post(&there, &[]).await, 401);
    assert_eq!(post(&there, &signed).await, 200);
    one_run(&house).await;
}
