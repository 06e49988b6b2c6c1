//! An engine with a workspace of its own, and what a benchmark asks it.

use std::time::{Duration, Instant};

use postrider::app::{read_address, read_token};
use serde_json::Value;
use tempfile::TempDir;

use crate::engine::Engine;

/// How long anything is waited for.
pub const LONGEST: Duration = Duration::from_secs(600);
/// How often it is looked whether something is over.
const LOOK: Duration = Duration::from_millis(200);

/// The engine and its workspace.
pub struct House {
    /// The engine. It goes before its folder does.
    pub engine: Engine,
    folder: TempDir,
    client: reqwest::Client,
    api: String,
    token: String,
    pid: u32,
}

impl House {
    /// With these settings and flows, each flow with its name.
    pub fn open(settings: &str, flows: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        std::fs::create_dir_all(folder.path().join("flows")).expect("a folder");
        write("postrider.yaml", settings);
        for (name, text) in flows {
            write(&format!("flows/{name}.yaml"), text);
        }
        Self::start(folder)
    }

    fn start(folder: TempDir) -> Self {
        let engine = Engine::start(folder.path());
        let address = read_address(folder.path()).expect("an address");
        let token = read_token(folder.path()).expect("a token").reveal().to_owned();
        let client = postrider::transport::client(Duration::from_secs(60)).expect("a client");
        let (api, pid) = (format!("http://{}/api/v1", address.admin), address.pid);
        Self { engine, folder, client, api, token, pid }
    }

    /// Stops the engine and starts another one on the same folder.
    pub fn again(self) -> Self {
        let Self { engine, folder, .. } = self;
        complain(&engine.stop());
        Self::start(folder)
    }

    /// Stops the engine; its folder goes with it.
    pub fn stop(self) {
        complain(&self.engine.stop());
    }

    /// Asks the API.
    pub async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.api)).bearer_auth(&self.token).timeout(LONGEST);
        let text = request.send().await.expect("an answer").text().await.expect("a text");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    /// Posts JSON to the public side.
    pub async fn post(&self, path: &str, body: &Value) {
        let url = format!("http://{}{path}", self.engine.public);
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let answer = request.timeout(LONGEST).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// Shows every row of a list, `runs` or `messages`; gives how many there are.
    pub async fn rows(&self, list: &str, filter: &str, mut show: impl FnMut(&Value)) -> usize {
        let (mut count, mut after) = (0, String::new());
        loop {
            let page = self.get(&format!("/{list}?{filter}&limit=1000{after}")).await;
            let rows = page[list].as_array().expect("rows");
            count += rows.len();
            rows.iter().for_each(&mut show);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return count,
            }
        }
    }

    /// Waits until the first of these lists has no row, then for the next one.
    pub async fn empty(&self, lists: &[(&str, &str)]) {
        let begun = Instant::now();
        for (list, filter) in lists {
            loop {
                let page = self.get(&format!("/{list}?{filter}&limit=1")).await;
                if page[*list].as_array().expect("rows").is_empty() {
                    break;
                }
                assert!(begun.elapsed() < LONGEST, "this does not end: {page}");
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Memory that it has now, in MiB.
    pub fn resident(&self) -> f64 {
        self.engine.memory("VmRSS") as f64 / f64::from(1 << 20)
    }

    /// How many threads it has now.
    pub fn threads(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("its status");
        let count = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
        count.expect("a count")
    }
}

/// Shows the first errors of a log, if there are any.
fn complain(log: &str) {
    log.lines().filter(|line| line.contains("ERROR")).take(5).for_each(|line| println!("{line}"));
}
