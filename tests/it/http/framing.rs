//! Where a request or an answer ends is ours to say, whatever scripts and other servers hand on.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Line, post};
use crate::conversations::server::{LOCAL, Say, Server};
use crate::support::engine::House;

const OURS: &str = r#"triggers:
  - webhook: { path: /ours, respond: result }
run: |
  let headers = #{};
  for name in ["Content-Length", "transfer-encoding", "Connection", "keep-alive", "TE", "trailer", "Trailers",
               "upgrade", "Proxy-Authenticate", "proxy-connection", "Expect", "host", "content-encoding", "date"] {
    headers[name] = "5";
  }
  headers["X-Kept"] = "ü\tyes";
  headers["Content-Type"] = "text/x-own";
  respond(event.body.status, "HELLOWORLD", headers)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_frame_an_answer_are_dropped() {
    let house = House::open(&[("flows/ours.yaml", OURS)]).await;
    let mut line = Line::to(house.engine.address().listen).await;
    for (status, body) in [(200, "HELLOWORLD"), (204, ""), (205, ""), (304, ""), (404, "HELLOWORLD")] {
        line.send(post("/hooks/ours", &[], &json!({ "status": status }).to_string())).await;
        let answer = line.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{answer:?}");
        for name in ["transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "host"] {
            assert_eq!(answer.header(name), None, "{answer:?}");
        }
        assert_ne!(answer.header("date"), Some("5"));
        assert!(answer.head.contains("content-type: text/x-own"), "{answer:?}");
        // The connection is as before.
        line.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(line.answer_to("GET").await.text(), "ok", "after {status}");
    }
    for status in [0, 100, 101, 199, 600, -1, 70_000] {
        line.send(post("/hooks/ours", &["X: y"], &json!({ "status": status }).to_string())).await;
        let answer = line.answer().await;
        assert_eq!(answer.status, 500, "{answer:?}");
    }
}

