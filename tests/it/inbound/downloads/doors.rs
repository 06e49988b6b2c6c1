//! A gateway's side with the files, over real HTTP: it opens each door to those who show the
//! credentials, and gives a file in pieces. Written from what the gateways document.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::gateways::fake::{self, Dialect, Got};
use crate::inbound::said::{self, evolution_message, gowa_message, meta_message, waha, waha_message};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const MEDIA: &str = "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages/MM1/Media/ME1";

/// Bytes that are no text, and look like several beginnings and ends of one.
pub fn picture() -> Vec<u8> {
    let noise = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    [0xff, 0xd8, 0xff, 0x00].into_iter().chain(noise).chain(*b"\xc3\x28\0\r\n\r\n").collect()
}

/// One way in which a gateway gives files.
#[derive(Clone, Copy)]
pub struct Way {
    pub dialect: Dialect,
    /// A message with a file; the text names the message.
    pub event: fn(&str) -> Value,
    /// What it is asked for, one after the other, queries decoded: all but the last lead on. `{id}` is
    /// the message's.
    doors: &'static [&'static str],
}

const GOWA: Way = Way {
    dialect: fake::gowa::DIALECT,
    event: |bare| gowa_message(bare, json!({ "image": { "path": "statics/media/1-a.jpeg", "caption": "Look" } })),
    doors: &["/statics/media/1-a.jpeg"],
};

/// GOWA that loads no file before it is asked for it.
const LATER: Way = Way {
    event: |bare| {
        let url = "https://mmg.whatsapp.net/v/t62.7119-24/1_n.enc?ccb=11-4";
        gowa_message(bare, json!({ "document": { "url": url, "filename": "report.pdf" } }))
    },
    doors: &["/message/{id}/download?phone=15417543010@s.whatsapp.net", "/statics/media/15417543010/report.pdf"],
    ..GOWA
};

fn by_waha(gateway: &str, bare: &str, url: &str) -> Value {
    let media = json!({ "url": url, "mimetype": "image/jpeg", "filename": null, "s3": null, "error": null });
    waha(gateway, "message", waha_message(bare, json!({ "hasMedia": true, "media": media })))
}

pub const WAHA: Way = Way {
    dialect: fake::waha::DIALECT,
    // It often does not know under which name the world knows it.
    event: |bare| by_waha("waha", bare, "http://localhost:3000/api/files/shop/false_15417543010@c.us_AAAA.jpeg"),
    doors: &["/api/files/shop/false_15417543010@c.us_AAAA.jpeg"],
};

const WAWP: Way = Way {
    dialect: fake::wawp::DIALECT,
    event: |bare| by_waha("wawp", bare, "https://api.wawp.net/api/files/false_15417543010@c.us_AAAA.jpeg"),
    doors: &["/api/files/false_15417543010@c.us_AAAA.jpeg"],
};

const META: Way = Way {
    dialect: fake::meta::DIALECT,
    event: |bare| {
        let image = json!({ "id": "1037543291543636", "mime_type": "image/jpeg", "sha256": "SfInY0gGKTsJ" });
        meta_message(&said::id("meta", bare), json!({ "type": "image", "image": image }))
    },
    doors: &["/v23.0/1037543291543636", "/whatsapp_business/attachments/?mid=1037543291543636&hash=s1gned"],
};

pub const EVOLUTION: Way = Way {
    dialect: fake::evolution::DIALECT,
    event: |bare| {
        let image = json!({ "url": "https://mmg.whatsapp.net/x.enc", "mimetype": "image/jpeg", "mediaKey": "AA==" });
        evolution_message(bare, json!({ "messageType": "imageMessage", "message": { "imageMessage": image } }))
    },
    doors: &["POST /chat/getBase64FromMediaMessage/my%20shop"],
};

const TWILIO: Way = Way {
    dialect: fake::twilio::DIALECT,
    event: |bare| {
        let url = format!("https://api.twilio.com{MEDIA}");
        let file = [("NumMedia", "1"), ("MediaUrl0", url.as_str()), ("MediaContentType0", "image/jpeg")];
        said::twilio(&said::id("twilio", bare), &file)
    },
    doors: &[MEDIA, "/store/ME1?Signature=s1gned"],
};

pub const WAYS: [Way; 7] = [GOWA, LATER, WAHA, WAWP, META, EVOLUTION, TWILIO];

impl Way {
    /// What a message is asked for, as [`asked`] writes it.
    pub fn doors(&self, bare: &str) -> Vec<String> {
        let named = |door: &&str| if door.starts_with('/') { format!("GET {door}") } else { (*door).to_owned() };
        self.doors.iter().map(|door| named(door).replace("{id}", bare)).collect()
    }

    /// The header that shows who asks.
    fn key(&self) -> (&'static str, String) {
        let secret = self.dialect.secrets[0];
        let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
        match self.dialect.name {
            "gowa" => ("authorization", basic("gowa")),
            "twilio" => ("authorization", basic(ACCOUNT)),
            "waha" => ("x-api-key", secret.to_owned()),
            "evolution" => ("apikey", secret.to_owned()),
            _ => ("authorization", format!("Bearer {secret}")),
        }
    }

