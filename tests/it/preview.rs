//! `postrider preview` against a server with everything that can be wrong with a page.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::binary::run;
use crate::support::folder;

/// The head of a picture of so many pixels.
fn png(width: u32, height: u32, size: usize) -> Bytes {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    bytes.resize(bytes.len().max(size), 0);
    bytes.into()
}

/// A page with these tags.
fn page(head: &str) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], format!("<html><head>{head}</head><body>x</body></html>"))
}

fn whole(image: &str) -> String {
    format!(
        "<title>Plain</title><meta property=og:title content='A title'><meta property=og:description content='Words'>\
         <meta property=og:url content='https://shop.example/'><meta property=og:site_name content='Shop'>\
         <meta property=og:type content=website><meta property=og:image content='{image}'>"
    )
}

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let picture =
        |mime: &'static str, bytes: Bytes| get(move || async move { ([(header::CONTENT_TYPE, mime)], bytes) });
    let with = |image: &'static str| get(move || async move { page(&whole(image)) });
    let bare = |head: &'static str| get(move || async move { page(head) });
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(3200)).await;
        page(&whole("/good.png"))
    };
    // Whether it was asked for or not.
    let packed = |way: &'static str, bytes: Vec<u8>| {
        get(move || async move { ([(header::CONTENT_TYPE, "text/html"), (header::CONTENT_ENCODING, way)], bytes) })
    };
    let words = whole("/good.png");
    let gzip = {
        let mut into = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        into.write_all(words.as_bytes()).unwrap();
        into.finish().unwrap()
    };
    let deflate = {
        let mut into = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        into.write_all(words.as_bytes()).unwrap();
        into.finish().unwrap()
    };
    let router = Router::new()
        .route("/gzip", packed("gzip", gzip))
        .route("/deflate", packed("deflate", deflate))
        .route("/brotli", packed("br", b"\x8b\x02\x80Hello\x03".to_vec()))
        .route("/good", with("/good.png"))
        .route("/small", with("/small.png"))
        .route("/narrow", with("/narrow.png"))
        .route("/heavy", with("/heavy.png"))
        .route("/long", with("/long.png"))
        .route("/gif", with("/a.gif"))
        .route("/lost", with("/lost.png"))
        .route(
            "/fallbacks",
            bare("<title>Only</title><meta name=description content=Plain><link rel=canonical href=/c>"),
        )
        .route("/nothing", bare(""))
        .route(
            "/far",
            get(|| async { page(&format!("<script>{}</script>{}", "x".repeat(310_000), whole("/good.png"))) }),
        )
        .route("/secret", get(|| async { StatusCode::UNAUTHORIZED }))
        .route("/forbidden", get(|| async { StatusCode::FORBIDDEN }))
        .route("/gone", get(|| async { StatusCode::GONE }))
        .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/members", get(|| async { Redirect::to("/login?next=/members") }))
        .route("/login", bare("<title>Log in</title>"))
        .route("/one", get(|| async { Redirect::permanent("/two") }))
        .route("/two", get(|| async { Redirect::temporary("/good") }))
        .route("/circle", get(|| async { Redirect::to("/circle") }))
        .route("/inside", get(|| async { Redirect::to("http://169.254.169.254/latest/meta-data") }))
        .route("/paper", picture("application/pdf", Bytes::from_static(b"%PDF-1.7")))
        .route("/film", picture("video/mp4", Bytes::from_static(b"\0\0\0\x20ftypisom")))
        .route("/private/page", with("/good.png"))
        .route("/slow", get(slow))
        .route("/picky", get(picky))
        .route("/good.png", picture("image/png", png(1200, 630, 50_000)))
        .route("/small.png", picture("image/png", png(100, 100, 100)))
        .route("/narrow.png", picture("image/png", png(250, 250, 100)))
        .route("/heavy.png", picture("image/png", png(1200, 630, 700_000)))
        .route("/long.png", picture("image/png", png(2000, 300, 100)))
        .route("/a.gif", picture("image/gif", Bytes::from_static(b"GIF89a\xb0\x04\x76\x02")))
        .route("/robots.txt", get(|| async { "User-agent: *\nDisallow: /private\n" }))
        .with_state(());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Shows its tags only to crawlers.
