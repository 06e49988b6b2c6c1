//! Senders as they are in the field: charsets, packed bodies, marks, forms in parts, headers that come twice.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Line, post};
use crate::support::client;
use crate::support::engine::House;

const SEEN: &str = "triggers:\n  - webhook: { path: /seen, respond: result }\nrun: |\n  #{ body: event.body, raw: event.raw, a: event.headers[\"x-a\"] }\n";

async fn sent(house: &House, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let url = format!("http://{}/hooks/seen", house.engine.address().listen);
    let mut request = client().request(Method::POST, url).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_read_by_the_charset_that_is_said() {
    let house = House::open(&[("flows/seen.yaml", SEEN)]).await;
    let form = "application/x-www-form-urlencoded";
    for (kind, body, wanted) in [
        ("application/json; charset=iso-8859-1", &b"{\"name\":\"M\xfcller\"}"[..], json!({ "name": "Müller" })),
        ("application/json; charset=\"UTF-8\"", "{\"name\":\"Müller\"}".as_bytes(), json!({ "name": "Müller" })),
        (&format!("{form}; charset=iso-8859-1"), b"name=M%FCller", json!({ "name": "Müller" })),
        (&format!("{form}; charset=windows-1252"), b"name=M\xfcller+%80", json!({ "name": "Müller €" })),
        // What PayPal says in the form itself.
        (form, b"name=M%FCller&charset=windows-1252", json!({ "name": "Müller", "charset": "windows-1252" })),
        (form, b"name=M%C3%BCller", json!({ "name": "Müller" })),
        ("text/plain; charset=windows-1252", b"M\xfcller \x80", json!("Müller €")),
        ("text/plain; charset=utf-16le", b"\xfc\x00", json!("ü")),
        ("text/plain", b"\xff\xfea\x00", json!("a")),
        ("text/plain; charset=shift_jis", b"\x83e\x83X\x83g", json!("テスト")),
        ("text/json", b"{\"a\":1}", json!({ "a": 1 })),
        // Marks of the byte order (RFC 8259, 8.1, allows to skip them).
        ("application/json", b"\xef\xbb\xbf{\"name\":\"Ada\"}", json!({ "name": "Ada" })),
        (form, b"\xef\xbb\xbfname=Ada", json!({ "name": "Ada" })),
        ("", b"\xef\xbb\xbf{\"name\":\"Ada\"}", json!({ "name": "Ada" })),
        // Half an emoji, as JavaScript cuts it.
        ("application/json", br#"{"name":"Ada \ud83d"}"#, json!({ "name": "Ada \u{fffd}" })),
        ("application/json", br#"{"name":"\ud83d\ude00 \ude00 \\ud83d"}"#, json!({ "name": "😀 \u{fffd} \\ud83d" })),
    ] {
        let headers = [("content-type", kind)];
        let (status, seen) = sent(&house, if kind.is_empty() { &[] } else { &headers }, body).await;
        assert_eq!((status, &seen["body"]), (200, &wanted), "{kind} {}", String::from_utf8_lossy(body));
    }
    for (kind, body, status) in [
        ("application/json", &b"{\"name\":\"M\xfcller\"}"[..], 400),
        ("application/json; charset=utf-8", b"{\"name\":\"M\xfcller\"}", 400),
        ("text/plain; charset=utf-8", b"\xc3", 400),
        (form, b"name=M%FCller", 400),
        ("text/plain; charset=utf-7", b"a", 415),
        ("text/plain; charset=klingon", b"a", 415),
    ] {
        let (found, answer) = sent(&house, &[("content-type", kind)], body).await;
        assert_eq!(found, status, "{kind}: {answer}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_unpacked_within_the_limit() {
    let house = House::open(&[("flows/seen.yaml", SEEN)]).await;
    let json = b"{\"name\":\"Ada\"}";
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    raw.write_all(json).unwrap();
    // Made by `printf '{"name":"Ada"}' | brotli -c` and `| zstd -c`.
    let brotli = b"\x8b\x06\x80{\"name\":\"Ada\"}\x03";
    let zstd = b"\x28\xb5\x2f\xfd\x24\x0e\x71\x00\x00{\"name\":\"Ada\"}\xac\xe6\x5b\x3c";
    for (coding, body) in [
        ("gzip", gzip(json)),
        ("x-gzip", gzip(json)),
        ("GZIP", gzip(json)),
        ("deflate", zlib(json)),
        ("deflate", raw.finish().unwrap()),
        ("deflate, gzip", gzip(&zlib(json))),
        ("identity", json.to_vec()),
        ("br", brotli.to_vec()),
        ("zstd", zstd.to_vec()),
    ] {
        let (status, seen) =
            sent(&house, &[("content-encoding", coding), ("content-type", "application/json")], &body).await;
        assert_eq!((status, &seen["body"]["name"]), (200, &json!("Ada")), "{coding}: {seen}");
        assert_eq!(seen["raw"], "{\"name\":\"Ada\"}", "{coding}");
    }
    let (status, seen) = sent(&house, &[("content-encoding", "gzip")], &gzip(b"name=Ada")).await;
    assert_eq!((status, &seen["body"]), (200, &json!("name=Ada")), "{seen}");
    // Bombs: a gibibyte of nothing, also wrapped twice.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| bomb.write_all(&vec![0; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    let (status, answer) = sent(&house, &[("content-encoding", "gzip")], &bomb).await;
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = sent(&house, &[("content-encoding", "gzip, gzip")], &gzip(&bomb)).await;
    assert_eq!(status, 413, "{answer}");
    for (coding, body, status) in [
        ("gzip", &b"{\"name\":\"Ada\"}"[..], 400),
        ("gzip", &gzip(json)[..12], 400),
        ("br", b"\xff\xff\xff", 400),
        ("zstd", b"nothing", 400),
        ("compress", b"x", 415),
        ("gzip, gzip, gzip, gzip, gzip", b"x", 415),
    ] {
        let (found, answer) = sent(&house, &[("content-encoding", coding)], body).await;
        assert_eq!(found, status, "{coding}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_come_twice_are_joined() {
    let house = House::open(&[("flows/seen.yaml", SEEN)]).await;
    let (_, seen) = sent(&house, &[("X-A", "1"), ("X-B", "x"), ("X-A", "2")], b"").await;
    // RFC 9110, 5.3.
    assert_eq!(seen["a"], "1, 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_in_parts_has_fields_and_files() {
    let flow = "triggers:\n  - webhook: { path: /seen, respond: result }\nrun: |\n  let saved = event.files.map(|file| file.save(`inbox/${file.file_name}`));\n  #{ body: event.body, files: event.files, saved: saved, read: files::read(\"inbox/a b.txt\") }\n";
    let house = House::open(&[("flows/seen.yaml", flow)]).await;
    let body = "--X\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAda\r\n\
        --X\r\nContent-Disposition: form-data; name=\"tag\"\r\n\r\none\r\n\
        --X\r\nContent-Disposition: form-data; name=\"tag\"\r\n\r\ntwo\r\n\
        --X\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
        --X\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n\
        --X--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=X")];
    let (status, seen) = sent(&house, &kind, body.as_bytes()).await;
    assert_eq!(status, 200, "{seen}");
    assert_eq!(seen["body"], json!({ "name": "Ada", "tag": ["one", "two"] }));
    assert_eq!(
        seen["files"],
        json!([{ "name": "doc", "file_name": "a b.txt", "type": "text/plain", "size": 5, "part": 0 }])
    );
    assert_eq!((&seen["saved"][0]["size"], &seen["read"]), (&json!(5), &json!("hello")));
    // Bytes that are no text come out as they went in.
    let mut bytes: Vec<u8> =
        b"--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a b.txt\"\r\n\r\n".to_vec();
    let all: Vec<u8> = (0..=255).collect();
    bytes.extend(&all);
    bytes.extend(b"\r\n--X--\r\n");
    let (_, _) = sent(&house, &kind, &bytes).await;
    assert_eq!(std::fs::read(house.folder.path().join("inbox/a b.txt")).unwrap(), all);
    // What is shown of the run has no bytes.
    let runs = house.runs_of("seen").await;
    let run = house.get(&format!("/runs/{}", runs[0]["id"].as_str().unwrap())).await;
    assert_eq!(run["event"]["files"][0]["file_name"], "a b.txt", "{run}");
    assert!(run["event"]["files"][0].get("bytes").is_none(), "{run}");
    let (plain, file) = ("; name=\"caf\u{e9}\"", "; name=\"f\"; filename=\"caf\u{e9}.txt\"");
    let latin = |names: &str| {
        let part = format!("--X\r\nContent-Disposition: form-data{names}\r\n\r\nx\r\n--X--\r\n");
        part.chars().map(|letter| letter as u8).collect::<Vec<u8>>()
    };
    for (kind, body) in [
        ("multipart/form-data", b"--X--\r\n".to_vec()),
        ("multipart/form-data; boundary=X", b"--X\r\nbroken".to_vec()),
        ("multipart/form-data; boundary=X", latin(plain)),
        ("multipart/form-data; boundary=X", latin(file)),
    ] {
        let (status, answer) = sent(&house, &[("content-type", kind)], &body).await;
        assert_eq!(status, 400, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_too_many_names_the_path_that_is_there() {
    let house = House::open(&[("flows/seen.yaml", SEEN)]).await;
    for (path, near) in [
        ("/hooks/seen/", true),
        ("/hooks//seen", true),
        ("//hooks/seen", true),
        ("///hooks//seen//", true),
        ("/hooks/other/", false),
        ("/hooks//other", false),
        ("//hooks/other", false),
        ("//hooks", false),
        ("//", false),
    ] {
        let mut line = Line::to(house.engine.address().listen).await;
        line.send(post(path, &[], "")).await;
        let answer = line.answer().await;
        assert_eq!(answer.status, 404, "{path}");
        let hint = serde_json::from_str::<Value>(&answer.text()).unwrap()["error"]["hint"].clone();
        let wanted = near.then_some("there is one at /hooks/seen, without a slash too many");
        assert_eq!(hint.as_str(), wanted, "{path}");
    }
}
