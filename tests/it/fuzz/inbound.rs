//! What gateways post: each dialect's events, changed at any place and signed as the gateway signs.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postrider::config::{Flags, Settings};
use postrider::model::inbound::Told;
use postrider::transport::site::{Phones, Site};
use postrider::transport::{Download, Heard, Incoming, Outgoing, SharedTransport};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::trees::changed;
use super::{bounded, hunt};
use crate::inbound::said::{self, NOW, PHONE};
use crate::inbound::sign;

const URL: &str = "https://hooks.example.com/gateways/main";
const SECRET: &str = "s3cret/+of=ours";
const SETTINGS: &str = "accounts:
  sandbox: { transport: sandbox }
  gowa: { transport: gowa, webhook_secret: 's3cret/+of=ours' }
  wapim: { transport: wapim, token: t }
  wawp: { transport: wawp, instance_id: '5F301A/73+8029', access_token: t, webhook_secret: 's3cret/+of=ours', webhook_header: X-Sign }
  express-chat: { transport: express-chat, api_key: k }
  waha: { transport: waha, session: shop, webhook_secret: 's3cret/+of=ours' }
  meta: { transport: meta, phone_number_id: '106540352242922', access_token: t, app_secret: 's3cret/+of=ours' }
  evolution: { transport: evolution, url: 'http://127.0.0.1:8080', api_key: k, instance: my shop, webhook_secret: 's3cret/+of=ours' }
  twilio: { transport: twilio, account_sid: AC0123456789abcdef0123456789abcdef, auth_token: 's3cret/+of=ours', from: '+14155238886' }
default_account: sandbox
";

struct NoPhones;

impl Phones for NoPhones {
    fn receive(&self, _: &str, _: Outgoing) -> std::pin::Pin<Box<dyn Future<Output = Result<bool, String>> + Send>> {
        unreachable!("nothing is sent")
    }

    fn file(&self, _: &str) -> Download {
        unreachable!("nothing is fetched")
    }
}

fn transport(name: &str) -> SharedTransport {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("postrider.yaml"), SETTINGS).unwrap();
    let flags = Flags::default();
    let settings = Settings::load(folder.path(), flags, []).unwrap_or_else(|findings| panic!("{findings:?}"));
    let account = settings.accounts.into_iter().find(|account| account.name == name).unwrap();
    let phones: Arc<dyn Phones> = Arc::new(NoPhones);
    let site = Site { account: name, public_url: None, inbound_token: None, phones: &phones };
    account.gateway.transport(&site).unwrap()
}

/// What it tells when all is well.
fn samples(gateway: &str) -> Vec<Value> {
    match gateway {
        "sandbox" => vec![
            json!({ "event": "message", "id": "A1", "from": PHONE, "text": "hi", "chat": PHONE, "name": "Ada", "kind": "image",
                "reply_to": "B", "at": "2026-11-20T07:00:00Z", "also": "77@lid", "media": { "mime": "image/png", "name": "a", "size": 3, "source": "x" } }),
            json!([{ "event": "ack", "id": "SANDBOX-1", "state": "read" }, { "event": "ack", "id": "S", "state": "failed", "error": "no" }]),
            json!({ "event": "reaction", "id": "R1", "message_id": "S", "from": PHONE, "emoji": "\u{1f44d}" }),
        ],
        "express-chat" => vec![
            json!({ "botId": "62b5c16b", "platform": "whatsapp", "data": { "_id": "66e0", "platform": ["WHATSAPP"],
            "profile": { "userDetails": { "contact": { "phone": { "number": "5417543010", "prefix": "1" } }, "whatsAppNumber": "15417543010" } },
            "lastMessage": { "by": "user", "at": "2026-11-20T07:00:00.000Z" } } }),
        ],
        _ => {
            let mut samples = vec![said::text(gateway, "AA01", "hello")];
            samples.extend(
                ["failed", "sent", "delivered", "read", "played"]
                    .iter()
                    .filter_map(|step| said::ack(gateway, "3EB0AA", step)),
            );
            samples.extend(rich(gateway));
            samples
        }
    }
}

