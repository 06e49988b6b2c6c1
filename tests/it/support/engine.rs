//! The engine in this process: real HTTP, real store, a clock that is set by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postrider::app::{Engine, OpenStore, Outside, Workspace, open_store, read_address, read_token};
use postrider::clock::{Clock, HandClock, SharedClock};
use postrider::config::Flags;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::mortal::Coroner;
use super::{client, folder, until};

/// An engine on a workspace that lives as long as the test.
pub struct House {
    pub folder: TempDir,
    pub clock: Arc<HandClock>,
    pub engine: Engine,
    client: reqwest::Client,
    coroner: Coroner,
}

/// The hour at which tests begin.
pub fn start() -> Timestamp {
    "2026-11-20T07:00:00Z".parse().unwrap()
}

impl House {
    /// With these files, at [`start`].
    pub async fn open(files: &[(&str, &str)]) -> Self {
        Self::again(folder(files), Arc::new(HandClock::new(start()))).await
    }

    /// On a folder that was used before.
    pub async fn again(folder: TempDir, clock: Arc<HandClock>) -> Self {
        let opener = open_store(&workspace(folder.path()));
        Self::with(folder, clock, opener).await
    }

    /// With a store of the test's own.
    pub async fn with(folder: TempDir, clock: Arc<HandClock>, store: OpenStore) -> Self {
        let coroner = Coroner::default();
        let engine = engine(folder.path(), clock.clone(), coroner.open(store, None)).await;
        Self { folder, clock, engine, client: client(), coroner }
    }

    /// Stops as a crash would, and starts again on the same folder.
    pub async fn crash(self) -> Self {
        let (folder, clock) = self.down().await;
        Self::again(folder, clock).await
    }

    /// Stops as a crash would; gives what is left.
    pub async fn down(self) -> (TempDir, Arc<HandClock>) {
        let Self { folder, clock, engine, coroner, .. } = self;
        coroner.bury().await;
        engine.abandon().await;
        free(folder.path()).await;
        (folder, clock)
    }

    /// Stops as it is told to; gives what is left.
    pub async fn stop(self) -> (TempDir, Arc<HandClock>) {
        let Self { folder, clock, engine, .. } = self;
        engine.stop().await;
        free(folder.path()).await;
        (folder, clock)
    }

