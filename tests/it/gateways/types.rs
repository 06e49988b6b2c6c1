//! What type a file goes as: told by content and name together, whatever its server says; what
//! nobody could look at is refused before it goes.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::media::{JPEG, PDF, PNG};
use super::{Desk, fake};

const ADA: &str = "+15417543010";
const SVG: &[u8] = b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>";
const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\0";
const PAGE: &[u8] = b"<!doctype html><html><body>Not found, but nicely</body></html>";
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x3e\0\x03\0\xfe\xff\x09\0";

/// The beginning of an archive with these entries, stored (PKWARE's APPNOTE, 4.3.7).
fn archive(names: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in names {
        let content = "x".repeat(90);
        bytes.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0");
        for count in [content.len(), content.len()] {
            bytes.extend(u32::try_from(count).unwrap().to_le_bytes());
        }
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(content.as_bytes());
    }
    bytes
}

/// As python-docx and python-pptx write them, as Word does with parts of its own, and others.
fn containers() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let office = |last| archive(&["[Content_Types].xml", "_rels/.rels", "docProps/core.xml", "docProps/app.xml", last]);
    let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let excel = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    let slides = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
    vec![
        ("a.docx", word, office("word/document.xml")),
        (
            "custom.DOCX",
            word,
            archive(&["[Content_Types].xml", "customXml/item1.xml", "_rels/.rels", "word/document.xml"]),
        ),
        ("a.xlsx", excel, office("xl/workbook.xml")),
        ("a.pptx", slides, office("ppt/presentation.xml")),
        ("a.odt", "application/vnd.oasis.opendocument.text", archive(&["META-INF/manifest.xml", "content.xml"])),
        ("a.ods", "application/vnd.oasis.opendocument.spreadsheet", archive(&["content.xml", "mimetype"])),
        ("a.odp", "application/vnd.oasis.opendocument.presentation", archive(&["content.xml"])),
        ("a.epub", "application/epub+zip", archive(&["META-INF/container.xml", "mimetype"])),
        ("a.apk", "application/vnd.android.package-archive", archive(&["META-INF/x", "AndroidManifest.xml"])),
        ("a.zip", "application/zip", archive(&["report.txt"])),
        ("a.doc", "application/msword", OLE.to_vec()),
        ("a.xls", "application/vnd.ms-excel", OLE.to_vec()),
        ("a.ppt", "application/vnd.ms-powerpoint", OLE.to_vec()),
    ]
}

/// A server whose word about its files is worth nothing: `/<what it says>/<name>`.
async fn liar() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let file = async |Path((says, name)): Path<(String, String)>| {
        let bytes = match name.as_str() {
            "p.jpg" | "p" | "p.jpeg" => JPEG.to_vec(),
            "p.png" => PNG.to_vec(),
            "svg.jpg" | "a.svg" => SVG.to_vec(),
            "xml.jpg" => b"<?xml version=\"1.0\"?><order/>".to_vec(),
            "heic.jpg" => HEIC.to_vec(),
            "page.jpg" => PAGE.to_vec(),
            "a.pdf" => PDF.to_vec(),
            "empty.png" => Vec::new(),
            "a.csv" => b"name,phone\nAda,1\n".to_vec(),
            name => match containers().into_iter().find(|(known, _, _)| *known == name) {
                Some((_, _, bytes)) => bytes,
                None => return (StatusCode::NOT_FOUND, HeaderMap::new(), PAGE.to_vec()),
            },
        };
        let mut headers = HeaderMap::new();
        if says != "nothing" {
            headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(says.replace('.', "/")).unwrap());
        }
        (StatusCode::OK, headers, bytes)
    };
    // A page with such a file for its picture.
    let page = async |Path((says, name)): Path<(String, String)>| {
        let picture = format!("<meta property=og:image content='/{says}/{name}'>");
        let words = "<title>Shop</title><meta property=og:description content=Words>";
        ([(header::CONTENT_TYPE, "text/html")], format!("<html><head>{words}{picture}</head></html>"))
    };
    let router = Router::new().route("/{says}/{name}", get(file)).route("/page/{says}/{name}", get(page));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn desk(dialect: fake::Dialect) -> (Desk, String) {
    let server = liar().await;
    let desk = Desk::beside(dialect, "", server).await;
    for (name, _, bytes) in containers() {
        std::fs::write(desk.house.folder.path().join("files").join(name), bytes).unwrap();
    }
    for name in ["a.csv", "a.md", "a.ics", "a.eml", "a.json", "notes", "page.html"] {
        let text = match name {
            "page.html" => "<!doctype html><p>Hi",
            // As the first page of many a project begins.
            "a.md" => "<p align=center>Shop</p>\n\n# Prices\n",
            _ => "BEGIN:VCALENDAR, or anything\n",
        };
        std::fs::write(desk.house.folder.path().join("files").join(name), text).unwrap();
    }
    (desk, format!("http://{server}"))
}

