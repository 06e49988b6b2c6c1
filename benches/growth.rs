//! What a store costs that grows: the main job beside a million settled messages, and a day of traffic of which only
//! the last hours are kept.
//!
//! `cargo bench --bench growth -- --settled 1000000 --seconds 20 --rounds 3 --day 1000000 --rate 2000`; a part whose
//! count is 0 is left out.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "support/filling.rs"]
mod filling;
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postrider::app::{Engine as InProcess, Outside, Workspace, open_store, read_address, read_token};
use postrider::clock::HandClock;
use postrider::config::Flags;
use support::engine::Engine;
use support::figures::{flag, median};
use support::gateway::{self, Count};
use support::load::{self, Press, Spell};
use tokio::net::TcpListener;

const FLOW: &str = "triggers:\n  - webhook: /orders\nrun: |\n  let order = event.body;\n  send_text(order.customer.phone, `Thank you, ${order.customer.name}: order ${order.order} has arrived`);\n";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn main() {
    let number = |name: &str, default: u64| usize::try_from(flag(name, default)).unwrap_or(usize::MAX);
    let (settled, day) = (number("--settled", 1_000_000), number("--day", 1_000_000));
    let (seconds, rounds) = (Duration::from_secs(flag("--seconds", 20)), flag("--rounds", 3));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    // The load of a day is its own process: what it remembers is not to be taken for the engine's.
    let mut asked = std::env::args().skip_while(|arg| arg != "--press-on").skip(1);
    if let (Some(target), Some(folder)) = (asked.next(), asked.next()) {
        let target = target.parse().expect("an address");
        return runtime.block_on(press(target, Path::new(&folder), day, flag("--rate", 2_000)));
    }
    runtime.block_on(async {
        if settled > 0 {
            beside(settled, seconds, rounds).await;
        }
        if day > 0 {
            a_day(day, flag("--rate", 2_000)).await;
        }
    });
}

fn workspace(folder: &Path, settings: &str) {
    std::fs::create_dir_all(folder.join("flows")).expect("a folder");
    std::fs::write(folder.join("flows/orders.yaml"), FLOW).expect("a flow");
    std::fs::write(folder.join("postrider.yaml"), settings).expect("settings");
}

/// The main job with an empty store, and with one that holds so many settled messages, in turns.
async fn beside(settled: usize, seconds: Duration, rounds: u64) {
    let (address, count) = gateway::serve().await;
    let settings = format!("accounts:\n  main: {{ transport: gowa, url: \"http://{address}\", pace: unlimited }}\n");
    let full = tempfile::tempdir().expect("a folder");
    workspace(full.path(), &settings);
    let first = Engine::start(full.path());
    load::run(first.public, "/hooks/orders", count.clone(), 8, Duration::from_secs(1), Press::Rate(200)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first.stop());
    let state = full.path().join(".postrider/state.db");
    filling::fill(&state, settled);
    let size = std::fs::metadata(&state).map_or(0, |file| file.len());
    println!("a store with {settled} settled runs and messages has {} MiB", size >> 20);
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let empty = tempfile::tempdir().expect("a folder");
        workspace(empty.path(), &settings);
        let without = delivered(empty.path(), count.clone(), seconds).await;
        let with = delivered(full.path(), count.clone(), seconds).await;
        println!(
            "round {round}: {without:.0}/s with an empty store, {with:.0}/s with the full one: {:.3}",
            with / without
        );
        ratios.push(with / without);
    }
    println!("median of {rounds} rounds: {:.3} (goal: 0.9)", median(ratios));
    forgotten(full.path(), count).await;
}