    /// Posts JSON to a webhook; gives status and answer.
    pub async fn hook(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}/hooks{path}", self.engine.address().listen);
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Asks the API.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/api/v1{path}", self.engine.address().admin);
        let token = read_token(self.folder.path()).unwrap();
        let mut request = self.client.request(method, url).bearer_auth(token.reveal());
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Asks the API for something that is there.
    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.api(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Tells the API something that it takes.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.api(Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Starts a flow by hand; gives the run's id.
    pub async fn trigger(&self, flow: &str, data: Value) -> String {
        let answer = self.post(&format!("/flows/{flow}/trigger"), serde_json::json!({ "data": data })).await;
        answer["run"].as_str().unwrap().to_owned()
    }

    /// Waits until a run is in a state; gives the run.
    pub async fn run_is(&self, id: &str, state: &str) -> Value {
        until(&format!("run {id} to be {state}"), async || {
            let run = self.get(&format!("/runs/{id}")).await;
            let over = matches!(run["state"].as_str(), Some("succeeded" | "failed" | "cancelled"));
            assert!(!over || run["state"] == state, "the run is not {state}: {run}");
            (run["state"] == state).then_some(run)
        })
        .await
    }

    /// Waits until so many messages are in a state; gives all messages, oldest first. What was read was delivered.
    pub async fn messages_are(&self, count: usize, state: &str) -> Vec<Value> {
        until(&format!("{count} messages to be {state}"), async || {
            let answer = self.get("/messages?limit=1000").await;
            let mut messages = answer["messages"].as_array().unwrap().clone();
            messages.reverse();
            let there = messages.iter().filter(|message| reached(message, state)).count();
            (there == count).then_some(messages)
        })
        .await
    }

    /// Waits until a run waits for a time, and moves the clock to just that time.
    pub async fn sleep_through(&self, id: &str) {
        let now = self.clock.now();
        let later = until(&format!("run {id} to wait"), async || {
            let run = self.get(&format!("/runs/{id}")).await;
            let time: Timestamp = run["waiting_for"]["until"].as_str()?.parse().unwrap();
            (time > now).then_some(time)
        })
        .await;
        self.clock.advance(later.duration_since(now).unsigned_abs());
    }

    /// Writes a file into the workspace, as an editor that writes in place does.
    pub fn write(&self, path: &str, text: &str) {
        super::write(self.folder.path(), path, text);
    }

    /// Removes a file from the workspace.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.path().join(path)).unwrap();
    }

    /// Renames a file in the workspace.
    pub fn rename(&self, from: &str, to: &str) {
        let root = self.folder.path();
        std::fs::rename(root.join(from), root.join(to)).unwrap();
    }

    /// Waits until the list of flows is as wanted; gives it.
    pub async fn flows_are(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            let flows = self.get("/flows").await;
            wanted(&flows).then_some(flows)
        })
        .await
    }

    /// The runs of a flow, oldest first.
    pub async fn runs_of(&self, flow: &str) -> Vec<Value> {
        let answer = self.get(&format!("/runs?flow={flow}&limit=1000")).await;
        let mut runs = answer["runs"].as_array().unwrap().clone();
        runs.reverse();
        runs
    }

    /// The fates of a flow's instants, oldest first: time of day, fate, how late.
    pub async fn fates_of(&self, flow: &str) -> Vec<String> {
        let answer = self.get(&format!("/occurrences?flow={flow}&limit=1000")).await;
        let mut fates: Vec<String> = answer["occurrences"].as_array().unwrap().iter().map(fate).collect();
        fates.reverse();
        fates
    }

    /// The time as gateways write it.
    pub fn clock_text(&self) -> String {
        self.clock.now().to_string()
    }

    /// Moves the clock.
    pub fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

/// Waits until nobody holds a folder: a program that another test starts just now has our open files for
/// a moment.
async fn free(folder: &Path) {
    until("the folder to be free", async || read_address(folder).is_none().then_some(())).await;
}

/// A flow in a list of flows; null when it is not there.
pub fn flow_in<'a>(flows: &'a Value, name: &str) -> &'a Value {
    flows["flows"].as_array().unwrap().iter().find(|flow| flow["name"] == name).unwrap_or(&Value::Null)
}

fn fate(row: &Value) -> String {
    let time = |field: &str| row[field].as_str().map(|at| at[11..19].to_owned());
    let mut text = time("at").unwrap();
    if let Some(until) = time("until") {
        text.push_str(&format!("-{until}"));
    }
    text.push_str(&format!(" {}", row["fate"].as_str().unwrap()));
    if let Some(late) = row["late_by"].as_str().filter(|late| *late != "0s") {
        text.push_str(&format!(" by {late}"));
    }
    text
}

/// The workspace of a folder, with free ports and no environment.
pub fn workspace(folder: &Path) -> Workspace {
    workspace_with(folder, BTreeMap::new())
}

/// The same with variables.
pub fn workspace_with(folder: &Path, environment: BTreeMap<String, String>) -> Workspace {
    let port = || Some("127.0.0.1:0".to_owned());
    let flags = Flags { listen: port(), admin: port(), ..Flags::default() };
    Workspace::open(folder, flags, environment).unwrap_or_else(|findings| panic!("{findings:?}"))
}

async fn engine(folder: &Path, clock: SharedClock, store: OpenStore) -> Engine {
    let listener = || TcpListener::bind("127.0.0.1:0");
    let (public, private) = (listener().await.unwrap(), listener().await.unwrap());
    Engine::start(&workspace(folder), Outside { clock, public, private, store }).await.unwrap()
}

fn reached(message: &Value, state: &str) -> bool {
    message["state"] == state || (state == "delivered" && message["state"] == "read")
}

/// A page of somebody else on a port of this machine; gives its address.
pub async fn page_server(html: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
                    html.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}/")
}
