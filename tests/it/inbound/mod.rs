//! What gateways post to us, over real HTTP: who is believed, what scripts see of it, and how far it
//! brings messages of ours. Written from what gateways document, without a look at what reads it.

/// A test for each gateway: its name, what is tested, and the gateway's fake.
macro_rules! each {
    ($($test:ident: $what:ident $name:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $what(fake::$name::DIALECT).await;
        }
    )*};
}

mod acks;
mod age;
mod aliases;
mod choices;
mod closed;
mod door;
mod downloads;
mod early;
mod echoes;
mod evolution;
mod field;
mod gowa;
mod hostile;
mod links;
mod meta;
mod others;
pub mod said;
pub mod sign;
mod signatures;
mod triggers;
mod twilio;
mod waha;

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::gateways::fake::{self, Dialect, Fake};
use crate::support::engine::House;
use crate::support::{client, until};
use said::PHONE;

/// A flow that gives back what it sees.
pub const ECHO: (&str, &str) =
    ("flows/echo.yaml", "triggers:\n  - message: { account: main, chats: all }\nrun: event\n");

/// How the world calls us.
pub const PUBLIC: &str = "https://hooks.example.com";

/// What makes an address secret.
pub const TOKEN: &str = "0pen-sesame";

/// Gateways of which somebody wrote down how they tell what a person said; of Express-Chat nobody did.
pub const TALKING: [Dialect; 7] = [
    fake::gowa::DIALECT,
    fake::wapim::DIALECT,
    fake::wawp::DIALECT,
    fake::waha::DIALECT,
    fake::meta::DIALECT,
    fake::evolution::DIALECT,
    fake::twilio::DIALECT,
];

/// Calls the public side; gives status and answer.
pub async fn call(
    client: &Client,
    house: &House,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, String) {
    let url = format!("http://{}{path}", house.engine.address().listen);
    let mut request = client.request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Checks fields; objects in objects are compared field by field too.
pub fn has(event: &Value, wanted: &Value) {
    for (name, value) in wanted.as_object().unwrap() {
        match value {
            Value::Object(_) => has(&event[name.as_str()], value),
            _ => assert_eq!(&event[name.as_str()], value, "`{name}` of {event}"),
        }
    }
}

/// A text field that must be there.
pub fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}

/// An engine that listens to one account, `main`, on a fake gateway.
pub struct Ear {
    pub house: House,
    pub fake: Fake,
    client: Client,
    /// How many marks were told so far.
    marks: AtomicUsize,
}

impl Ear {
    /// With the flow [`ECHO`].
    pub async fn open(dialect: Dialect) -> Self {
        Self::with(dialect, &[ECHO]).await
    }

    /// With other files.
    pub async fn with(dialect: Dialect, files: &[(&str, &str)]) -> Self {
        let fake = Fake::start(dialect).await;
        let account = fake.settings(&format!("pace: unlimited\ninbound_token: {TOKEN}\nopt_out: off"));
        let settings = format!("public_url: {PUBLIC}\n{account}");
        let mut all = vec![("postrider.yaml", settings.as_str())];
        all.extend_from_slice(files);
        let house = House::open(&all).await;
        Self { house, fake, client: client(), marks: AtomicUsize::new(0) }
    }

    /// Stops as a crash would, and starts again.
    pub async fn crash(self) -> Self {
        let Self { house, fake, client, marks } = self;
        Self { house: house.crash().await, fake, client, marks }
    }

    /// The word for the gateway.
    pub fn gateway(&self) -> &'static str {
        self.fake.dialect.name
    }

    /// Posts what the gateway tells, signed as it signs; gives the status.
    pub async fn tell(&self, event: &Value) -> u16 {
        self.tell_below("", event).await
    }

    /// The same to an address below the account's.
    pub async fn tell_below(&self, suffix: &str, event: &Value) -> u16 {
        let body = match self.gateway() {
            "twilio" => said::encoded(&said::fields(event)),
            _ => event.to_string().into_bytes(),
        };
        self.post(&format!("/gateways/main/{TOKEN}{suffix}"), body).await
    }

    /// Posts bytes, signed as the gateway signs; gives the status.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> u16 {
        let signature = match self.gateway() {
            "meta" => Some(("x-hub-signature-256", sign::hub("4pp/+meta=two", &body))),
            "twilio" => {
                let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
                let signature = sign::twilio("t0k/+twilio=one", &format!("{PUBLIC}{path}"), &fields);
                Some(("x-twilio-signature", signature))
            }
            _ => None,
        };
        let kind = if self.gateway() == "twilio" { "application/x-www-form-urlencoded" } else { "application/json" };
        let mut headers = vec![("content-type", kind)];
        headers.extend(signature.iter().map(|(name, value)| (*name, value.as_str())));
        call(&self.client, &self.house, Method::POST, path, &headers, body).await.0
    }

    /// Tells what a person wrote, and checks what the script sees of it.
    pub async fn hears(&self, event: &Value, id: &str, wanted: Value) {
        assert_eq!(self.tell(event).await, 200, "{event}");
        let common = json!({ "trigger": "message", "account": "main", "message_id": id, "from": PHONE, "chat": PHONE });
        has(&self.event(id).await, &said::with(common, wanted));
    }

    /// What the script saw of a message, once its run has ended.
    pub async fn event(&self, id: &str) -> Value {
        let run = until(&format!("a run for the message {id}"), async || {
            for run in self.house.runs_of("echo").await {
                let run = self.house.get(&format!("/runs/{}", text_of(&run, "id"))).await;
                if run["event"]["message_id"] == id {
                    return Some(text_of(&run, "id").to_owned());
                }
            }
            None
        })
        .await;
        self.house.run_is(&run, "succeeded").await["result"].clone()
    }

    /// How many runs were started, once all that was told has had its effect: one more message is
    /// told and waited for, and not counted.
    pub async fn runs(&self) -> usize {
        let before = self.marks.fetch_add(1, Ordering::Relaxed);
        let bare = format!("MARK{before:04}");
        assert_eq!(self.tell(&said::text(self.gateway(), &bare, "mark")).await, 200);
        self.event(&said::id(self.gateway(), &bare)).await;
        self.house.runs_of("echo").await.len() - before - 1
    }

    /// Sends a message by hand; gives it when its attempt is over.
    pub async fn send(&self, wish: Value) -> Value {
        let answer = self.house.post("/messages", wish).await;
        until("the end of the attempt", async || {
            let message = self.message(text_of(&answer, "message")).await;
            let outcome = message["attempts"].as_array().unwrap().last().map(|last| last["outcome"].clone());
            outcome.is_some_and(|outcome| outcome != "open" && outcome != "preparing").then_some(message)
        })
        .await
    }

    /// Sends a text to the person.
    pub async fn write(&self, text: &str) -> Value {
        self.send(json!({ "to": PHONE, "text": text })).await
    }

    /// A message as it stands.
    pub async fn message(&self, id: &str) -> Value {
        self.house.get(&format!("/messages/{id}")).await
    }

    /// Waits until a message is in a state.
    pub async fn becomes(&self, message: &Value, state: &str) -> Value {
        let id = text_of(message, "id");
        until(&format!("{id} to be {state}"), async || {
            let message = self.message(id).await;
            (message["state"] == state).then_some(message)
        })
        .await
    }

    /// Checks that all that was told leaves a message in a state.
    pub async fn stays(&self, message: &Value, state: &str) -> Value {
        self.runs().await;
        let message = self.message(text_of(message, "id")).await;
        assert_eq!(message["state"], state, "{message}");
        message
    }
}
