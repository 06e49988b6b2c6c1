//! What other servers say: how much of it is held at once, and what of it is put on record.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Line, post};
use crate::conversations::server::{LOCAL, Say, Server};
use crate::support::Nobody;
use crate::support::binary::{Process, json as shown};
use crate::support::engine::House;
use crate::support::{folder, until};

/// A server that answers with four megabytes less one byte, and with the last one when it is let.
async fn withholding(begun: watch::Sender<usize>, open: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (begun, mut open) = (begun.clone(), open.clone());
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4_096]).await;
                begun.send_modify(|count| *count += 1);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n").await;
                let _ = stream.write_all(&vec![b'x'; (4 << 20) - 1]).await;
                let _ = open.wait_for(|open| *open).await;
                let _ = stream.write_all(b"x").await;
                let _ = stream.read(&mut [0]).await;
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_hold_back_the_end_hold_little_of_our_memory() {
    let flow = "triggers:\n  - webhook: /take\nrun: |\n  http::get(event.body.url, #{ timeout: \"10m\" }).ok\n";
    let quick = "triggers:\n  - webhook: { path: /quick, respond: result }\nrun: http::get(event.body.url).body\n";
    let folder = folder(&[("flows/take.yaml", flow), ("flows/quick.yaml", quick), LOCAL]);
    let process = Process::start(folder.path());
    let (count, open) = (watch::channel(0), watch::channel(false));
    let url = withholding(count.0.clone(), open.1).await;
    for _ in 0..120 {
        let mut line = Line::to(process.public).await;
        line.send(post("/hooks/take", &[], &json!({ "url": url }).to_string())).await;
        assert!(matches!(line.answer().await.status, 200..300));
    }
    until("all to be asked", async || (*count.1.borrow() == 120).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let peak = process.memory("VmHWM") >> 20;
    println!("peak {peak} MiB");
    assert!(peak < 320, "{peak} MiB");
    // Others are served meanwhile.
    let server = Server::start(|_, _| Say::text(200, "fine")).await;
    let begun = Instant::now();
    let mut line = Line::to(process.public).await;
    line.send(post("/hooks/quick", &[], &json!({ "url": server.url() }).to_string())).await;
    assert_eq!(line.answer().await.text(), "\"fine\"");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    open.0.send_replace(true);
    // More of them come to their end than have room at once.
    until("most to have come", async || {
        let runs = shown(folder.path(), &["runs", "--flow", "take", "--limit", "200"]);
        let runs = runs["runs"].as_array().unwrap().clone();
        assert!(runs.iter().all(|run| run["state"] != "failed"), "{:?}", runs.iter().find(|r| r["state"] == "failed"));
        (runs.iter().filter(|run| run["state"] == "succeeded").count() > 32).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_stands_in_the_path_and_only_the_server_is_shown() {
    const SECRET: &str = "T00/B11/x y?z#hush";
    let server = Server::start(|got, _| match got.path.as_str() {
        path if path.ends_with("/away") => Say::to(302, &format!("{}/other", got.path)),
        path if path.ends_with("/other") => Say::Vanish,
        path => Say::text(200, path),
    })
    .await;
    let nobody = Nobody::at_a_port();
    let flow = r#"secrets: [HOOK]
run: |
  let hook = event.data.url + "/services/" + secret("HOOK");
  let said = [http::post(hook, #{ text: "hello" }).body, http::get(hook + "/x?a=1", #{ query: #{ b: "2" } }).body];
  try { http::get(hook + "/away"); } catch (e) { said.push(e.message); }
  try { http::get(event.data.nobody + "/" + secret("HOOK")); } catch (e) { said.push(e.message); }
  try { http::get(hook, #{ expect: "404" }); } catch (e) { said.push(e.message); }
  said
"#;
    let env = (".env", "HOOK=\"T00/B11/x y?z#hush\"\n");
    let house = House::open(&[("flows/f.yaml", flow), env, LOCAL]).await;
    let id = house.trigger("f", json!({ "url": server.url(), "nobody": nobody.url })).await;
    let run = house.run_is(&id, "succeeded").await;
    let got = server.got();
    assert_eq!(got[0].path, "/services/T00/B11/x%20y%3Fz%23hush");
    assert_eq!((got[1].path.as_str(), got[1].query.as_str()), ("/services/T00/B11/x%20y%3Fz%23hush/x", "a=1&b=2"));
    assert!(!run.to_string().contains("hush") && !run.to_string().contains(SECRET), "{run}");
    let said = run["result"].as_array().unwrap();
    assert_eq!(said[0], "/services/***");
    for (message, server) in [(&said[2], server.url()), (&said[3], nobody.url.clone()), (&said[4], server.url())] {
        let message = message.as_str().unwrap();
        assert!(message.contains(&server), "{message}");
        assert!(!message.replace("/services/***", "").contains("services"), "{message}");
    }
    let request = run["entries"][0]["request"].to_string();
    assert!(request.contains("HOOK") && request.contains(&server.url()), "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_veiled_however_a_server_writes_it() {
    const SECRET: &str = "hü/sh&\"h+ush";
    let server = Server::start(move |_, _| {
        let lower = "h%c3%bc%2fsh%26%22h%2bush";
        let said = [
            SECRET.to_owned(),
            lower.to_owned(),
            "h%C3%BC%2Fsh%26%22h%2Bush".to_owned(),
            "h\\u00fc\\/sh&\\\"h+ush".to_owned(),
            "hü/sh&amp;&quot;h&#43;ush".to_owned(),
            STANDARD.encode(SECRET),
            STANDARD.encode(format!("user:{SECRET}")),
            STANDARD.encode(format!("a{SECRET}b")),
            hex::encode(SECRET),
            hex::encode_upper(SECRET),
        ];
        Say::Answer(200, vec![("x-said", said[6].clone())], json!({ "said": said }).to_string().into())
    })
    .await;
    let flow = "secrets: [KEY]\nrun: http::get(event.data)\n";
    let house = House::open(&[("flows/f.yaml", flow), (".env", "KEY='hü/sh&\"h+ush'\n"), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    let run = house.run_is(&id, "succeeded").await;
    let said: Value = serde_json::from_str(run["result"]["body"].as_str().unwrap()).unwrap();
    for (n, said) in said["said"].as_array().unwrap().iter().enumerate() {
        assert_eq!(said, "***", "{n}");
    }
    assert_eq!(run["result"]["headers"]["x-said"], "***");
}
