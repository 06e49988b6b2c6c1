//! A server with files and a page, as the world has them.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

/// The smallest files that are what they say.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\xb0\0\0\x02\x76\x08\x02\0\0\0";
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
pub const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9d\x01\x2a\0\x02\0\x02";
pub const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
pub const OGG: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01";
pub const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n";

const PAGE: &str = "<html><head><title>Shop</title><meta property=\"og:title\" content=\"A title\">\
    <meta property=\"og:description\" content=\"Words about it\">\
    <meta property=\"og:image\" content=\"/card.png\"></head><body>Hello</body></html>";

/// Starts one on a free port; it lives as long as the runtime.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let file = |mime: &'static str, bytes: &'static [u8]| {
        get(move || async move { ([(header::CONTENT_TYPE, mime)], Bytes::from_static(bytes)) })
    };
    let router = Router::new()
        .route("/page", file("text/html; charset=utf-8", PAGE.as_bytes()))
        .route("/bare", file("text/html", b"<html><body>nothing to say</body></html>"))
        .route("/card.png", file("image/png", PNG))
        .route("/a.png", file("image/png", PNG))
        .route("/a.jpg", file("image/jpeg", JPEG))
        .route("/picture", file("image/png", PNG))
        .route("/page.jpg", file("text/html", PAGE.as_bytes()))
        .route("/a.pdf", file("application/pdf", PDF))
        .route("/a.mp4", file("video/mp4", MP4))
        .route("/a.ogg", file("audio/ogg", OGG))
        .route("/a.webp", file("image/webp", WEBP))
        .route("/heavy.jpg", get(heavy))
        .route("/gone.png", get(|| async { StatusCode::NOT_FOUND }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A picture that says it is larger than any gateway takes.
async fn heavy() -> impl IntoResponse {
    let mut bytes = JPEG.to_vec();
    bytes.resize(21_000_000, 0);
    ([(header::CONTENT_TYPE, "image/jpeg")], bytes)
}

/// A server that keeps everybody waiting until it is told to give its picture.
pub struct Held {
    pub address: SocketAddr,
    asked: tokio::sync::watch::Receiver<usize>,
    open: tokio::sync::watch::Sender<bool>,
}

impl Held {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, _) = tokio::sync::watch::channel(false);
        let (count, asked) = tokio::sync::watch::channel(0);
        let gate = open.clone();
        let router = Router::new().fallback(move || {
            count.send_modify(|count| *count += 1);
            let mut open = gate.subscribe();
            async move {
                open.wait_for(|open| *open).await.unwrap();
                ([(header::CONTENT_TYPE, "image/png")], PNG)
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked, open }
    }

    /// Waits until so many have asked.
    pub async fn asked(&mut self, wanted: usize) {
        let asked = self.asked.wait_for(|count| *count >= wanted);
        tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.expect("somebody asks").unwrap();
    }

    /// Gives everybody the picture.
    pub fn give(&self) {
        self.open.send_replace(true);
    }
}
