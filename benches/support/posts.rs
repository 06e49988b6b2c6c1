//! A number of requests, posted over many connections as fast as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::house::LONGEST;

/// One request with JSON.
pub struct Post {
    /// Its path.
    pub path: &'static str,
    /// What GOWA and Meta sign with.
    pub signature: Option<String>,
    /// Its body.
    pub body: String,
}

/// What came of them; all were answered with 2xx.
pub struct Posted {
    /// From the first to the last.
    pub spent: Duration,
    /// Times to answer, sorted.
    times: Vec<Duration>,
}

impl Posted {
    /// How many were answered a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.spent.as_secs_f64()
    }

    /// The time that so many of a hundred stayed below, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let place = self.times.len() * percent / 100;
        let time = self.times.get(place.min(self.times.len().saturating_sub(1)));
        time.copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

/// Posts so many requests; each connection takes the next one when its last one was answered.
pub async fn all(
    target: SocketAddr,
    connections: usize,
    count: usize,
    make: impl Fn(usize) -> Post + Send + Sync + 'static,
) -> Posted {
    let (make, next) = (Arc::new(make), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections.min(count) {
        let (make, next) = (make.clone(), next.clone());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(target).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let mut buffer = Vec::with_capacity(4096);
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return times;
                }
                let request = written(target, &make(number));
                let sent = Instant::now();
                stream.write_all(request.as_bytes()).await.expect("a request");
                let status = answer(&mut stream, &mut buffer).await;
                assert!((200..300).contains(&status), "{}", String::from_utf8_lossy(&buffer));
                times.push(sent.elapsed());
            }
        });
    }
    let all = tokio::time::timeout(LONGEST, tasks.join_all()).await.expect("an end of the load in time");
    let spent = begun.elapsed();
    let mut times = all.concat();
    times.sort();
    Posted { spent, times }
}

fn written(target: SocketAddr, post: &Post) -> String {
    let Post { path, signature, body } = post;
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\n");
    if let Some(signature) = signature {
        head += &format!("x-hub-signature-256: {signature}\r\n");
    }
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// Reads one answer into the buffer; gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    loop {
        let count = stream.read_buf(buffer).await.expect("an answer");
        assert!(count > 0, "the far end hung up");
        if let Some(status) = status(buffer) {
            return status;
        }
    }
}

/// The status of an answer that is there whole. One without a length has no body.
fn status(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).expect("a head of text");
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.trim().parse().expect("a length"));
    if answer.len() < end + 4 + length {
        return None;
    }
    head.split(' ').nth(1)?.parse().ok()
}