async fn state(desk: &Desk, kind: &str, source: &str) -> (String, String, Vec<fake::Got>) {
    let outcome = desk.send(&json!({ "kind": kind, "to": ADA, "source": source })).await;
    (outcome.message["state"].as_str().unwrap_or_default().to_owned(), why(&outcome.message), outcome.requests)
}

/// What ended a message's last attempt.
fn why(message: &Value) -> String {
    let last = message["attempts"].as_array().and_then(|attempts| attempts.last());
    last.and_then(|last| last["error"].as_str()).unwrap_or_default().to_owned()
}

/// What was told of a file that travelled as bytes.
fn part_type(got: &fake::Got, name: &str) -> String {
    let part = got.multipart().unwrap().into_iter().find(|part| part.name == name);
    part.unwrap_or_else(|| panic!("no part {name}")).content_type.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_go_as_what_they_contain() {
    let (desk, server) = desk(fake::waha::DIALECT).await;
    for (name, mime, _) in containers() {
        for source in [format!("files/{name}"), format!("{server}/application.zip/{name}")] {
            let (state, why, requests) = state(&desk, "file", &source).await;
            assert_eq!(state, "accepted", "{source}: {why}");
            let file = &requests[0].json().unwrap()["file"];
            assert_eq!((&file["mimetype"], &file["filename"]), (&json!(mime), &json!(name)), "{source}");
        }
    }
    // The author's name says it where the file's own says nothing.
    std::fs::write(desk.house.folder.path().join("files/report"), containers()[0].2.clone()).unwrap();
    let wish = json!({ "kind": "file", "to": ADA, "source": "files/report", "name": "Report.docx" });
    let requests = desk.send(&wish).await.requests;
    assert_eq!(requests[0].json().unwrap()["file"]["mimetype"], containers()[0].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_gets_office_files_and_texts_and_is_not_asked_for_others() {
    let (desk, server) = desk(fake::meta::DIALECT).await;
    let taken = ["a.docx", "custom.DOCX", "a.xlsx", "a.pptx", "a.doc", "a.xls", "a.ppt"];
    let known = containers();
    for (name, mime, _) in &known {
        let (state, why, requests) = state(&desk, "file", &format!("files/{name}")).await;
        if taken.contains(name) {
            assert_eq!(state, "accepted", "{name}: {why}");
            assert_eq!(part_type(&requests[0], "file"), *mime);
        } else {
            assert_eq!((state.as_str(), requests.len()), ("rejected", 0), "{name}");
            assert!(why.contains(mime) && why.contains("application/pdf"), "{why}");
        }
    }
    for name in ["a.csv", "a.md", "a.ics", "a.eml", "a.json", "notes"] {
        let (state, why, requests) = state(&desk, "file", &format!("files/{name}")).await;
        assert_eq!(state, "accepted", "{name}: {why}");
        assert_eq!(part_type(&requests[0], "file"), "text/plain", "{name}");
        assert_eq!(requests[1].json().unwrap()["document"]["filename"], name);
    }
    for source in ["files/page.html".to_owned(), format!("{server}/text.html/page.jpg")] {
        let (state, why, requests) = state(&desk, "file", &source).await;
        assert_eq!((state.as_str(), requests.len()), ("rejected", 0), "{source}");
        assert!(why.contains("text/html") && why.contains("text/plain"), "{why}");
    }
    // Behind an address Meta would believe the server, so it gets the bytes.
    for (source, mime) in [("text.csv/a.csv", "text/plain"), ("application.octet-stream/a.pdf", "application/pdf")] {
        let (state, why, requests) = state(&desk, "file", &format!("{server}/{source}")).await;
        assert_eq!(state, "accepted", "{source}: {why}");
        assert_eq!(part_type(&requests[0], "file"), mime, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_whose_server_says_something_else_goes_as_bytes() {
    for dialect in [fake::gowa::DIALECT, fake::meta::DIALECT] {
        let (desk, server) = desk(dialect).await;
        let part = if dialect.name == "gowa" { "image" } else { "file" };
        for says in ["application.octet-stream", "text.plain", "nothing", "binary.octet-stream", "image.png"] {
            let source = format!("{server}/{says}/p.jpg");
            let (_, why, requests) = state(&desk, "image", &source).await;
            assert!(!requests.is_empty(), "{source}: {why}");
            // Meta has those bytes after the first time.
            if requests.len() == 2 || dialect.name == "gowa" {
                assert_eq!(part_type(&requests[0], part), "image/jpeg", "{} {source}", dialect.name);
            }
            let last = String::from_utf8_lossy(&requests.last().unwrap().body).into_owned();
            assert!(!last.contains(&server), "{last}");
        }
        let (_, _, requests) = state(&desk, "image", &format!("{server}/image.jpeg/p.jpg")).await;
        let sent = String::from_utf8_lossy(&requests[0].body).into_owned();
        assert!(sent.contains(&format!("{server}/image.jpeg/p.jpg")), "what is right goes by its address: {sent}");
    }
    // Twilio only fetches: the bytes are offered to it by an address of ours.
    let (desk, server) = desk(fake::twilio::DIALECT).await;
    let (_, why, requests) = state(&desk, "image", &format!("{server}/text.plain/p.jpg")).await;
    let sent = String::from_utf8_lossy(&requests.first().unwrap_or_else(|| panic!("{why}")).body).into_owned();
    assert!(sent.contains("hooks.example.com%2Fmedia%2F"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_phone_shows_is_not_passed_on() {
    for dialect in [fake::waha::DIALECT, fake::evolution::DIALECT, fake::wawp::DIALECT, fake::gowa::DIALECT] {
        let (desk, server) = desk(dialect).await;
        for (path, part) in [
            ("image.jpeg/page.jpg", "text/html"),
            ("image.jpeg/svg.jpg", "image/svg+xml"),
            ("image.jpeg/heic.jpg", "image/hei"),
            ("image.jpeg/xml.jpg", "text/xml"),
            ("image.jpeg/gone.jpg", "answers 404"),
            ("image.png/empty.png", "is empty"),
        ] {
            let (state, why, requests) = state(&desk, "image", &format!("{server}/{path}")).await;
            assert_eq!((state.as_str(), requests.len()), ("rejected", 0), "{} {path}: {why}", dialect.name);
            assert!(why.contains(part), "{} {path}: {why}", dialect.name);
        }
        let (_, why, requests) = state(&desk, "image", &format!("{server}/image.jpeg/p.jpg")).await;
        assert_eq!(requests.len(), 1, "{}: {why}", dialect.name);
        let (state, why, requests) = state(&desk, "file", &format!("{server}/application.pdf/gone.pdf")).await;
        assert_eq!((state.as_str(), requests.len()), ("rejected", 0), "{}: {why}", dialect.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_goes_without_a_picture_that_is_not_there() {
    let (desk, server) = desk(fake::waha::DIALECT).await;
    for (picture, there) in [
        ("image.jpeg/p.jpg", true),
        ("image.jpeg/gone.jpg", false),
        ("image.jpeg/svg.jpg", false),
        ("image.jpeg/page.jpg", false),
    ] {
        let page = format!("{server}/page/{picture}");
        let picture = format!("{server}/{picture}");
        for wish in [
            json!({ "kind": "link", "to": ADA, "url": page }),
            json!({ "kind": "link", "to": ADA, "url": "MEDIA/bare", "title": "T", "description": "D", "thumbnail": picture }),
        ] {
            let outcome = desk.send(&wish).await;
            assert_eq!(outcome.message["state"], "accepted", "{wish}: {}", outcome.message);
            let sent = String::from_utf8_lossy(&outcome.requests[0].body).into_owned();
            assert_eq!(sent.contains(&picture), there, "{wish}: {sent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_variables_have_no_gap() {
    for dialect in [fake::meta::DIALECT, fake::evolution::DIALECT] {
        let (desk, _) = desk(dialect).await;
        let wish = |variables: Value| json!({ "kind": "template", "to": ADA, "name": "t", "language": "en", "variables": variables });
        let outcome = desk.send(&wish(json!({ "1": "a", "3": "c" }))).await;
        assert_eq!((&outcome.message["state"], outcome.requests.len()), (&json!("rejected"), 0), "{}", outcome.message);
        assert!(why(&outcome.message).contains("no `2`"), "{}", outcome.message);
        let many: serde_json::Map<String, Value> = (1..=12).map(|n| (n.to_string(), json!(format!("v{n}")))).collect();
        assert_eq!(desk.send(&wish(many.into())).await.requests.len(), 1);
    }
}
