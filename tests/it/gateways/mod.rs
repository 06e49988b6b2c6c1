//! Every gateway over real HTTP: the exact requests, the refusals, what errors mean.

mod binary;
mod breakdown;
pub mod fake;
mod fallback;
mod gate;
mod golden;
mod hosted;
mod inside;
mod looks;
mod media;
mod pace;
mod pages;
mod parts;
mod raw;
mod repeats;
mod schemas;
mod trouble;
mod types;
mod warned;
mod window;

use postrider::transport::GATEWAYS;
use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::until;
use fake::{Dialect, Fake, Got};

/// An engine with one account on a fake gateway, and files to send.
pub struct Desk {
    pub house: House,
    pub fake: Fake,
    pub media: std::net::SocketAddr,
}

/// A message that has come to rest, with the requests that it took.
pub struct Outcome {
    pub requests: Vec<Got>,
    pub message: Value,
}

impl Desk {
    /// For a dialect; `more` are further lines of the account.
    pub async fn open(dialect: Dialect, more: &str) -> Self {
        Self::beside(dialect, more, "127.0.0.9:1".parse().unwrap()).await
    }

    /// The same with another server that may be called.
    pub async fn beside(dialect: Dialect, more: &str, server: std::net::SocketAddr) -> Self {
        let (fake, media) = (Fake::start(dialect).await, media::start().await);
        let settings = format!(
            "public_url: https://hooks.example.com\nhttp: {{ allow: [\"{media}\", \"{server}\"] }}\n{}",
            fake.settings(&format!("pace: unlimited\n{more}"))
        );
        let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
        for (name, bytes) in [
            ("a.png", media::PNG),
            ("a.jpg", media::JPEG),
            ("a.webp", media::WEBP),
            ("a.mp4", media::MP4),
            ("a.ogg", media::OGG),
            ("a.pdf", media::PDF),
        ] {
            let folder = house.folder.path().join("files");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        Self { house, fake, media }
    }

    /// Sends one message and waits until it is out or refused.
    pub async fn send(&self, wish: &Value) -> Outcome {
        let text = wish.to_string().replace("MEDIA", &format!("http://{}", self.media));
        let wish: Value = serde_json::from_str(&text).unwrap();
        let (status, answer) = self.house.api(reqwest::Method::POST, "/messages", Some(wish)).await;
        if status != 202 {
            return Outcome {
                requests: Vec::new(),
                message: json!({ "state": "not taken", "why": answer["error"]["message"] }),
            };
        }
        let message = self.rest(answer["message"].as_str().unwrap()).await;
        Outcome { requests: self.fake.take(), message }
    }

    /// A message when its attempt is over.
    pub async fn rest(&self, id: &str) -> Value {
        until("the end of the attempt", async || {
            let message = self.house.get(&format!("/messages/{id}")).await;
            let outcome = message["attempts"].as_array().unwrap().last().map(|last| last["outcome"].clone());
            outcome.is_some_and(|outcome| outcome != "open" && outcome != "preparing").then_some(message)
        })
        .await
    }
}

/// A new line of the table is tested like the others.
#[test]
fn every_gateway_has_a_fake() {
    let outside = GATEWAYS.iter().filter(|gateway| !gateway.is_built_in).map(|gateway| gateway.name);
    assert!(outside.eq(fake::ALL.iter().map(|dialect| dialect.name)), "the table and `fake::ALL` differ");
}
