//! Files that came with messages: where gateways are asked for them and with what, what becomes of
//! answers that are no file, and to whom credentials never go.

mod doors;

use std::sync::atomic::AtomicUsize;

use axum::body::{Body, Bytes};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Ear, PUBLIC, TOKEN, said, text_of};
use crate::gateways::fake::{Fake, Got};
use crate::support::client;
use crate::support::engine::House;
use doors::{EVOLUTION, Server, WAHA, WAYS, Way, asked, picture, pieces, reply, tells};

/// Keeps the file of each message; gives what came of it.
const KEEP: (&str, &str) = (
    "flows/echo.yaml",
    r#"triggers:
  - message: { account: main }
run: |
  let end = ();
  try { end = event.media.save("files/got.bin"); } catch (e) { end = #{ kind: e.kind, message: e.message }; }
  end
"#,
);

/// Asks the gateway for files of which it never told.
const FORGE: (&str, &str) = (
    "flows/forge.yaml",
    r#"run: |
  let ends = [];
  for source in event.data {
    let file = #{ account: "main", source: source, kind: "image" };
    try { file.save("forged/got.bin"); ends.push("saved"); } catch (e) { ends.push(e.kind); }
  }
  ends
"#,
);

/// What is there before, and stays when nothing better comes.
const OLDER: &str = "an older file";
/// Most bytes of a file.
const LIMIT: usize = 100 << 20;

/// An engine whose account is at this server.
async fn open(way: Way, server: &Server) -> Ear {
    // It gives the settings and signs; nobody asks it for anything.
    let mut fake = Fake::start(way.dialect).await;
    fake.address = server.address;
    let account = fake.settings(&format!("pace: unlimited\ninbound_token: {TOKEN}"));
    let settings = format!("public_url: {PUBLIC}\n{account}");
    let house = House::open(&[KEEP, FORGE, ("postrider.yaml", &settings), ("files/got.bin", OLDER)]).await;
    Ear { house, fake, client: client(), marks: AtomicUsize::new(0) }
}

/// Tells of a message with a file.
async fn tell(ear: &Ear, way: Way, bare: &str) {
    let event = (way.event)(bare);
    assert_eq!(ear.tell(&event).await, 200, "{event}");
}

/// Tells of a message with a file; gives what came of keeping it.
async fn kept(ear: &Ear, way: Way, bare: &str) -> Value {
    tell(ear, way, bare).await;
    ear.event(&said::id(ear.gateway(), bare)).await
}

/// What lies beside the file, hidden things too.
fn names(ear: &Ear) -> Vec<String> {
    let folder = std::fs::read_dir(ear.house.folder.path().join("files")).unwrap();
    let mut names: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn content(ear: &Ear) -> Vec<u8> {
    std::fs::read(ear.house.folder.path().join("files/got.bin")).unwrap()
}

/// Checks that the file was not had, that the script could catch that, and that nothing changed.
fn is_refused(ear: &Ear, way: Way, end: &Value, what: &str) {
    assert_eq!(end["kind"], "media", "{} {what}: {end}", ear.gateway());
    way.hides(text_of(end, "message"));
    assert!(content(ear) == OLDER.as_bytes(), "{} {what}: the older file stays", ear.gateway());
    assert_eq!(names(ear), ["got.bin"], "{} {what}", ear.gateway());
}

/// Checks that the API shows no credential of what was done.
async fn shows_no_secret(ear: &Ear, way: Way) {
    for run in ear.house.runs_of("echo").await {
        way.hides(&ear.house.get(&format!("/runs/{}", text_of(&run, "id"))).await.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_gives_its_files_to_who_shows_the_credentials() {
    for way in WAYS {
        let server = Server::start().await;
        let ear = open(way, &server).await;
        server.plays(move |got, _| way.answers("FILE1", got, None));
        let file = picture();
        let end = kept(&ear, way, "FILE1").await;
        let doors: Vec<String> = server.take().iter().map(asked).collect();
        assert_eq!(doors, way.doors("FILE1"), "{}: {end}", ear.gateway());
        assert_eq!(end, json!({ "path": "files/got.bin", "size": file.len() }), "{}", ear.gateway());
        assert!(content(&ear) == file, "{}: the bytes are others", ear.gateway());
        assert_eq!(names(&ear), ["got.bin"], "{}", ear.gateway());
        shows_no_secret(&ear, way).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_followed_to_another_server() {
    for way in WAYS {
        let (server, other) = (Server::start().await, Server::start().await);
        let ear = open(way, &server).await;
        let there = other.address;
        for door in 0..way.doors("").len() {
            for status in [301_u16, 302, 303, 307, 308] {
                let bare = format!("SENTON{door}{status}");
                let (id, place) = (bare.clone(), format!("http://{there}/api/files/x"));
                server.plays(move |got, before| match before >= door {
                    true => reply(status, &[("location", place.as_str())], Body::empty()),
                    false => way.answers(&id, got, None),
                });
                let end = kept(&ear, way, &bare).await;
                is_refused(&ear, way, &end, &format!("{status} at door {door}"));
            }
        }
        // It names the place itself, in place of sending there.
        server.plays(move |got, _| way.answers("NAMED", got, Some(there)));
        kept(&ear, way, "NAMED").await;
        assert!(other.take().is_empty(), "{}: somebody else was asked", ear.gateway());
        shows_no_secret(&ear, way).await;
    }
}

/// Whether a request is for a file, as far as its path tells.
fn is_for_file(way: Way, got: &Got) -> bool {
    let is_id =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=%".contains(&b));
    let path = got.path.as_str();
    match way.dialect.name {
        "gowa" => {
            let loads = path.strip_prefix("/message/").and_then(|rest| rest.strip_suffix("/download"));
            path.starts_with("/statics/") || loads.is_some_and(is_id)
        }
        "waha" | "wawp" => path.starts_with("/api/files/"),
        "meta" => path.strip_prefix("/v23.0/").is_some_and(is_id),
        "evolution" => path == "/chat/getBase64FromMediaMessage/my%20shop",
        _ => {
            let account = "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages/";
            let ids = path.strip_prefix(account).and_then(|rest| rest.split_once("/Media/"));
            ids.is_some_and(|(message, file)| is_id(message) && is_id(file))
        }
    }
}

/// Asks for these; gives all requests that came to the gateway.
async fn forged(way: Way, sources: &[String], other: &Server) -> Vec<Got> {
    let server = Server::start().await;
    let ear = open(way, &server).await;
    let there = format!("http://{}/statics/x", other.address);
    // Whatever is asked, it names another place.
    server.plays(move |_, _| {
        let results = json!({ "file_path": there, "file_url": there });
        tells(200, &json!({ "url": there, "results": results, "base64": "AAAA" }))
    });
    let run = ear.house.trigger("forge", json!(sources)).await;
    let run = ear.house.run_is(&run, "succeeded").await;
    let ends = run["result"].as_array().unwrap();
    assert_eq!(ends.len(), sources.len());
    for (source, end) in sources.iter().zip(ends) {
        assert!(end == "media" || end == "saved", "{} `{source}`: {end}", ear.gateway());
    }
    way.hides(&run.to_string());
    server.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_source_leads_to_no_other_server() {
    for way in WAYS {
        let other = Server::start().await;
        let at = other.address;
        let mut sources = vec![
            format!("http://{at}/x"),
            format!("https://{at}/x"),
            format!("http:{at}/x"),
            format!("//{at}/x"),
            format!("\\\\{at}\\x"),
            format!("/\t/{at}/api/files/x"),
            format!("http://{at}/api/files/x"),
            format!("http://{at}/statics/media/x"),
            format!("http://user:word@{at}/statics/x"),
            format!("http://{at}/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"),
            format!("@{at}/statics/x"),
            format!(":80@{at}/api/files/x"),
            format!("?@{at}/statics/x"),
            format!("#@{at}/statics/x"),
            format!("MM1/http://{at}"),
            format!("message:A1:{at}"),
            format!("message:A1:15417543010@{at}"),
        ];
        let plain = [
            "message:A1:15417543010@s.whatsapp.net",
            "message:A1:15417543010@s.whatsapp.net&phone=1",
            "message:A1:15417543010@s.whatsapp.net/../../devices",
            "message:../devices:15417543010",
            "MM1/ME1",
            "MM1/ME1/../../../Keys.json",
            "MM1/../../../Balance.json",
            "MM1/ME1?x=1",
            "1037543291543636",
            "../106540352242922",
            "1037543291543636/messages",
            "1037543291543636?fields=name",
            "api/files/../sessions",
            "api/files/%2e%2e/sessions",
            "statics/../devices",
            "statics\\..\\devices",
            "api/files/x\r\nX-More: 1",
            "file:///etc/passwd",
            "data:,x",
            "",
            " ",
        ];
        sources.extend(plain.map(str::to_owned));
        for got in forged(way, &sources, &other).await {
            assert!(is_for_file(way, &got), "{} {got:?}", way.dialect.name);
            assert_eq!(got.header("x-more"), None);
        }
        assert!(other.take().is_empty(), "{}: somebody else was asked", way.dialect.name);
    }
}

/// What stands between a gateway and us may read a path once more before it passes it on.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_source_climbs_out_of_no_folder() {
    let sources =
        ["api/files/..%2f..%2fsessions", "api/files/a%2F..%2F..%2Fb", "statics/..%2fdevices", "statics/..%5cx"];
    for way in WAYS {
        let other = Server::start().await;
        for got in forged(way, &sources.map(str::to_owned), &other).await {
            let read = percent_decode_str(&got.path).decode_utf8_lossy().into_owned();
            assert!(!read.split(['/', '\\']).any(|part| part == ".."), "{} {got:?}", way.dialect.name);
        }
    }
}

/// So many bytes, and what stands around them.
fn flood(beginning: &'static str, bytes: usize, end: &'static str) -> Body {
    let middle = std::iter::repeat_n(Bytes::from(vec![b'A'; 1 << 16]), bytes >> 16);
    let around = |text: &'static str| Some(Bytes::from(text)).filter(|bytes| !bytes.is_empty());
    pieces(around(beginning).into_iter().chain(middle).chain(around(end)).map(Ok))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_100_mebibytes_at_most() {
    let evolution = "{\"mimetype\":\"image/jpeg\",\"base64\":\"";
    for (way, announced, beginning, bytes, end) in [
        (WAHA, true, "B", LIMIT, ""),
        (WAHA, false, "B", LIMIT, ""),
        (EVOLUTION, false, evolution, LIMIT / 3 * 4 + (1 << 17), "\"}"),
    ] {
        let server = Server::start().await;
        let ear = open(way, &server).await;
        server.plays(move |_, _| {
            let length = (LIMIT + 1).to_string();
            let headers = [("content-length", length.as_str())];
            reply(200, &headers[..usize::from(announced)], flood(beginning, bytes, end))
        });
        let end = kept(&ear, way, "LARGE").await;
        is_refused(&ear, way, &end, if announced { "announced" } else { "not announced" });
        assert!(text_of(&end, "message").contains("100 MiB"), "{end}");
    }
}

/// What careless servers write into their errors: all that they were told.
fn echo(way: Way, got: &Got) -> String {
    let headers: Vec<&str> = got.headers.values().filter_map(|value| value.to_str().ok()).collect();
    format!("{} {}", way.dialect.secrets.join(" "), headers.join(" "))
}

fn page(status: u16, title: &str) -> axum::http::Response<Body> {
    let page = format!("<!doctype html><html><head><title>{title}</title></head><body>Log in</body></html>");
    reply(status, &[("content-type", "text/html; charset=utf-8")], Body::from(page))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_an_error_that_tells_no_secret() {
    for way in WAYS {
        let server = Server::start().await;
        let ear = open(way, &server).await;
        for door in 0..way.doors("").len() {
            for (status, is_page) in [(401, false), (404, false), (500, false), (404, true), (502, true)] {
                let bare = format!("NO{door}{status}{}", u8::from(is_page));
                let id = bare.clone();
                server.plays(move |got, before| match before >= door {
                    true if is_page => page(status, &echo(way, got)),
                    true => {
                        let said = echo(way, got);
                        let error = json!({ "message": said, "code": 190 });
                        tells(status, &json!({ "code": "NO", "message": said, "error": error }))
                    }
                    false => way.answers(&id, got, None),
                });
                let end = kept(&ear, way, &bare).await;
                is_refused(&ear, way, &end, &format!("{status} at door {door}"));
                assert!(text_of(&end, "message").contains(&status.to_string()), "it says why: {end}");
            }
        }
        shows_no_secret(&ear, way).await;
    }
}

/// A proxy's own page, with the status of a success.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_a_file_is_an_error() {
    for way in WAYS {
        let server = Server::start().await;
        let ear = open(way, &server).await;
        for door in 0..way.doors("").len() {
            let bare = format!("PAGE{door}");
            let id = bare.clone();
            server.plays(move |got, before| match before >= door {
                true => page(200, "Welcome"),
                false => way.answers(&id, got, None),
            });
            let end = kept(&ear, way, &bare).await;
            is_refused(&ear, way, &end, &format!("a page at door {door}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_replaces_nothing() {
    for way in WAYS {
        let server = Server::start().await;
        let ear = open(way, &server).await;
        let last = way.doors("").len() - 1;
        for announced in [true, false] {
            let bare = format!("BREAKS{}", u8::from(announced));
            let id = bare.clone();
            server.plays(move |got, before| match before == last {
                true => {
                    let half = Ok(Bytes::from_static(b"{\"base64\":\"AAAA"));
                    let headers = [("content-length", "1000")];
                    let all = pieces([half, Err(std::io::Error::other("broken off"))]);
                    reply(200, &headers[..usize::from(announced)], all)
                }
                false => way.answers(&id, got, None),
            });
            let end = kept(&ear, way, &bare).await;
            is_refused(&ear, way, &end, "breaks off");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_go_to_one_place_do_not_mix() {
    const SIZE: usize = 4 << 20;
    let server = Server::start().await;
    let ear = open(WAHA, &server).await;
    server.plays(|_, before| reply(200, &[], Body::from(vec![before as u8; SIZE])));
    let bares: Vec<String> = (0..8).map(|number| format!("MEET{number}")).collect();
    for bare in &bares {
        tell(&ear, WAHA, bare).await;
    }
    for bare in &bares {
        let end = ear.event(&said::id("waha", bare)).await;
        assert_eq!(end, json!({ "path": "files/got.bin", "size": SIZE }));
    }
    let left = content(&ear);
    assert!(left.len() == SIZE && left.iter().all(|byte| *byte == left[0]), "the file is one of them, whole");
    assert_eq!(names(&ear), ["got.bin"]);
}