/// A person is erased from the full store, while others come 200 times a second.
async fn forgotten(folder: &Path, count: Count) {
    let engine = Engine::start(folder);
    let api = format!("http://{}/api/v1/forget", read_address(folder).expect("an address").admin);
    let token = read_token(folder).expect("a token").reveal().to_owned();
    let client = postrider::transport::client(Duration::from_secs(600)).expect("a client");
    let forgets = tokio::spawn(async move {
        let begun = Instant::now();
        let asked = client.post(api).bearer_auth(token).header("content-type", "application/json");
        let answer = asked.body(r#"{"recipient":"+15412000001"}"#).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        begun.elapsed()
    });
    let (begun, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let state = folder.join(".postrider/state.db");
    let watch = tokio::task::spawn_blocking({
        let over = over.clone();
        move || {
            let connection = rusqlite::Connection::open(state).expect("the state");
            let owed = "SELECT count(*), total(on_disk) FROM forgotten";
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let owed = connection.query_row(owed, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?)));
                if owed.is_ok_and(|(forgotten, owed)| forgotten > 0 && owed == 0.0) {
                    over.store(true, Ordering::Relaxed);
                    return begun.elapsed();
                }
            }
        }
    });
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let press = Press::Rate(200);
        let outcome = load::run(engine.public, "/hooks/orders", count.clone(), 8, Duration::from_secs(1), press).await;
        times.push(outcome.percentile(100.0));
    }
    println!(
        "a person is erased after {:.1?}, and from the free space of the file after {:.1?}; the longest answer to others meanwhile {:.1?}",
        forgets.await.expect("an answer"),
        watch.await.expect("the end"),
        times.iter().max().copied().unwrap_or_default(),
    );
    drop(engine.stop());
}

async fn delivered(folder: &Path, count: Count, seconds: Duration) -> f64 {
    let engine = Engine::start(folder);
    let keep_up = Press::KeepUp { most_open: 1_000 };
    load::run(engine.public, "/hooks/orders", count.clone(), 64, Duration::from_secs(3), keep_up).await;
    let before = engine.cpu();
    let outcome = load::run(engine.public, "/hooks/orders", count.clone(), 64, seconds, keep_up).await;
    let cpu = (engine.cpu() - before).as_secs_f64() * 1e6 / (outcome.answered * seconds.as_secs_f64());
    drop(count.times());
    load::run(engine.public, "/hooks/orders", count.clone(), 32, Duration::from_secs(3), Press::Rate(400)).await;
    let times = count.times();
    println!(
        "  ready after {:?}; {:.0}/s, {} open at the end, answers p99 {:?}, {cpu:.0} µs of CPU each; at 400/s in to out p50 {:?}; {} MiB resident",
        engine.ready_after,
        outcome.delivered,
        outcome.backlog,
        outcome.percentile(99.0),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        engine.memory("VmRSS") >> 20,
    );
    drop(engine.stop());
    outcome.delivered
}

/// A day of traffic through the sandbox, so many requests a second, under a clock that is moved with it.
async fn a_day(messages: usize, rate: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    workspace(folder.path(), "keep: { runs: 1h, messages: 2h }\n");
    let clock = Arc::new(HandClock::new("2026-11-20T07:00:00Z".parse().expect("a time")));
    let port = || Some("127.0.0.1:0".to_owned());
    let flags = Flags { listen: port(), admin: port(), ..Flags::default() };
    let place = Workspace::open(folder.path(), flags, BTreeMap::new()).expect("a workspace");
    let (public, private) = (listener().await, listener().await);
    let target: SocketAddr = public.local_addr().expect("an address");
    let outside = Outside { clock: clock.clone(), public, private, store: open_store(&place) };
    let engine = InProcess::start(&place, outside).await.expect("an engine");

    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watched(folder.path().join(".postrider/state.db"), over.clone()));
    let time = Duration::from_secs_f64(messages as f64 / rate as f64);
    let hands = tokio::spawn(moved(clock, time, over.clone()));
    println!("a day of {messages} webhooks in {time:.0?} with `keep: {{ runs: 1h, messages: 2h }}`");
    let load = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--day", &messages.to_string(), "--rate", &rate.to_string(), "--press-on", &target.to_string()])
        .arg(folder.path())
        .status();
    assert!(load.await.expect("the load").success());
    over.store(true, Ordering::Relaxed);
    hands.await.expect("the clock");
    let (largest, [third, end]) = watch.await.expect("the watch");
    println!(
        "  the state file had at most {} MiB; the engine had {third} after a third, {end} at the end",
        largest >> 20
    );
    let state = rusqlite::Connection::open(folder.path().join(".postrider/state.db")).expect("the state");
    let number = |sql: &str| state.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    let [runs, messages, phones] =
        ["runs", "messages", "phones"].map(|table| number(&format!("SELECT count(*) FROM {table}")));
    let (all, empty) = (number("PRAGMA page_count") * 4096, number("PRAGMA freelist_count") * 4096);
    println!(
        "  left at the end: {runs} runs, {messages} messages and as many on {phones} phones' screens in {} MiB, {} of them empty: {} bytes for each message with its run",
        all >> 20,
        empty >> 20,
        (all - empty) / messages.max(1),
    );
    engine.stop().await;
}

