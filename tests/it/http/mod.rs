//! HTTP on both sides: what callers may hold, how requests and answers are framed, whose pages may
//! call, what is shown and what is kept.

mod crowd;
mod framing;
mod kept;
mod once;
mod origins;
mod outside;
mod presets;
mod senders;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer as it stood on the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head in small letters.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection of which every byte is seen.
pub struct Line {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Line {
    /// To an address.
    pub async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 64 << 10];
        let read = timeout(Duration::from_secs(30), self.stream.read(&mut piece)).await.expect("an answer comes");
        let read = read.unwrap_or(0);
        self.unread.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// The next answer, by its `content-length`.
    pub async fn answer(&mut self) -> Answer {
        self.answer_to("POST").await
    }

    /// The next answer, to a request with a method.
    pub async fn answer_to(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await, "the connection ended: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if method == "HEAD" || matches!(status, 204 | 304) { 0 } else { length };
        while self.unread.len() < length {
            assert!(self.more().await, "the body ended early");
        }
        answer.body = self.unread.drain(..length).collect();
        answer
    }

    /// Waits for the end; gives what came until then.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }
}

/// A request with a body.
pub fn post(path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
