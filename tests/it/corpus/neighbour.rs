//! Somebody else's flow, called all the while.
//!
//! The calls come by the clock, whether those before were answered or not: an engine that stands still for
//! a second is seen by twenty of them. Each is made at a second engine too, at which nothing hostile
//! happens: what both are slow at is the machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client;

const EVERY: Duration = Duration::from_millis(50);
/// Longer than that is late, if the other engine needed less than half of it.
pub const LATE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// A call: which script ran, how long the engine under attack needed, and how long the other one.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    pub script: usize,
    pub attacked: Duration,
    pub quiet: Duration,
}

impl Called {
    pub fn is_late(&self) -> bool {
        self.attacked > LATE && self.quiet < LATE / 2
    }
}

/// The calls.
pub struct Neighbour {
    /// Which script runs.
    pub script: Arc<AtomicUsize>,
    /// Where the engine is that runs it; none while there is none.
    pub target: Arc<Mutex<Option<SocketAddr>>>,
    calls: Arc<Mutex<Vec<Called>>>,
    stop: Arc<AtomicBool>,
}

impl Neighbour {
    pub fn start(quiet: SocketAddr) -> Self {
        let this = Self { script: Arc::default(), target: Arc::default(), calls: Arc::default(), stop: Arc::default() };
        let (script, target) = (this.script.clone(), this.target.clone());
        let (calls, stop) = (this.calls.clone(), this.stop.clone());
        let client = client();
        tokio::spawn(async move {
            let mut clock = tokio::time::interval(EVERY);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !stop.load(Ordering::Relaxed) {
                clock.tick().await;
                let Some(address) = *target.lock().unwrap() else { continue };
                let (script, calls, client) = (script.load(Ordering::Relaxed), calls.clone(), client.clone());
                tokio::spawn(async move {
                    let (attacked, quiet) = tokio::join!(call(&client, address), call(&client, quiet));
                    calls.lock().unwrap().push(Called { script, attacked, quiet });
                });
            }
        });
        this
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long an answer takes; what is no answer counts as the longest time.
async fn call(client: &reqwest::Client, address: SocketAddr) -> Duration {
    let start = Instant::now();
    let request = client.post(format!("http://{address}/hooks/good")).body("{}").timeout(PATIENCE);
    match request.send().await {
        Ok(answer) if answer.status() == 200 => start.elapsed(),
        _ => PATIENCE,
    }
}
