//! A hostile corpus: scripts that do in one call, or in many, as much harm as they can, in the real binary.
//! Each ends as it may; meanwhile memory, CPU time, log and state stay bounded, and another flow is
//! answered.

mod gauge;
mod modules;
mod neighbour;
mod scripts;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postrider::app::{read_address, read_token};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::Process;
use crate::support::{client, folder, until};
use gauge::{Gauge, disk};
use neighbour::Neighbour;
use scripts::{End, Script};

const GOOD: (&str, &str) = ("flows/good.yaml", "triggers:\n  - webhook: { path: /good, respond: result }\nrun: 42\n");
/// Half of the usual CPU time of a turn: a bound that is shorter is harder to keep, and all scripts
/// are through in the time that a test may take.
const CPU: Duration = Duration::from_secs(1);
/// What reading the clock of a thread, the neighbour's own turns and a commit may add.
const MARGIN: Duration = Duration::from_millis(300);
const MEMORY: u64 = 200 << 20;
const LOG: u64 = 5 << 20;
/// A script that leaves more behind would be counted against the next one.
const LEFT: u64 = 48 << 20;
const STATE: u64 = 100 << 20;
/// A run that is not over by then, in time of its thread or in time of the day, never will be.
const MOST_CPU: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with all scripts.
struct House {
    folder: TempDir,
    process: Process,
    gauge: Gauge,
    client: reqwest::Client,
}

impl House {
    fn open(scripts: &[Script]) -> Self {
        let folder = folder(&[GOOD]);
        let write = |path: String, text: &str| crate::support::write(folder.path(), &path, text);
        write("postrider.yaml".into(), &format!("limits: {{ cpu_turn: {}ms }}\n", CPU.as_millis()));
        for (name, text) in scripts::files("modules") {
            write(format!("scripts/lib/{name}.rhai"), &text);
        }
        for Script { name, text, flow, .. } in scripts {
            write(format!("scripts/{name}.rhai"), text);
            write(format!("flows/{name}.yaml"), &format!("script: {name}.rhai\n{flow}"));
        }
        let names: Vec<String> = (0..10).map(|number| format!("{}{number}", "n".repeat(4_096))).collect();
        write("files/names.csv".into(), &format!("{}\n{}", names.join(","), ",,,,,,,,,\n".repeat(6_000)));
        write("files/lines.txt".into(), &"\n".repeat(1 << 20));
        let process = Process::start(folder.path());
        let pid = read_address(folder.path()).unwrap().pid;
        Self { folder, process, gauge: Gauge::of(pid), client: client() }
    }

    fn public(&self) -> SocketAddr {
        self.process.public
    }

    fn state(&self) -> u64 {
        disk(&self.folder.path().join(".postrider"))
    }

