//! The API as commands use it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Failure;
use super::table::say;
use crate::app::{read_address, read_token};

/// For one question to the engine.
const TIME: Duration = Duration::from_secs(60);

/// Which workspace a command is about, and how it answers.
pub struct Place {
    /// The folder.
    pub root: PathBuf,
    /// JSON instead of tables.
    pub json: bool,
}

impl Place {
    /// Asks the running engine.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(reqwest::Method::GET, path, None)
    }

    /// Tells the running engine.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(reqwest::Method::POST, path, Some(body))
    }

    /// The same for one of many: what is refused is the caller's to say, in whatever form.
    pub fn post_one(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let plain = Self { json: false, root: self.root.clone() };
        plain.post(path, body)
    }

    /// Whether no engine runs on the workspace.
    pub fn is_stopped(&self) -> bool {
        self.root.is_dir() && read_address(&self.root).is_none()
    }

    fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let not_running = "Postrider is not running on this workspace; start it with `postrider run`";
        if !self.root.is_dir() {
            return Err(format!("there is no folder {}", self.root.display()).into());
        }
        let address = read_address(&self.root).ok_or_else(|| not_running.to_owned())?;
        let token = read_token(&self.root).ok_or("the token in .postrider/admin-token cannot be read".to_owned())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let url = format!("http://{}/api/v1{path}", address.admin);
        let (status, text) = runtime.block_on(async move {
            let client = crate::transport::client(TIME)?;
            let mut request = client.request(method, url).bearer_auth(token.reveal()).timeout(TIME);
            if let Some(body) = body {
                request = request.header("Content-Type", "application/json").body(body.to_string());
            }
            let failed = |error: reqwest::Error| format!("Postrider does not answer: {error}");
            let response = request.send().await.map_err(failed)?;
            let status = response.status();
            Ok::<_, String>((status, response.text().await.map_err(failed)?))
        })?;
        let value: Value = serde_json::from_str(&text).map_err(|_| format!("Postrider answered {status}: {text}"))?;
        if status.is_success() {
            return Ok(value);
        }
        let error = &value["error"];
        let mut message = error["message"].as_str().unwrap_or("refused without a reason").to_owned();
        if let Some(hint) = error["hint"].as_str() {
            message.push_str(&format!(" ({hint})"));
        }
        if self.json {
            say(format_args!("{value}"));
            return Err(Failure::Reported);
        }
        Err(Failure::Said(message))
    }

    /// Prints an answer: JSON as it came, or what `show` makes of it.
    pub fn print(&self, answer: &Value, show: impl FnOnce(&Value)) {
        match self.json {
            true => say(format_args!("{answer}")),
            false => show(answer),
        }
    }
}

/// A query string of what was given.
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    format!("?{}", text.finish())
}
