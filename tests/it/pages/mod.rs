//! The dashboard: by HTTP as a browser without script would use it, and in a real browser.

mod api;
mod browser;
mod door;
mod forms;
mod live;

use std::time::Duration;

use reqwest::{Method, Response};

use crate::support::engine::House;
use crate::support::{client, until};

pub const ADA: &str = "+15417543010";
pub const MANAGER: &str = "+15417543011";

/// Asks for money, and waits for the manager's word.
pub const ASKS: (&str, &str) = (
    "flows/approval.yaml",
    "description: Asks the manager\nrun: |\n  let answer = ask(\"+15417543011\", \"May *Ada* buy a chair?\", #{ choices: [\"Yes\", \"No\"], timeout: \"2d\" });\n  send_text(\"+15417543010\", `It was ${answer?.choice}`);\n  answer?.choice\n",
);

/// Somebody at a browser that runs no scripts.
pub struct Visitor {
    client: reqwest::Client,
    base: String,
    pub cookie: String,
}

impl Visitor {
    /// Comes in by a link of the engine.
    pub async fn of(house: &House) -> Self {
        let base = format!("http://{}", house.engine.address().admin);
        let client = client();
        let response = client.get(house.engine.link()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { client, base, cookie }
    }

    /// A request as a page of ours makes it.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("cookie", &self.cookie).header("origin", &self.base).header("accept", "text/html")
    }

    /// A page's text.
    pub async fn page(&self, path: &str) -> String {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// Sends a form, and goes where its answer leads.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let response = self.send(path, fields).await;
        if response.status() == 303 {
            let place = response.headers()["location"].to_str().unwrap().to_owned();
            return self.page(place.split('#').next().unwrap()).await;
        }
        response.text().await.unwrap()
    }

    /// Sends a form.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap()
    }
}

/// Waits until a page says something.
pub async fn page_says(visitor: &Visitor, path: &str, text: &str) -> String {
    until(&format!("{path} to say {text}"), async || {
        let page = visitor.page(path).await;
        page.contains(text).then_some(page)
    })
    .await
}

const MINUTE: Duration = Duration::from_secs(60);
