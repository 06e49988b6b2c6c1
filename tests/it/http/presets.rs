//! How known senders sign: their documented examples, and what is done to them on the way.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use postrider::clock::{Clock as _, HandClock};
use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{client, folder};

const SECRET: &str = "a-secret-of-some-length";

fn flow(verify: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: /in, methods: [POST, GET], verify: {verify} }}\nrun: event.headers\n")
}

async fn house(verify: &str, at: Timestamp) -> House {
    let files = [("flows/in.yaml", flow(verify)), ("postrider.yaml", "public_url: https://mycompany.com\n".into())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    House::again(folder(&files), Arc::new(HandClock::new(at))).await
}

async fn post(house: &House, query: &str, headers: &[(String, String)], body: &[u8]) -> (u16, Value) {
    let url = format!("http://{}/hooks/in{query}", house.engine.address().listen);
    let mut request = client().post(url).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_vendors_are_right() {
    let slack = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar\
        &user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F\
        commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    for (verify, at, proof, body) in [
        // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
        (
            "{ github: \"It's a Secret to Everybody\" }",
            0,
            headers(&[(
                "x-hub-signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            )]),
            "Hello, World!",
        ),
        // https://api.slack.com/authentication/verifying-requests-from-slack
        (
            "{ slack: 8f742231b10e8888abcd99yyyzzz85a5 }",
            1_531_420_618,
            headers(&[
                ("x-slack-request-timestamp", "1531420618"),
                ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
                ("content-type", "application/x-www-form-urlencoded"),
            ]),
            slack,
        ),
        // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, and its libraries.
        (
            "{ standard-webhooks: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }",
            1_614_265_330,
            headers(&[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ]),
            "{\"test\": 2432232314}",
        ),
    ] {
        let house = house(verify, Timestamp::from_second(at).unwrap()).await;
        let (status, answer) = post(&house, "", &proof, body.as_bytes()).await;
        assert_eq!(status, 200, "{verify}: {answer}");
    }
    // https://www.twilio.com/docs/usage/security: the address and the fields, by its own example.
    let verify = "{ twilio: \"12345\" }";
    let flow = format!("triggers:\n  - webhook: {{ path: /myapp.php, verify: {verify} }}\nrun: 1\n");
    let folder = folder(&[("flows/in.yaml", flow.as_str()), ("postrider.yaml", "public_url: https://mycompany.com\n")]);
    let house = House::again(folder, Arc::new(HandClock::new(Timestamp::UNIX_EPOCH))).await;
    let url = format!("http://{}/hooks/myapp.php?foo=1&bar=2", house.engine.address().listen);
    let signed = "https://mycompany.com/hooks/myapp.php?foo=1&bar=2CallSidCA1Digits1234";
    let mac = STANDARD.encode(mac::<sha1::Sha1>(b"12345", signed.as_bytes()));
    let call = |signature: String| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let request = client().post(url.clone()).header(kind.0, kind.1).header("x-twilio-signature", signature);
        request.body("Digits=1234&CallSid=CA1").send()
    };
    assert_eq!(call(mac).await.unwrap().status(), 200);
    assert_eq!(call("RSOYDt4T1cUTdK1PDd93/VVr8B8=".into()).await.unwrap().status(), 401);
}

fn mac<H: hmac::EagerHash>(key: &[u8], content: &[u8]) -> Vec<u8> {
    Hmac::<H>::new_from_slice(key).unwrap().chain_update(content).finalize().into_bytes().to_vec()
}

/// How a sender signs a body at a time: the headers that it sends.
type Sign = fn(&[u8], i64) -> Vec<(String, String)>;

fn over(pieces: &[&[u8]]) -> Vec<u8> {
    mac::<sha2::Sha256>(SECRET.as_bytes(), &pieces.concat())
}

fn plain(name: &str, value: String) -> Vec<(String, String)> {
    vec![(name.to_owned(), value)]
}

const SENDERS: [(&str, bool, Sign); 8] = [
    ("github", false, |body, _| plain("x-hub-signature-256", format!("sha256={}", hex::encode(over(&[body]))))),
    ("meta", false, |body, _| plain("x-hub-signature-256", format!("sha256={}", hex::encode(over(&[body]))))),
    ("shopify", false, |body, _| plain("x-shopify-hmac-sha256", STANDARD.encode(over(&[body])))),
    ("woocommerce", false, |body, _| plain("x-wc-webhook-signature", STANDARD.encode(over(&[body])))),
    ("stripe", true, |body, at| {
        let signature = hex::encode(over(&[at.to_string().as_bytes(), b".", body]));
        plain(
            "stripe-signature",
            format!("t={at},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39,v1={signature}"),
        )
    }),
    ("slack", true, |body, at| {
        let signature = hex::encode(over(&[b"v0:", at.to_string().as_bytes(), b":", body]));
        headers(&[("x-slack-signature", &format!("v0={signature}")), ("x-slack-request-timestamp", &at.to_string())])
    }),
    ("standard-webhooks", true, |body, at| {
        let signature = STANDARD.encode(over(&[b"msg_1.", at.to_string().as_bytes(), b".", body]));
        let at = at.to_string();
        headers(&[
            ("webhook-signature", &format!("v1,{signature}")),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &at),
        ])
    }),
    ("hmac", true, |body, at| {
        let signature = hex::encode(over(&[at.to_string().as_bytes(), b".", body]));
        headers(&[("x-sig", &signature), ("x-at", &at.to_string())])
    }),
];

fn rule(name: &str) -> String {
    match name {
        "standard-webhooks" => format!("{{ standard-webhooks: whsec_{} }}", STANDARD.encode(SECRET)),
        "hmac" => format!("{{ hmac: {{ header: X-Sig, secret: {SECRET}, timestamp_header: X-At, tolerance: 5m }} }}"),
        name => format!("{{ {name}: [{SECRET}, another-secret-of-some-length] }}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_counts_only_as_it_was_made() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    for (name, stamped, sign) in SENDERS {
        let house = house(&rule(name), at).await;
        let (body, now): (&[u8], _) = (br#"{"id": 1}"#, at.as_second());
        let good = sign(body, now);
        let call = async |headers: &[(String, String)], body: &[u8]| post(&house, "", headers, body).await;
        let changed = |change: &dyn Fn(&str) -> String| {
            let mut headers = good.clone();
            headers[0].1 = change(&headers[0].1);
            headers
        };
        let (status, first) = call(&good, body).await;
        assert_eq!(status, 200, "{name}: {first}");
        // Shown again, it is the same event where it has a time; else nobody can know.
        let (status, again) = call(&good, body).await;
        assert_eq!((status, again["duplicate"] == true), (200, stamped), "{name}: {again}");
        assert_eq!(again["run"] == first["run"], stamped, "{name}");
        let end = |value: &str| value.chars().last().unwrap_or('x');
        for (what, headers, body) in [
            ("missing", Vec::new(), body),
            ("wrong", sign(b"other", now), body),
            ("white space", good.clone(), &br#"{"id":1}"#[..]),
            ("empty body", good.clone(), b""),
            ("truncated", changed(&|value| value[..value.len() / 2].to_owned()), body),
            ("one letter", changed(&|value| value.replace(['a', 'b', 'c'], "0")), body),
            ("longer", changed(&|value| format!("{value}{}", end(value))), body),
            ("empty", changed(&|_| String::new()), body),
            ("no signature", changed(&|_| "nothing at all".into()), body),
        ] {
            let (status, answer) = call(&headers, body).await;
            assert_eq!(status, 401, "{name}, {what}: {answer}");
            assert!(!answer.to_string().contains(&hex::encode(over(&[body]))), "{name}, {what}");
        }
        // Of several, while the sender changes its secret, one that is right is enough; in one line or in two.
        let mut twice = vec![(good[0].0.clone(), sign(b"other", now)[0].1.clone())];
        twice.extend(sign(b"more", now));
        assert_eq!(call(&twice, b"more").await.0, 200, "{name}: two lines");
        let (bad, right) = (sign(b"other", now)[0].1.clone(), sign(b"joined", now));
        let mut joined = right.clone();
        joined[0].1 = match name {
            "standard-webhooks" => format!("{bad} {}", right[0].1),
            _ => format!("{bad},{}", right[0].1),
        };
        assert_eq!(call(&joined, b"joined").await.0, 200, "{name}: joined");
        assert_eq!(call(&sign(b"", now), b"").await.0, 200, "{name}: signed and empty");
        for (away, status) in [(299, 200), (-299, 200), (301, 401), (-301, 401), (-86_400 * 365, 401)] {
            let status = if stamped { status } else { 200 };
            let body = format!("{away}");
            let found = call(&sign(body.as_bytes(), now + away), body.as_bytes()).await;
            assert_eq!(found.0, status, "{name}, {away} s away: {}", found.1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stand_where_their_senders_put_them_and_scripts_do_not_see_them() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let usual = STANDARD.encode(format!("ada:{SECRET}"));
    for (verify, query, header) in [
        (format!("{{ gitlab: {SECRET} }}"), String::new(), Some(("X-Gitlab-Token", SECRET.to_owned()))),
        (
            format!("{{ telegram: {SECRET} }}"),
            String::new(),
            Some(("X-Telegram-Bot-Api-Secret-Token", SECRET.to_owned())),
        ),
        (
            format!("{{ token: {{ header: X-Mine, secret: {SECRET} }} }}"),
            String::new(),
            Some(("X-Mine", SECRET.into())),
        ),
        (format!("{{ token: {{ query: proof, secret: {SECRET} }} }}"), format!("?a=1&proof={SECRET}"), None),
        (format!("{{ token: [old-token-of-some-length, {SECRET}] }}"), String::new(), Some(("X-Token", SECRET.into()))),
        (format!("{{ basic: \"ada:{SECRET}\" }}"), String::new(), Some(("Authorization", format!("Basic {usual}")))),
    ] {
        let house = house(&verify, at).await;
        let given: Vec<(String, String)> = header.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        let (status, answer) = post(&house, &query, &given, b"{}").await;
        assert_eq!(status, 200, "{verify}: {answer}");
        let run = house.run_is(answer["run"].as_str().unwrap(), "succeeded").await;
        assert!(!run.to_string().contains(SECRET) && !run.to_string().contains(&usual), "{verify}: {run}");
        let wrong: Vec<(String, String)> =
            given.iter().map(|(name, value)| (name.clone(), format!("{value}x"))).collect();
        assert_eq!(post(&house, &query.replace(SECRET, "guess"), &wrong, b"{}").await.0, 401, "{verify}");
        assert_eq!(post(&house, "", &[], b"{}").await.0, 401, "{verify}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_told_that_this_is_the_right_address_and_observing_lets_in() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let house_of = async |verify: &str| house(verify, at).await;
    let house = house_of(&format!("{{ meta: {{ secret: {SECRET}, verify_token: word }} }}")).await;
    let ask = async |word: &str| {
        let query = format!("?hub.mode=subscribe&hub.verify_token={word}&hub.challenge=1158201444");
        let url = format!("http://{}/hooks/in{query}", house.engine.address().listen);
        let response = client().get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(ask("word").await, (200, "1158201444".into()));
    assert_eq!(ask("guess").await.0, 401);
    assert!(house.runs_of("in").await.is_empty(), "a question is no event");
    let house = house_of(&format!("{{ github: {SECRET}, mode: observe }}")).await;
    let (status, answer) = post(&house, "", &[], b"{}").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(json!(house.runs_of("in").await.len()), 1);
    // Whoever gets in without a proof is a stranger.
    let flows = house.get("/flows/in").await;
    assert_eq!(flows["triggers"][0]["verified"], false, "{flows}");
    let origin = [("origin".to_owned(), "https://evil.example".to_owned())];
    assert_eq!(post(&house, "", &origin, b"{}").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ping_of_a_shop_is_answered_and_begins_nothing() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let house_of = async |verify: &str| house(verify, at).await;
    let shop = house_of(&format!("{{ woocommerce: {SECRET} }}")).await;
    let (form, json) = ("application/x-www-form-urlencoded; charset=UTF-8", "application/json");
    // `WC_Webhook::deliver_ping`: the owner is told of any status but 200.
    for (kind, signature, body, status) in [
        (form, None, "webhook_id=17", 200),
        (form, None, "webhook_id=", 401),
        (form, None, "webhook_id=17&more=1", 401),
        (form, None, "webhook_id=1x", 401),
        (form, None, "other=17", 401),
        (form, Some(""), "webhook_id=17", 401),
        (form, Some("bm90aGluZw=="), "webhook_id=17", 401),
        (json, None, "webhook_id=17", 401),
    ] {
        let mut given = headers(&[("content-type", kind)]);
        given.extend(signature.map(|text| ("x-wc-webhook-signature".into(), String::from(text))));
        let url = format!("http://{}/hooks/in", shop.engine.address().listen);
        let mut request = client().post(url).body(body);
        for (name, value) in &given {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{given:?} {body}");
    }
    assert!(shop.runs_of("in").await.is_empty());
    let other = house_of(&format!("{{ shopify: {SECRET} }}")).await;
    assert_eq!(post(&other, "", &headers(&[("content-type", form)]), b"webhook_id=17").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_again_with_another_signature_is_the_same() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let house = house(&rule("standard-webhooks"), at).await;
    let sent = async |id: &str, body: &str| {
        let at = house.clock.now().as_second().to_string();
        let signature = STANDARD.encode(over(&[id.as_bytes(), b".", at.as_bytes(), b".", body.as_bytes()]));
        let signature = format!("v1,{signature}");
        let given = [("webhook-id", id), ("webhook-timestamp", &at), ("webhook-signature", &signature)];
        let (status, answer) = post(&house, "", &headers(&given), body.as_bytes()).await;
        (status, answer["duplicate"] == true, answer["run"].clone())
    };
    let (status, again, first) = sent("msg_1", "{}").await;
    assert_eq!((status, again), (200, false));
    // Its senders try again for hours, each time with a new time and signature.
    for passed in [1, 299, 3_600, 82_000] {
        house.pass(std::time::Duration::from_secs(passed));
        assert_eq!(sent("msg_1", "{}").await, (200, true, first.clone()), "{passed} seconds later");
    }
    let (_, again, other) = sent("msg_2", "{}").await;
    assert!(!again && other != first);
    house.pass(std::time::Duration::from_secs(501));
    let (status, again, _) = sent("msg_1", "{}").await;
    assert_eq!((status, again), (200, false), "after a day it is forgotten");
    assert_eq!(house.runs_of("in").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_what_is_missing_and_where() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let not_ascii = || vec![("x-sig".to_owned(), "schl\u{fc}ssel".to_owned())];
    let hmac = format!("{{ hmac: {{ header: X-Sig, secret: {SECRET}, timestamp_header: X-At }} }}");
    for (verify, given, way, message) in [
        (
            format!("{{ basic: \"ada:{SECRET}\" }}"),
            vec![],
            Some("Basic realm=\"postrider\", charset=\"UTF-8\""),
            "a name and a password are missing",
        ),
        (
            format!("{{ basic: \"ada:{SECRET}\" }}"),
            headers(&[("authorization", "Basic bm8=")]),
            Some("Basic realm=\"postrider\", charset=\"UTF-8\""),
            "the name or the password is wrong",
        ),
        (format!("{{ token: {SECRET} }}"), vec![], Some("Bearer realm=\"postrider\""), "a token is missing"),
        (
            format!("{{ token: {{ header: X-Api-Key, secret: {SECRET} }} }}"),
            vec![],
            None,
            "the token is missing: there is no header `x-api-key`",
        ),
        (
            format!("{{ token: {{ query: key, secret: {SECRET} }} }}"),
            vec![],
            None,
            "the token is missing: there is no `key` in the query of the address",
        ),
        (hmac.clone(), vec![], None, "the signature is missing: there is no header `x-sig`"),
        (
            hmac.clone(),
            headers(&[("x-sig", "00")]),
            None,
            "the time of the signature is missing: there is no header `x-at`",
        ),
        (hmac, not_ascii(), None, "the signature cannot be read: the header `x-sig` has letters that are not ASCII"),
        (
            rule("standard-webhooks"),
            headers(&[("webhook-signature", "v1,AAAA"), ("webhook-timestamp", "1700000000")]),
            None,
            "what is signed is missing: there is no header `webhook-id`",
        ),
        (
            "{ twilio: \"12345\" }".into(),
            vec![],
            None,
            "the signature is missing: there is no header `x-twilio-signature`",
        ),
    ] {
        let house = house(&verify, at).await;
        let url = format!("http://{}/hooks/in", house.engine.address().listen);
        let mut request = client().post(url);
        for (name, value) in &given {
            request = request.header(name, value.as_bytes());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{verify}");
        // RFC 9110, 11.6.1; of signatures HTTP knows no way.
        let told = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(told.as_deref(), way, "{verify}");
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(answer["error"]["message"], message, "{verify}");
        assert_eq!(house.get("/refused").await["refused"][0]["reason"], message, "{verify}");
    }
}
