//! A real browser: Chromium, led by its own driver over WebDriver (<https://www.w3.org/TR/webdriver2/>). That is
//! JSON over HTTP, which the tests' client speaks.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{client, until};

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser, closed when the test ends.
pub struct Browser {
    driver: Child,
    base: String,
    client: reqwest::Client,
}

/// How a browser is to be.
#[derive(Clone, Copy)]
pub struct How {
    /// Whether pages' scripts run.
    pub scripts: bool,
    /// Pixels.
    pub width: u32,
}

impl Default for How {
    fn default() -> Self {
        Self { scripts: true, width: 1440 }
    }
}

/// Whether there is a browser. Where everything must be there, its lack is a failure.
pub fn is_there() -> bool {
    let has = |name: &str| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let there = has("chromium") && has("chromedriver");
    assert!(there || std::env::var_os("CI").is_none(), "chromium and chromedriver are missing");
    if !there {
        eprintln!("skipped: there is no chromium with its chromedriver on this machine");
    }
    there
}

impl Browser {
    /// Opens one.
    pub async fn open(how: How) -> Self {
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // "ChromeDriver was started successfully on port 43211."
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says its port").unwrap();
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Whatever else it says is nobody's business, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self { driver, base: format!("http://127.0.0.1:{port}"), client: client() };
        let size = format!("--window-size={},1000", how.width);
        let args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", &size];
        let scripts = if how.scripts { 1 } else { 2 };
        let options = json!({
            "args": args,
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            // Instead of five minutes.
            "timeouts": { "pageLoad": 60_000 },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = browser.ask("POST", "/session", Some(wanted)).await.unwrap();
        browser.base = format!("{}/session/{}", browser.base, opened["sessionId"].as_str().unwrap());
        if how.width < 600 {
            browser.resize(how.width).await;
        }
        browser
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let fine = response.status().is_success();
        let value: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        if fine { Ok(value["value"].clone()) } else { Err(value["value"].clone()) }
    }

    async fn tell(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, Some(body)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Makes the page so wide, narrower than a window can be.
    pub async fn resize(&self, width: u32) {
        let size = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.tell("/goog/cdp/execute", command).await;
    }

    /// Goes to an address.
    pub async fn go(&self, url: &str) {
        self.tell("/url", json!({ "url": url })).await;
    }

    /// The address that it is at.
    pub async fn at(&self) -> String {
        self.ask("GET", "/url", None).await.unwrap().as_str().unwrap().to_owned()
    }

    /// Runs a script in the page; gives what it returns.
    pub async fn js(&self, script: &str, args: Value) -> Value {
        self.tell("/execute/sync", json!({ "script": script, "args": args })).await
    }

    /// The same for one that answers later, by the function that is its last argument.
    pub async fn js_later(&self, script: &str, args: Value) -> Value {
        self.tell("/execute/async", json!({ "script": script, "args": args })).await
    }

    /// An element, as soon as it is there.
    async fn element(&self, css: &str) -> String {
        until(&format!("the element {css}"), async || {
            let found = self.ask("POST", "/element", Some(json!({ "using": "css selector", "value": css }))).await;
            Some(found.ok()?[ELEMENT].as_str()?.to_owned())
        })
        .await
    }

    /// Whether there is such an element now.
    pub async fn has(&self, css: &str) -> bool {
        self.ask("POST", "/element", Some(json!({ "using": "css selector", "value": css }))).await.is_ok()
    }

    /// What an element says, as it is seen.
    pub async fn text(&self, css: &str) -> String {
        let id = self.element(css).await;
        // It may have been swapped in between.
        self.ask("GET", &format!("/element/{id}/text"), None)
            .await
            .ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Clicks where people would.
    pub async fn click(&self, css: &str) {
        let what = format!("{css} to be clicked");
        until(&what, async || {
            let id = self.element(css).await;
            self.ask("POST", &format!("/element/{id}/click"), Some(json!({}))).await.ok()
        })
        .await;
    }

    /// Types into a field.
    pub async fn types(&self, css: &str, text: &str) {
        let id = self.element(css).await;
        self.tell(&format!("/element/{id}/value"), json!({ "text": text })).await;
    }

    /// Empties a field.
    pub async fn clear(&self, css: &str) {
        let id = self.element(css).await;
        self.tell(&format!("/element/{id}/clear"), json!({})).await;
    }

    /// Waits until an element says something.
    pub async fn says(&self, css: &str, text: &str) {
        until(&format!("{css} to say {text}"), async || self.text(css).await.contains(text).then_some(())).await;
    }

    /// Waits until the browser is at a place.
    pub async fn is_at(&self, part: &str) {
        until(&format!("the browser to be at {part}"), async || self.at().await.contains(part).then_some(())).await;
    }

    /// What the page complained of since this was last asked: errors of scripts, and what the policy refused.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.tell("/se/log", json!({ "type": "browser" })).await;
        let severe = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when its session goes; it is asked to, and then ended.
        let url = self.base.clone();
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(async { client().delete(url).send().await.map(drop) }))
        });
        let _ = ended.join();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
