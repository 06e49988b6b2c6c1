//! Addresses that a gateway would fetch for us: none that the engine itself may not call.

use serde_json::{Value, json};

use super::Desk;
use super::fake::{self, Dialect, Fake};
use crate::support::engine::House;
use crate::support::until;

const PHONE: &str = "+15417543010";

/// Private places, in some of the writings that there are.
const INSIDE: [&str; 12] = [
    "http://127.0.0.1:1/a.png",
    "http://localhost:1/a.png",
    "http://2130706433/a.png",
    "http://0x7f.1/a.png",
    "http://[::1]/a.png",
    "http://[::ffff:10.0.0.1]/a.png",
    "http://10.0.0.1/a.png",
    "http://169.254.169.254/latest/a.png",
    "http://redis:6379/a.png",
    "http://metadata.google.internal/a.png",
    "http://93.184.216.34@127.0.0.1/a.png",
    "http://user:word@93.184.216.34/a.png",
];

/// Everything in which an address can stand that the gateway fetches.
fn wishes(url: &str) -> Vec<Value> {
    let header = json!([{ "type": "header", "parameters": [{ "type": "image", "image": { "link": url } }] }]);
    vec![
        json!({ "kind": "image", "source": url }),
        json!({ "kind": "file", "source": url, "name": "a.pdf" }),
        json!({ "kind": "video", "source": url }),
        json!({ "kind": "audio", "source": url }),
        json!({ "kind": "voice", "source": url }),
        json!({ "kind": "sticker", "source": url }),
        json!({ "kind": "link", "url": "http://93.184.216.34/", "title": "A", "description": "B", "thumbnail": url }),
        json!({ "kind": "link", "url": "http://93.184.216.34/", "thumbnail": url, "on_unsupported": "emulate" }),
        json!({ "kind": "template", "name": "HX0", "language": "en", "components": header }),
        json!({ "kind": "template", "name": "HX0", "language": "en", "variables": { "1": url } }),
    ]
}

fn holds(request: &fake::Got, url: &str) -> bool {
    let body = String::from_utf8_lossy(&request.body);
    let form: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
    body.contains(url) || body.contains(&form)
}

async fn stays_inside(dialect: Dialect) {
    let desk = Desk::open(dialect, "").await;
    for url in INSIDE {
        for mut wish in wishes(url) {
            wish["to"] = PHONE.into();
            let outcome = desk.send(&wish).await;
            for request in &outcome.requests {
                assert!(!holds(request, url), "{} {wish}: {}", dialect.name, String::from_utf8_lossy(&request.body));
            }
            let why = outcome.message["why"].as_str().unwrap_or_default();
            let by_rule = outcome.message["attempts"][0]["outcome"] == "media_rejected" && why.contains("http.allow");
            // Where the address is not handed on, the engine fetches itself, or the field is not there at all.
            assert!(by_rule || !why.is_empty() || !outcome.requests.is_empty(), "{wish}: {}", outcome.message);
        }
    }
    // What the settings allow is allowed.
    let outcome = desk.send(&json!({ "kind": "image", "to": PHONE, "source": "MEDIA/a.jpg" })).await;
    assert_eq!(outcome.requests.len(), 1, "{}", outcome.message);
}

macro_rules! each {
    ($($test:ident: $name:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            stays_inside(fake::$name::DIALECT).await;
        }
    )*};
}

each! {
    gowa_fetches_nothing_private: gowa;
    wapim_fetches_nothing_private: wapim;
    wawp_fetches_nothing_private: wawp;
    express_chat_fetches_nothing_private: express_chat;
    waha_fetches_nothing_private: waha;
    meta_fetches_nothing_private: meta;
    evolution_fetches_nothing_private: evolution;
    twilio_fetches_nothing_private: twilio;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_names_the_address_and_the_setting() {
    let desk = Desk::open(fake::waha::DIALECT, "").await;
    let outcome = desk.send(&json!({ "kind": "image", "to": PHONE, "source": "http://10.1.2.3/a.png" })).await;
    let why = outcome.message["why"].as_str().unwrap();
    assert!(why.contains("`10.1.2.3`") && why.contains("`http.allow`") && why.contains("postrider.yaml"), "{why}");
    assert_eq!(outcome.message["attempts"][0]["outcome"], "media_rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_does_not_look_at_private_pages() {
    for dialect in [fake::gowa::DIALECT, fake::waha::DIALECT, fake::evolution::DIALECT, fake::meta::DIALECT] {
        let desk = Desk::open(dialect, "").await;
        let link = |more: Value| {
            let mut wish = json!({ "kind": "link", "to": PHONE, "url": "http://10.1.2.3/admin", "caption": "Look" });
            wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            wish
        };
        // Where it is only read by a person it goes as it is.
        for more in [json!({}), json!({ "preview": true }), json!({ "track": true })] {
            let outcome = desk.send(&link(more)).await;
            let request = outcome.requests[0].json().unwrap();
            let text = request.to_string();
            let preview = [&request["linkPreview"], &request["text"]["preview_url"]].into_iter().any(|on| on == true);
            assert!(!preview && outcome.requests[0].path != "/send/link", "{text}");
            let degraded = outcome.message["degraded"].to_string();
            assert!(degraded.contains("preview") && degraded.contains("http.allow"), "{degraded}");
        }
        let refused = desk.send(&link(json!({ "on_unsupported": "strict" }))).await;
        assert!(refused.requests.is_empty(), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_our_own_are_fetched_from_a_private_public_url() {
    let fake = Fake::start(fake::twilio::DIALECT).await;
    let settings = format!("public_url: http://10.9.8.7:8700\n{}", fake.settings("pace: unlimited"));
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    std::fs::create_dir_all(house.folder.path().join("files")).unwrap();
    std::fs::write(house.folder.path().join("files/a.png"), super::media::PNG).unwrap();
    house.post("/messages", json!({ "kind": "image", "to": PHONE, "source": "files/a.png" })).await;
    let form = until("the message", async || fake.take().first().map(|got| got.form().unwrap())).await;
    assert!(form.iter().any(|(name, value)| name == "MediaUrl" && value.starts_with("http://10.9.8.7:8700/media/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_takes_over_fetches_nothing_private_either() {
    let (main, other) = (Fake::start(fake::gowa::DIALECT).await, Fake::start(fake::evolution::DIALECT).await);
    let mut settings = main.settings("pace: unlimited\nfallback: other");
    settings.push_str(&other.settings("pace: unlimited").replace("accounts:\n  main:", "  other:"));
    settings.push_str("default_account: main\n");
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    main.is(fake::Mood::Says(401, Vec::new(), axum::body::Bytes::from_static(b"Unauthorized")));
    let text = house.post("/messages", json!({ "to": "+15417543011", "text": "one" })).await;
    let wish = json!({ "kind": "image", "to": PHONE, "source": "http://127.0.0.1:1/a.png" });
    let image = house.post("/messages", wish).await;
    for (answer, state) in [(text, "accepted"), (image, "rejected")] {
        let id = answer["message"].as_str().unwrap().to_owned();
        until(state, async || {
            house.pass(std::time::Duration::from_secs(5));
            (house.get(&format!("/messages/{id}")).await["state"] == state).then_some(())
        })
        .await;
    }
    assert!(other.take().iter().all(|got| !holds(got, "http://127.0.0.1:1/a.png")));
}
