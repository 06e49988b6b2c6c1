//! The engine as its own process, in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running engine.
pub struct Engine {
    child: Child,
    /// Public side.
    pub public: SocketAddr,
    /// From start to the ready line.
    pub ready_after: Duration,
}

impl Engine {
    /// Starts on a workspace and waits for the ready line.
    pub fn start(folder: &Path) -> Self {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_postrider"))
            .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workspace"])
            .arg(folder)
            .env("POSTRIDER_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("the ready line");
        let ready_after = start.elapsed();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let public = address.parse().unwrap_or_else(|_| panic!("no ready line: {line}"));
        Self { child, public, ready_after }
    }

    /// A size from its status, in bytes: `VmRSS`, `VmHWM`.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// CPU time it has used, user and system.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its times");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u64 = fields[11..13].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // The kernel counts in hundredths of a second for everybody.
        Duration::from_millis(ticks * 10)
    }

    /// Stops it; gives what it logged.
    pub fn stop(mut self) -> String {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let mut log = String::new();
        let _ = self.child.stderr.take().expect("its log").read_to_string(&mut log);
        let _ = self.child.wait();
        log
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