/// A server whose answer is another one's answer behind bytes that grow when they become text.
async fn evil() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut space = [0; 4_096];
            let _ = stream.read(&mut space).await;
            let mut body = vec![0xff; 60];
            body.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPWNED!");
            let head = format!(
                "HTTP/1.1 203 Fine\r\nContent-Length: {}\r\nX-Own: caf\u{e9}\r\nX-Bin: \u{1}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // As Latin-1, which some servers still speak.
            let head: Vec<u8> = head.chars().filter(|c| *c != '\u{1}').map(|c| c as u8).collect();
            let _ = stream.write_all(&head).await;
            let _ = stream.write_all(&body).await;
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_three_lines_cannot_be_made_to_answer_the_next_caller() {
    let flow = "triggers:\n  - webhook: { path: /proxy, respond: result }\nrun: |\n  \
        let r = http::get(event.body.url);\n  respond(r.status, r.body, r.headers)\n";
    let house = House::open(&[("flows/proxy.yaml", flow), LOCAL]).await;
    let url = evil().await;
    let mut line = Line::to(house.engine.address().listen).await;
    line.send(post("/hooks/proxy", &[], &json!({ "url": url }).to_string())).await;
    let answer = line.answer().await;
    assert_eq!(answer.status, 203, "{answer:?}");
    assert!(answer.text().ends_with("PWNED!"), "the whole body is the answer's: {answer:?}");
    assert!(answer.header("x-own").is_some() && answer.header("connection").is_none(), "{answer:?}");
    line.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(line.answer_to("GET").await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_frame_a_request_cannot_be_given_nor_seen() {
    let server = Server::start(|_, _| Say::text(200, "fine")).await;
    let flow = |name: &str| {
        format!("run: |\n  http::post(event.data, \"long enough\", #{{ headers: #{{ \"{name}\": \"3\" }} }})\n")
    };
    let names = [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "trailers",
        "Upgrade",
        "proxy-authorization",
        "Proxy-Connection",
        "Expect",
        "Host",
    ];
    let mut flows: Vec<(String, String)> =
        names.iter().enumerate().map(|(n, name)| (format!("flows/f{n}.yaml"), flow(name))).collect();
    flows.push(("flows/seen.yaml".into(), "run: http::get(event.data).headers\n".into()));
    let mut files: Vec<(&str, &str)> = flows.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(LOCAL);
    let house = House::open(&files).await;
    for (n, name) in names.iter().enumerate() {
        let id = house.trigger(&format!("f{n}"), json!(server.url())).await;
        let error = house.run_is(&id, "failed").await["error"].clone();
        assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("invalid"), Some(2)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(&name.to_ascii_lowercase()), "{error}");
    }
    assert_eq!(server.count(), 0);
    let id = house.trigger("seen", json!(server.url())).await;
    let seen = house.run_is(&id, "succeeded").await["result"].clone();
    assert!(seen.get("content-length").is_none() && seen.get("connection").is_none(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_sent_and_ends_the_connection() {
    let flow = "triggers:\n  - webhook: { path: /f, methods: [POST, HEAD], respond: result }\nrun: event.raw\n";
    let files = [("flows/f.yaml", flow), ("postrider.yaml", "limits: { body: 1000 }\n")];
    let house = House::open(&files).await;
    let listen = house.engine.address().listen;
    for head in [
        "POST /hooks/f HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000000\r\n\r\n",
        "POST /hooks/f HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
        "POST /gateways/sandbox HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut line = Line::to(listen).await;
        line.send(head).await;
        let answer = line.answer().await;
        assert!(matches!(answer.status, 401 | 413), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert!(line.rest().await.is_empty());
    }
    // One that does not say how large it is, and goes on: the caller can read its answer all the same.
    let mut line = Line::to(listen).await;
    line.send("POST /hooks/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..64 {
        line.send(format!("8000\r\n{}\r\n", "x".repeat(0x8000))).await;
    }
    let answer = line.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{answer:?}");
    assert!(line.rest().await.is_empty());
    // What fits is asked for, and the connection is kept.
    let mut line = Line::to(listen).await;
    line.send("POST /hooks/f HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(line.answer().await.status, 100);
    line.send("\"abc\"").await;
    let answer = line.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#""\"abc\"""#), "{answer:?}");
    line.send("HEAD /hooks/f HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(line.answer_to("HEAD").await.status, 200);
    line.send(format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(200_000))).await;
    assert_eq!(line.answer_to("GET").await.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_side_wants_one_host_and_knows_its_names() {
    let house = House::open(&[("flows/f.yaml", "run: 1\n")]).await;
    for (head, status) in [
        ("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /readyz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /readyz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        ("GET /readyz HTTP/1.1\r\n\r\n", 400),
        ("GET /readyz HTTP/1.0\r\n\r\n", 400),
        ("GET /readyz HTTP/1.1\r\nHost:\r\n\r\n", 403),
        ("GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /readyz HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 403),
        ("GET http://evil.example/readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET http://localhost/readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET http://localhost/readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ] {
        let mut line = Line::to(house.engine.address().admin).await;
        line.send(head).await;
        assert_eq!(line.answer_to("GET").await.status, status, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_said_all_and_still_listens_is_answered() {
    let flow = "triggers:\n  - webhook: { path: /f, methods: [POST, GET], respond: result }\nrun: |\n  let n = 0;\n  while n < 20_000 { n += 1; }\n  42\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let (listen, admin) = (house.engine.address().listen, house.engine.address().admin);
    let whole = post("/hooks/f", &[], "{}");
    let chunked = "POST /hooks/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for (address, request, answers) in [
        (listen, whole.as_str(), vec!["42"]),
        (listen, chunked, vec!["42"]),
        (listen, "GET /hooks/f HTTP/1.1\r\nHost: x\r\n\r\n", vec!["42"]),
        (listen, "GET /hooks/f HTTP/1.0\r\n\r\n", vec!["42"]),
        (listen, &[whole.as_str(), &whole].concat(), vec!["42", "42"]),
        (admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", vec!["ready"]),
    ] {
        let mut line = Line::to(address).await;
        line.send(request).await;
        line.stream.shutdown().await.unwrap();
        for answer in answers {
            let got = line.answer().await;
            assert_eq!((got.status, got.text().as_str()), (200, answer), "{request}");
        }
        assert!(line.rest().await.is_empty(), "{request}");
    }
    let runs = house.runs_of("f").await.len();
    // What is not whole, and never will be, ends at once and begins nothing.
    for half in ["", "POST /hooks/f HTT", &whole[..whole.len() - 1], &chunked[..chunked.len() - 7]] {
        let mut line = Line::to(listen).await;
        line.send(half).await;
        line.stream.shutdown().await.unwrap();
        let rest = timeout(Duration::from_secs(3), line.rest()).await.expect("it ends at once");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{half}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(house.runs_of("f").await.len(), runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_can_be_read_in_two_ways_is_refused_on_both_sides() {
    let flow = "triggers:\n  - webhook: { path: /f, respond: result }\nrun: event.raw\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let (listen, admin) = (house.engine.address().listen, house.engine.address().admin);
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    for (version, lines, status) in [
        // RFC 9112, 3.2.
        ("1.1", "Host: localhost\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("1.0", "Host: localhost\r\nHost: other\r\n", 400),
        // 6.1 and 7.
        ("1.1", "Host: localhost\r\nTransfer-Encoding: chunked\r\n", 200),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: Chunked\r\n", 200),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: chunked, chunked\r\n", 400),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("1.1", "Host: localhost\r\nTransfer-Encoding: chunked, gzip\r\n", 400),
    ] {
        for (address, asked) in [(listen, "POST /hooks/f"), (admin, "GET /readyz")] {
            let body = if lines.contains("Transfer") { chunks } else { "" };
            let mut line = Line::to(address).await;
            line.send(format!("{asked} HTTP/{version}\r\n{lines}\r\n{body}")).await;
            let answer = line.answer().await;
            assert_eq!(answer.status, status, "{asked} {version} {lines}: {answer:?}");
            if status != 200 {
                assert_eq!(answer.header("connection"), Some("close"), "{asked} {version} {lines}: {answer:?}");
            }
        }
    }
    let mut line = Line::to(listen).await;
    line.send("POST /hooks/f HTTP/1.0\r\n\r\n").await;
    assert_eq!(line.answer().await.status, 200, "HTTP/1.0 knows no `Host`");
    assert_eq!(house.runs_of("f").await.len(), 4);
}
