//! Load: connections that post and wait, either as fast as the far end keeps up with or at a rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::figures::flag;
use super::gateway::{Count, PREFIX};

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests answered with 2xx, per second.
    pub answered: f64,
    /// Messages that reached the gateway meanwhile, per second.
    pub delivered: f64,
    /// Accepted but not delivered at the end.
    pub backlog: u64,
    /// Times to answer, sorted.
    pub times: Vec<Duration>,
    /// The answers that took longer than [`SLOW`].
    pub slow: Vec<Spell>,
}

/// An answer that takes longer is remembered with its moment.
pub const SLOW: Duration = Duration::from_millis(20);

/// From when until when somebody waited.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    pub begin: Instant,
    pub end: Instant,
}

impl Spell {
    pub fn time(&self) -> Duration {
        self.end - self.begin
    }
}

impl Outcome {
    /// The time that so many of a hundred stayed below.
    pub fn percentile(&self, percent: f64) -> Duration {
        let place = (self.times.len() as f64 * percent / 100.0) as usize;
        self.times.get(place.min(self.times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// How hard to press.
#[derive(Clone, Copy)]
pub enum Press {
    /// As fast as messages come out at the other end: at most so many are under way.
    KeepUp { most_open: usize },
    /// So many requests a second.
    Rate(u64),
}

/// Posts to `path` at `target` over `connections` for a while.
pub async fn run(
    target: SocketAddr,
    path: &str,
    delivered: Count,
    connections: usize,
    time: Duration,
    press: Press,
) -> Outcome {
    let accepted = Arc::new(AtomicU64::new(0));
    let before = delivered.arrived.load(Ordering::Relaxed);
    if let Press::KeepUp { most_open } = press {
        delivered.allow(most_open);
    }
    let start = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..connections {
        let one = One {
            target,
            path: path.to_owned(),
            number,
            connections,
            accepted: accepted.clone(),
            delivered: delivered.clone(),
            start,
            time,
            press,
        };
        tasks.push(tokio::spawn(one.run()));
    }
    let (mut times, mut slow) = (Vec::new(), Vec::new());
    for task in tasks {
        let (micros, spells) = task.await.expect("a connection's task");
        slow.extend(spells);
        times.extend(micros.into_iter().map(|micros| Duration::from_micros(micros.into())));
    }
    let spent = start.elapsed().as_secs_f64();
    let arrived = delivered.arrived.load(Ordering::Relaxed) - before;
    times.sort();
    Outcome {
        answered: times.len() as f64 / spent,
        delivered: arrived as f64 / spent,
        backlog: accepted.load(Ordering::Relaxed).saturating_sub(arrived),
        times,
        slow,
    }
}

struct One {
    target: SocketAddr,
    path: String,
    number: usize,
    connections: usize,
    accepted: Arc<AtomicU64>,
    delivered: Count,
    start: Instant,
    time: Duration,
    press: Press,
}

impl One {
    /// Gives the time to each answer in microseconds, and the slow ones with their moments.
    async fn run(self) -> (Vec<u32>, Vec<Spell>) {
        let mut stream = TcpStream::connect(self.target).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (mut times, mut slow) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; 4096];
        let note = "x".repeat(flag("--note", 0) as usize);
        let mut turn: u64 = 0;
        while self.start.elapsed() < self.time {
            match self.press {
                Press::KeepUp { .. } => self.delivered.open.acquire().await.expect("an open gate").forget(),
                Press::Rate(rate) => {
                    let due = (turn * self.connections as u64 + self.number as u64) as f64 / rate as f64;
                    tokio::time::sleep_until((self.start + Duration::from_secs_f64(due)).into()).await;
                }
            }
            // Exchanges begin with 2 to 9.
            let phone = 2_000_000 + (turn as usize * 7919 + self.number * 104_729) % 8_000_000;
            let customer = format!(r#"{{"name":"Ada","phone":"+{PREFIX}{phone:07}"}}"#);
            let body = format!(r#"{{"order":{turn},"customer":{customer},"note":"{note}"}}"#);
            if matches!(self.press, Press::Rate(_)) {
                self.delivered.asks(phone);
            }
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                self.path,
                self.target,
                body.len()
            );
            let begin = Instant::now();
            stream.write_all(request.as_bytes()).await.expect("a request");
            let status = answer(&mut stream, &mut buffer).await;
            assert!((200..300).contains(&status), "status {status}");
            let spell = Spell { begin, end: Instant::now() };
            times.push(u32::try_from(spell.time().as_micros()).unwrap_or(u32::MAX));
            slow.extend((spell.time() > SLOW).then_some(spell));
            self.accepted.fetch_add(1, Ordering::Relaxed);
            turn += 1;
        }
        (times, slow)
    }
}

/// Reads one answer with a content length; gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut have = 0;
    loop {
        let count = stream.read(&mut buffer[have..]).await.expect("an answer");
        assert!(count > 0, "the far end hung up");
        have += count;
        let text = &buffer[..have];
        let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&text[..end]).expect("a head of text");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if have >= end + 4 + length {
            return head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        }
    }
}