    /// Whether a request shows what opens its door.
    fn opens(&self, got: &Got) -> bool {
        let (name, value) = self.key();
        match (self.dialect.name, got.path.as_str()) {
            // A signed address opens by itself; such stores refuse who shows something else besides.
            ("twilio", path) if path.starts_with("/store/") => return got.header(name).is_none(),
            ("wawp", _) if got.header("x-instance-id") != Some("5F301A/73+8029") => return false,
            ("gowa", path) if path.starts_with("/message/") => {
                let device = percent_decode_str(got.header("x-device-id").unwrap_or_default());
                if !device.eq(b"front-desk+1".iter().copied()) {
                    return false;
                }
            }
            _ => {}
        }
        got.header(name) == Some(value.as_str())
    }

    /// As the gateway answers; `elsewhere` is a server that it names in place of itself.
    pub fn answers(&self, bare: &str, got: &Got, elsewhere: Option<SocketAddr>) -> Response<Body> {
        let (doors, asked) = (self.doors(bare), asked(got));
        let Some(place) = doors.iter().position(|door| *door == asked) else {
            return tells(404, &json!({ "message": "Not Found" }));
        };
        if !self.opens(got) {
            return tells(401, &json!({ "message": "Unauthorized" }));
        }
        let file = picture();
        let Some(next) = doors.get(place + 1) else {
            if self.dialect.name != "evolution" {
                return reply(200, &[("content-type", "image/jpeg")], cut(&file));
            }
            if !got.json().is_ok_and(|body| body["message"]["key"]["id"] == bare) {
                return tells(400, &json!({ "status": 400, "response": { "message": ["Message not found"] } }));
            }
            let given = json!({ "mediaType": "imageMessage", "fileName": "a.jpeg", "caption": null, "buffer": null,
                "size": { "fileLength": "68" }, "mimetype": "image/jpeg", "base64": STANDARD.encode(file) });
            return tells(201, &given);
        };
        let path = next.trim_start_matches("GET ");
        let host = elsewhere.map_or_else(|| got.header("host").unwrap().to_owned(), |other| other.to_string());
        let url = format!("http://{host}{path}");
        match self.dialect.name {
            "gowa" => {
                let path = elsewhere.map_or(path.trim_start_matches('/'), |_| url.as_str());
                let results = json!({ "message_id": bare, "media_type": "document", "filename": "report.pdf",
                    "file_path": path, "file_url": url, "file_size": file.len() });
                tells(200, &json!({ "code": "SUCCESS", "message": "Media downloaded", "results": results }))
            }
            "meta" => tells(
                200,
                &json!({ "messaging_product": "whatsapp", "url": url, "mime_type": "image/jpeg", "sha256": "SfInY0g",
                    "file_size": file.len().to_string(), "id": "1037543291543636" }),
            ),
            _ => reply(307, &[("location", url.as_str())], Body::empty()),
        }
    }

    /// What must not be seen is not in there.
    pub fn hides(&self, text: &str) {
        let (_, key) = self.key();
        for secret in self.dialect.secrets.iter().copied().chain([key.as_str(), "s1gned"]) {
            assert!(!text.contains(secret), "{}: {secret} is seen: {text}", self.dialect.name);
        }
    }
}

/// A request as doors are written.
pub fn asked(got: &Got) -> String {
    let query: Vec<String> = got.query().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{}", got.method, got.path, query.join("&"))
}

/// A body that comes in pieces, and may break off.
struct Pieces(VecDeque<std::io::Result<Bytes>>);

impl futures_core::Stream for Pieces {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// A body of these pieces; an error breaks it off.
pub fn pieces(all: impl IntoIterator<Item = std::io::Result<Bytes>>) -> Body {
    Body::from_stream(Pieces(all.into_iter().collect()))
}

fn cut(bytes: &[u8]) -> Body {
    pieces(bytes.chunks(7_000).map(|piece| Ok(Bytes::copy_from_slice(piece))))
}

/// An answer.
pub fn reply(status: u16, headers: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

/// An answer in JSON.
pub fn tells(status: u16, body: &Value) -> Response<Body> {
    reply(status, &[("content-type", "application/json")], cut(body.to_string().as_bytes()))
}

/// Gives an answer to a request; the number says how many came before.
type Play = Box<dyn Fn(&Got, usize) -> Response<Body> + Send + Sync>;

/// A server that plays a gateway's side with the files, or somebody else's.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    play: Arc<Mutex<Play>>,
}

impl Server {
    /// One that gives the same to everybody.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let play: Play = Box::new(|_, _| reply(200, &[], Body::from("nothing of yours")));
        let address = listener.local_addr().unwrap();
        let server = Self { address, got: Arc::default(), play: Arc::new(Mutex::new(play)) };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Answers so from now on, and counts from there.
    pub fn plays(&self, play: impl Fn(&Got, usize) -> Response<Body> + Send + Sync + 'static) {
        self.take();
        *self.play.lock().unwrap() = Box::new(play);
    }

    /// All requests since this was last asked.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let got = Got::read(request).await;
    let before = {
        let mut all = server.got.lock().unwrap();
        all.push(got.clone());
        all.len() - 1
    };
    server.play.lock().unwrap()(&got, before)
}