/// A message with much in it.
fn rich(gateway: &str) -> Option<Value> {
    Some(match gateway {
        "gowa" => said::gowa_message(
            "HOST",
            json!({ "image": { "path": "a.jpeg", "caption": "c" }, "replied_to_id": "A", "from_lid": "77@lid" }),
        ),
        "waha" | "wawp" => {
            let media =
                json!({ "url": "http://localhost:3000/api/files/a.jpg", "mimetype": "image/jpeg", "filename": "a" });
            let more = json!({ "hasMedia": true, "media": media, "replyTo": { "id": "A", "body": "b" }, "vCards": ["x"],
                "location": { "latitude": "1", "longitude": "2" } });
            said::waha(gateway, "message", said::waha_message("HOST", more))
        }
        "meta" => said::meta_message(
            "wamid.HOST",
            json!({ "type": "image", "image": { "id": "1", "mime_type": "image/jpeg", "caption": "c" }, "context": { "id": "wamid.A", "from": "1" } }),
        ),
        "evolution" => {
            let image = json!({ "mimetype": "image/jpeg", "caption": "c", "fileLength": "1", "contextInfo": { "stanzaId": "A" } });
            said::evolution_message(
                "HOST",
                json!({ "messageType": "imageMessage", "message": { "imageMessage": image } }),
            )
        }
        "twilio" => said::twilio(
            "SMHOST",
            &[("NumMedia", "1"), ("MediaUrl0", "https://api.twilio.com/a"), ("MediaContentType0", "image/jpeg")],
        ),
        _ => return None,
    })
}

/// The header by which it shows that it is itself.
fn signature(gateway: &str, body: &[u8]) -> Option<(&'static str, String)> {
    Some(match gateway {
        "gowa" | "meta" => ("x-hub-signature-256", sign::hub(SECRET, body)),
        "waha" => ("x-webhook-hmac", sign::sha512(SECRET, body)),
        "wawp" => ("x-sign", sign::sha256(SECRET, body)),
        "evolution" => {
            let claims = json!({ "iat": NOW, "exp": NOW + 600, "app": "evolution", "action": "webhook" });
            (
                "authorization",
                format!("Bearer {}", sign::jwt(SECRET, &json!({ "alg": "HS256", "typ": "JWT" }), &claims)),
            )
        }
        "twilio" => {
            let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
            ("x-twilio-signature", sign::twilio(SECRET, URL, &fields))
        }
        _ => return None,
    })
}

fn hears(gateway: &str) {
    let transport = transport(gateway);
    let (heard, told) = (Cell::new(0), Cell::new(0));
    hunt(
        &format!("inbound_{gateway}"),
        (changed(samples(gateway)), prop::bool::weighted(0.1)),
        |(event, is_forged)| {
            let body = match gateway {
                // A form has no values in values.
                "twilio" if event.is_object() => said::encoded(&said::fields(&event)),
                _ => event.to_string().into_bytes(),
            };
            let signed = signature(gateway, &body);
            let header = |name: &str| {
                let (known, value) = signed.as_ref()?;
                // One letter of it is another one.
                let value = if is_forged { format!("{}x", &value[..value.len() - 1]) } else { value.clone() };
                (*known == name).then_some(value)
            };
            let now = Timestamp::from_second(NOW).unwrap();
            let by_token = signed.is_none() && !is_forged;
            let incoming = Incoming {
                is_get: false,
                path: "",
                query: "",
                url: Some(URL),
                header: &header,
                body: &body,
                by_token,
                now,
            };
            let memory = (body.len() as u64) * 64 + (1 << 20);
            let said = bounded(Duration::from_secs(2), memory, || transport.receive(&incoming));
            if is_forged {
                assert!(said.is_err(), "what is forged is not heard");
            }
            if let Ok(Heard::Told(all)) = said {
                heard.set(heard.get() + 1);
                told.set(told.get() + usize::from(all.iter().any(|told| matches!(told, Told::Written(_)))));
            }
        },
    );
    println!("{gateway}: {} heard, {} of them with a message", heard.get(), told.get());
    // Of Express-Chat nobody wrote down how it tells what people say.
    assert!(told.get() >= 20 || gateway == "express-chat", "only {} of the cases hold a message", told.get());
}

macro_rules! gateways {
    ($($test:ident: $name:literal;)*) => {$(
        #[test]
        fn $test() {
            hears($name);
        }
    )*};
}

gateways! {
    sandbox: "sandbox";
    gowa: "gowa";
    wapim: "wapim";
    wawp: "wawp";
    express_chat: "express-chat";
    waha: "waha";
    meta: "meta";
    evolution: "evolution";
    twilio: "twilio";
}