    fn log(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("engine.log")).unwrap().len()
    }

    /// Asks the API; an error says that nobody is there.
    async fn api(&self, path: &str, body: Option<Value>) -> Result<(u16, Value), String> {
        let url = format!("http://{}/api/v1{path}", self.process.admin);
        let token = read_token(self.folder.path()).unwrap();
        let request = match body {
            Some(body) => self.client.post(url).body(body.to_string()),
            None => self.client.get(url),
        };
        let answer = request.bearer_auth(token.reveal()).timeout(PATIENCE).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Runs a script to its end, or to where it waits.
    async fn run(&self, script: &Script) -> Result<End, String> {
        let data = if script.large { json!({ "list": vec![1; 60_000] }) } else { Value::Null };
        let (status, answer) =
            self.api(&format!("/flows/{}/trigger", script.name), Some(json!({ "data": data }))).await?;
        if status == 404 {
            return Ok(End::Refused);
        }
        let Some(id) = answer["run"].as_str() else { return Err(format!("not started: {status} {answer}")) };
        let (start, cpu) = (Instant::now(), self.gauge.cpu());
        while start.elapsed() < PATIENCE && self.gauge.cpu().saturating_sub(cpu) < MOST_CPU {
            let (_, list) = self.api(&format!("/runs?flow={}&limit=1", script.name), None).await?;
            let run = &list["runs"][0];
            match (run["state"].as_str(), run["error"]["kind"].as_str()) {
                (Some("succeeded"), _) => return Ok(End::Fine),
                (Some("failed"), Some("limit")) => {
                    let was_given_up = run["error"]["message"].as_str().is_some_and(|why| why.contains("was given up"));
                    return Ok(if was_given_up { End::GivenUp } else { End::Limit });
                }
                (Some("failed"), Some(kind @ ("panic" | "replay" | "damaged" | "crashed"))) => {
                    return Err(format!("{kind}: {}", shortened(&run["error"]["message"])));
                }
                (Some("failed"), _) => return Ok(End::Refused),
                (Some("waiting"), _) if script.ends.contains(&End::Waits) => {
                    self.api(&format!("/runs/{id}/cancel"), Some(json!({}))).await?;
                    return Ok(End::Waits);
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        Err(format!("not over after {:?} and {:?} of CPU", start.elapsed(), self.gauge.cpu().saturating_sub(cpu)))
    }

    /// Waits until no script runs any more, also none that was given up; false when that never is.
    async fn quiet(&self) -> bool {
        /// The neighbour's own turns are over between two of these.
        const LOOKS: usize = 3;
        let (start, cpu) = (Instant::now(), self.gauge.cpu());
        let mut idle = 0;
        while start.elapsed() < PATIENCE && self.gauge.cpu().saturating_sub(cpu) < MOST_CPU {
            idle = if self.gauge.is_busy() { 0 } else { idle + 1 };
            if idle == LOOKS {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        false
    }
}

fn shortened(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().take(120).collect()
}

/// What a script did.
struct Deed {
    name: String,
    wrong: Vec<String>,
    line: String,
}

/// Runs one script and says what it cost. True when the next one needs another engine to be
/// judged by what it does itself.
async fn try_out(house: &House, script: &Script) -> (Deed, bool) {
    let start = Instant::now();
    let (log, state, cpu, before) = (house.log(), house.state(), house.gauge.cpu(), house.gauge.size());
    house.gauge.reset_peak();
    let mut went = Ok(End::Refused);
    for _ in 0..script.times {
        went = house.run(script).await;
    }
    let is_quiet = house.quiet().await;
    let cpu = house.gauge.cpu().saturating_sub(cpu);
    let (peak, after) = (house.gauge.peak(), house.gauge.size());
    let (log, state) = (house.log() - log, house.state().saturating_sub(state));
    let mut wrong = Vec::new();
    match &went {
        Ok(end) if script.ends.contains(end) => {}
        Ok(end) => wrong.push(format!("ended as {end:?}, not as one of {:?}", script.ends)),
        Err(_) if house.gauge.is_overgrown() => wrong.push("took more than 1 GiB, and was ended for it".into()),
        Err(error) => wrong.push(error.clone()),
    }
    if peak > MEMORY {
        wrong.push(format!("took {} MiB, from {}", peak >> 20, before >> 20));
    }
    // Whose turn is given up goes on in the time that nobody else wants; that is told of as such.
    let given_up = matches!(went, Ok(End::GivenUp));
    if cpu > (2 * CPU + MARGIN) * script.times as u32 && !given_up {
        wrong.push(format!("used {cpu:?} of CPU"));
    }
    if !is_quiet && !given_up {
        wrong.push("goes on after its end".into());
    }
    let line = format!(
        "{:60} {:12} {:6.2} s, CPU {:5.2} s, {:3} to {:4} to {:3} MiB, log {:5} KiB, state {:6} KiB",
        script.name,
        went.as_ref().map_or("-".into(), |end| format!("{end:?}")),
        start.elapsed().as_secs_f64(),
        cpu.as_secs_f64(),
        before >> 20,
        peak >> 20,
        after >> 20,
        log >> 10,
        state >> 10,
    );
    // A circle of references is freed by nobody: the engine counts what such scripts cost it.
    let has_left = after > before + LEFT;
    let deed = Deed { name: script.name.clone(), wrong, line };
    (deed, went.is_err() || given_up || !is_quiet || peak > MEMORY || has_left)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_brings_the_engine_down() {
    let scripts = scripts::all();
    let calm = folder(&[GOOD]);
    let calm = Process::start(calm.path());
    let neighbour = Neighbour::start(calm.public);
    let mut house = House::open(&scripts);
    *neighbour.target.lock().unwrap() = Some(house.public());
    let (mut deeds, mut log, mut state) = (Vec::new(), 0, 0);
    for (number, script) in scripts.iter().enumerate() {
        neighbour.script.store(number, Ordering::Relaxed);
        let (deed, is_broken) = try_out(&house, script).await;
        println!("{}{}", deed.line, deed.wrong.iter().map(|wrong| format!("\n    {wrong}")).collect::<String>());
        deeds.push(deed);
        if is_broken {
            *neighbour.target.lock().unwrap() = None;
            (log, state) = (log + house.log(), state.max(house.state()));
            drop(house);
            house = House::open(&scripts);
            *neighbour.target.lock().unwrap() = Some(house.public());
        }
    }
    (log, state) = (log + house.log(), state.max(house.state()));
    let mut wrong: Vec<String> =
        deeds.iter().flat_map(|deed| deed.wrong.iter().map(|wrong| format!("{}: {wrong}", deed.name))).collect();
    wrong.extend(neighbourly(&neighbour, &scripts).await);
    if log > LOG {
        wrong.push(format!("the log has {} KiB", log >> 10));
    }
    if state > STATE {
        wrong.push(format!("the state has {} MiB", state >> 20));
    }
    println!("log {} KiB, state {} MiB", log >> 10, state >> 20);
    assert!(wrong.is_empty(), "{} of {} scripts:\n{}", wrong.len(), scripts.len(), wrong.join("\n"));
}

/// What the other flow's callers had to bear.
async fn neighbourly(neighbour: &Neighbour, scripts: &[Script]) -> Vec<String> {
    /// So many late calls are a moment in which nobody was answered.
    const STALL: usize = 5;
    *neighbour.target.lock().unwrap() = None;
    let mut count = neighbour.calls().len();
    // Those that are under way come to their end.
    until("the last calls to be answered", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = neighbour.calls().len();
        std::mem::replace(&mut count, now).eq(&now).then_some(())
    })
    .await;
    let calls = neighbour.calls();
    let late: Vec<_> = calls.iter().filter(|call| call.is_late()).collect();
    let mut times: Vec<Duration> = calls.iter().map(|call| call.attacked).collect();
    times.sort();
    let percentile = |part: usize| times[(times.len() - 1) * part / 1000];
    println!(
        "{} calls: median {:?}, 99 of 100 within {:?}, the longest {:?}; {} late",
        calls.len(),
        percentile(500),
        percentile(990),
        percentile(1000),
        late.len(),
    );
    let mut wrong = Vec::new();
    if late.len() * 100 > calls.len() {
        wrong.push(format!("{} of {} calls of another flow were late", late.len(), calls.len()));
    }
    for (number, script) in scripts.iter().enumerate() {
        let late: Vec<_> = late.iter().filter(|call| call.script == number).collect();
        if late.len() >= STALL {
            let longest = late.iter().map(|call| call.attacked).max().unwrap();
            wrong.push(format!("{}: {} calls of another flow were late, one by {longest:?}", script.name, late.len()));
        }
    }
    wrong
}