/// The load of a day, at an engine that another process has, and a page beside its file that is written meanwhile.
async fn press(target: SocketAddr, folder: &Path, messages: usize, rate: u64) {
    let over = Arc::new(AtomicBool::new(false));
    let disk = std::thread::spawn({
        let (file, over) = (folder.join("page"), over.clone());
        move || written_beside(&file, &over)
    });
    let time = Duration::from_secs_f64(messages as f64 / rate as f64);
    let nobody = Arc::new(gateway::Gate::new());
    let begun = Instant::now();
    let answers = load::run(target, "/hooks/orders", nobody, 64, time, Press::Rate(rate)).await;
    over.store(true, Ordering::Relaxed);
    let pages = disk.join().expect("the pages");
    println!(
        "  {} answers, {:.0}/s: p50 {:?}, p99 {:?}, longest {:?}",
        answers.times.len(),
        answers.answered,
        answers.percentile(50.0),
        answers.percentile(99.0),
        answers.percentile(100.0),
    );
    println!(
        "  meanwhile a page of a file beside it, written 50 times a second, was on disk after p50 {:?}, p99 {:?}, longest {:?}",
        pages.percentile(50.0),
        pages.percentile(99.0),
        pages.percentile(100.0),
    );
    for (answer, page) in longest_moments(answers.slow, &pages.slow) {
        let waited = page.map_or("for less than 20 ms".to_owned(), |page| format!("for {:.1?}", page.time()));
        println!(
            "  after {:.1?} an answer took {:.1?}; that page waited {waited} at that moment",
            answer.begin - begun,
            answer.time()
        );
    }
}

/// The ten longest of the answers, of those that waited at the same moment only one, each with the longest wait of the
/// page that it met.
fn longest_moments(mut answers: Vec<Spell>, pages: &[Spell]) -> Vec<(Spell, Option<Spell>)> {
    answers.sort_by_key(|answer| std::cmp::Reverse(answer.time()));
    let mut moments: Vec<Spell> = Vec::new();
    for answer in answers {
        if moments.len() < 10 && !moments.iter().any(|moment| meet(moment, &answer)) {
            moments.push(answer);
        }
    }
    let met = |answer: &Spell| pages.iter().filter(|page| meet(page, answer)).max_by_key(|page| page.time()).copied();
    moments.into_iter().map(|answer| (answer, met(&answer))).collect()
}

fn meet(one: &Spell, other: &Spell) -> bool {
    one.begin < other.end && other.begin < one.end
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Lets a day go by in this time.
async fn moved(clock: Arc<HandClock>, time: Duration, over: Arc<AtomicBool>) {
    let mut before = Instant::now();
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = Instant::now();
        clock.advance(DAY.mul_f64((now - before).as_secs_f64() / time.as_secs_f64()));
        before = now;
    }
}

/// The largest size of a file, and the memory of this process after a third of the time and at the end.
async fn watched(file: std::path::PathBuf, over: Arc<AtomicBool>) -> (u64, [String; 2]) {
    let (mut largest, mut sizes) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        largest = largest.max(std::fs::metadata(&file).map_or(0, |file| file.len()));
        sizes.push(["VmRSS", "RssAnon"].map(memory));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = |place: usize| {
        let [all, anonymous] = sizes.get(place).copied().unwrap_or_default();
        format!("{} MiB resident, {} of them anonymous,", all >> 20, anonymous >> 20)
    };
    (largest, [told(sizes.len() / 3), told(sizes.len().saturating_sub(1))])
}

/// How long the disk takes for one page of another file, under the engine's load.
fn written_beside(file: &Path, over: &AtomicBool) -> load::Outcome {
    let file = std::fs::File::create(file).expect("a file");
    let (mut times, mut slow) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        file.write_all_at(&[1; 4096], 0).expect("a page");
        file.sync_data().expect("to be on disk");
        let spell = Spell { begin, end: Instant::now() };
        times.push(spell.time());
        slow.extend((spell.time() > load::SLOW).then_some(spell));
    }
    times.sort();
    load::Outcome { times, slow, ..load::Outcome::default() }
}

/// A size from this process's status, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
}
