//! Random input at everything of ours that reads: no panic, and each case within its time and memory.
//!
//! `cargo test` tries a few hundred cases for each target, always the same. `.ci/fuzz` tries new ones for as
//! long as it is told. What is found goes into `tests/corpus/fuzz` as a seed.

mod cron;
mod flows;
mod forms;
mod inbound;
mod journals;
mod parsers;
mod settings;
mod trees;
mod words;
mod writings;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postrider::clock::thread_cpu;
use postrider::memory::Mark;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};

/// Cases of a target under `cargo test`.
const CASES: u32 = 300;
/// Cases between two looks at the clock, when the time is what counts.
const AT_ONCE: u32 = 500;
/// A process that only fuzzes stays below it.
const MEMORY: u64 = 512 << 20;

fn place(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fuzz").join(target)
}

/// What the cases of a target begin with: each file of its folder, and each line of its file.
fn seeds(target: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(place(target)).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    files.sort();
    found.extend(files.iter().map(|path| std::fs::read_to_string(path).unwrap()));
    if let Ok(lines) = std::fs::read_to_string(place(&format!("{target}.lines"))) {
        found.extend(lines.lines().map(str::to_owned));
    }
    assert!(!found.is_empty(), "no seeds for {target}");
    found
}

/// Tries cases: the same few hundred, or new ones for the seconds that `POSTRIDER_FUZZ` gives.
fn hunt<S: Strategy>(target: &str, cases: S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    // For as long as the tests run.
    let known: &'static str = place(&format!("{target}.found")).display().to_string().leak();
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}.case"));
    let persistence = FileFailurePersistence::Direct(known);
    let mut config = Config { cases: CASES, max_shrink_time: 60_000, ..Config::with_failure_persistence(persistence) };
    let seconds = std::env::var("POSTRIDER_FUZZ").ok().map(|text| text.parse().expect("seconds in POSTRIDER_FUZZ"));
    let time = seconds.map(Duration::from_secs);
    config.rng_seed = if time.is_some() { RngSeed::Random } else { RngSeed::Fixed(0x706f_7374) };
    if time.is_some() {
        config.cases = AT_ONCE;
    }
    let start = Instant::now();
    let mut tried = 0;
    loop {
        let ended = TestRunner::new(config.clone()).run(&cases, |case| {
            // What ends the process as a whole leaves its case there.
            std::fs::write(&last, format!("{case:?}\n")).unwrap();
            check(case);
            Ok(())
        });
        if let Err(error) = ended {
            panic!("{target}: {error}");
        }
        tried += config.cases;
        let Some(time) = time else { return };
        if start.elapsed() > time {
            break;
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!("{target}: {tried} cases, peak {peak}");
    let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(peak << 10 < MEMORY, "{target}: the peak is {peak} kB");
}

/// Works within a time, and never holds more than so much. The time is that of this thread's CPU, so that a
/// busy machine is no fault.
fn bounded<T>(time: Duration, memory: u64, work: impl FnOnce() -> T) -> T {
    let (start, mark) = (thread_cpu(), Mark::new());
    let made = work();
    let (spent, peak) = (thread_cpu() - start, mark.peak());
    assert!(spent <= time, "took {spent:?}");
    assert!(peak <= memory, "held {peak} bytes");
    made
}
