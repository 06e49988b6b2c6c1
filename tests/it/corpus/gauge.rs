//! What a process costs, seen from outside: memory, CPU time of the threads that run scripts, disk.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Looks at a process again and again, and ends it before it takes the machine with it.
pub struct Gauge {
    pid: u32,
    /// CPU time of each of these threads, also of those that have ended since.
    threads: Arc<Mutex<HashMap<u32, Duration>>>,
    overgrown: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// More than that, and the process is ended.
const OVERGROWN: u64 = 1 << 30;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

impl Gauge {
    pub fn of(pid: u32) -> Self {
        let gauge = Self { pid, threads: Arc::default(), overgrown: Arc::default(), stop: Arc::default() };
        let (threads, overgrown, stop) = (gauge.threads.clone(), gauge.overgrown.clone(), gauge.stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                look(pid, &threads);
                if status(pid, "VmRSS").is_some_and(|bytes| bytes > OVERGROWN) {
                    overgrown.store(true, Ordering::Relaxed);
                    let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
                    return;
                }
                std::thread::sleep(BETWEEN_LOOKS);
            }
        });
        gauge
    }

    /// Whether it was ended because it grew beyond measure.
    pub fn is_overgrown(&self) -> bool {
        self.overgrown.load(Ordering::Relaxed)
    }

    /// Whether one of its threads for scripts works, or would if the machine had time for it.
    pub fn is_busy(&self) -> bool {
        tasks(self.pid).any(|(_, path)| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // Behind the name, which stands in brackets.
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['R', 'D']))
        })
    }

    /// CPU time that its threads for scripts have used.
    pub fn cpu(&self) -> Duration {
        look(self.pid, &self.threads);
        self.threads.lock().unwrap().values().sum()
    }

    /// The peak counts from now on.
    pub fn reset_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    /// How large it is.
    pub fn size(&self) -> u64 {
        status(self.pid, "VmRSS").unwrap_or(0)
    }

    /// The largest that it was since.
    pub fn peak(&self) -> u64 {
        status(self.pid, "VmHWM").unwrap_or(0)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The threads that run scripts.
fn tasks(pid: u32) -> impl Iterator<Item = (u32, PathBuf)> {
    let all = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    all.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        name.starts_with("turn").then_some((task.file_name().to_str()?.parse().ok()?, task.path()))
    })
}

fn look(pid: u32, threads: &Mutex<HashMap<u32, Duration>>) {
    for (id, path) in tasks(pid) {
        let spent = || fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok();
        if let Some(spent) = spent() {
            threads.lock().unwrap().insert(id, Duration::from_nanos(spent));
        }
    }
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Bytes of a folder's files.
pub fn disk(folder: &Path) -> u64 {
    let sizes = walkdir::WalkDir::new(folder).into_iter().flatten().filter_map(|entry| entry.metadata().ok());
    sizes.filter(|data| data.is_file()).map(|data| data.len()).sum()
}