async fn picky(State(()): State<()>, headers: HeaderMap) -> impl IntoResponse {
    let agent = headers["user-agent"].to_str().unwrap();
    page(&if agent.starts_with("WhatsApp/2.") { whole("/good.png") } else { String::new() })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_is_wrong_with_a_link_is_found() {
    let address = start().await;
    let settings = format!("http: {{ allow: [\"{address}\"] }}\n");
    let folder = folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]);
    // What every page here has: no encryption, and a note that cards are cached.
    for (path, wanted, code) in [
        ("/good", vec![], 0),
        ("/picky", vec![], 0),
        ("/gzip", vec![], 0),
        ("/deflate", vec![], 0),
        ("/brotli", vec!["compressed"], 1),
        ("/small", vec!["image_small"], 0),
        ("/narrow", vec!["image_small"], 0),
        ("/heavy", vec!["image_heavy"], 0),
        ("/long", vec!["image_ratio"], 0),
        ("/gif", vec!["image_format"], 0),
        ("/lost", vec!["image_missing"], 0),
        ("/fallbacks", vec!["og_title", "og_description", "og_image", "og_url", "og_site_name", "og_type"], 0),
        ("/nothing", vec!["og_title", "og_description", "og_image", "og_url", "og_site_name", "og_type"], 1),
        ("/far", vec!["og_title", "og_description", "og_image", "og_url", "og_site_name", "og_type", "long"], 1),
        ("/secret", vec!["not_public"], 1),
        ("/forbidden", vec!["not_public"], 1),
        ("/gone", vec!["gone"], 1),
        ("/broken", vec!["status"], 1),
        (
            "/members",
            vec!["not_public", "og_title", "og_description", "og_image", "og_url", "og_site_name", "og_type"],
            1,
        ),
        ("/one", vec!["redirects"], 0),
        ("/circle", vec!["redirects"], 1),
        ("/inside", vec!["not_public"], 1),
        ("/paper", vec!["no_page"], 1),
        ("/film", vec!["no_page"], 1),
        ("/private/page", vec!["robots"], 0),
        ("/slow", vec!["slow"], 0),
    ] {
        let url = format!("http://{address}{path}");
        let root = folder.path().to_owned();
        let output = tokio::task::spawn_blocking(move || run(&root, &["preview", &url, "--json"])).await.unwrap();
        let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
        let kinds = preview["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap());
        let mut kinds: Vec<&str> =
            kinds.filter(|kind| !["no_https", "image_no_https", "cached"].contains(kind)).collect();
        let mut wanted = wanted;
        kinds.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(kinds, wanted, "{path}: {preview}");
        assert_eq!(output.status.code(), Some(code), "{path}: {preview}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_card_is_shown_with_its_findings_in_words() {
    let address = start().await;
    let settings = format!("http: {{ allow: [\"{address}\"] }}\n");
    let folder = folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]);
    let url = format!("http://{address}/one");
    let root = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || run(&root, &["preview", &url])).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "title        A title",
        "description  Words",
        "site         Shop",
        "/good.png",
        "leads to",
        "warning: the link is not encrypted",
        "warning: the link goes through 2 redirects (link to where they end)",
        "note: cards are cached",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_no_link_or_leads_inside_is_not_followed() {
    let folder = folder(&[]);
    for (url, kind) in [
        ("example.com", "scheme"),
        ("ftp://example.com/a", "scheme"),
        ("http://127.0.0.1:9/", "not_public"),
        ("http://[::ffff:10.0.0.1]/", "not_public"),
        ("http://localhost:9/", "not_public"),
        ("http://0x7f.1/", "not_public"),
    ] {
        let output = run(folder.path(), &["preview", url, "--json"]);
        let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(preview["findings"][0]["kind"], kind, "{preview}");
        assert_eq!(output.status.code(), Some(1));
    }
}
