//! A closed door looks the same whatever is behind it, and nobody's body is held at it.

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::call;
use crate::support::client;
use crate::support::engine::House;

const SETTINGS: &str = "default_account: box\naccounts:\n  box: { transport: sandbox }\n  \
    gowa: { transport: gowa, webhook_secret: \"g0wa/+secret\" }\n  \
    token: { transport: wapim, token: t, inbound_token: 0pen-sesame }\n  \
    twilio: { transport: twilio, account_sid: AC0123456789abcdef0123456789abcdef, auth_token: t, from: \"+14155238886\" }\n  \
    meta: { transport: meta, phone_number_id: \"1\", access_token: t, app_secret: a, verify_token: v }\n  \
    evolution: { transport: evolution, url: \"http://127.0.0.1:9\", api_key: k, instance: i, webhook_secret: w }\n  \
    mute: { transport: meta, phone_number_id: \"1\", access_token: t }\n";

async fn house() -> House {
    House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", SETTINGS)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_find_out_which_accounts_there_are() {
    let (house, client) = (house().await, client());
    let wrong = [("x-hub-signature-256", "sha256=00"), ("authorization", "Bearer a.b.c")];
    let mut answers = Vec::new();
    for account in ["nobody", "box", "gowa", "token", "twilio", "meta", "evolution", "mute", "%00", "a\u{300}"] {
        for suffix in ["", "/", "/0pen-sesamE", "/a/b", "?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1"] {
            for method in [Method::GET, Method::POST] {
                for headers in [&wrong[..0], &wrong[..]] {
                    let path = format!("/gateways/{account}{suffix}");
                    let answer = call(&client, &house, method.clone(), &path, headers, b"{\"a\": nope".to_vec()).await;
                    answers.push((format!("{method} {path} {headers:?}"), answer));
                }
            }
        }
    }
    let (_, first) = &answers[0];
    assert_eq!(first.0, 401, "{first:?}");
    for (what, answer) in &answers {
        assert_eq!(answer, first, "{what}");
    }
}

/// Sends the head of a request, and never its body; gives the beginning of the answer.
async fn only_the_head(house: &House, account: &str, length: u64) -> String {
    let mut stream = TcpStream::connect(house.engine.address().listen).await.unwrap();
    let head = format!("POST /gateways/{account} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_waited_for_when_it_changes_nothing() {
    let house = house().await;
    for account in ["nobody", "box", "token", "token/wrong", "twilio", "mute"] {
        let answer = only_the_head(&house, account, 1_000_000).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{account}: {answer}");
    }
    for account in ["nobody", "box", "gowa", "token/0pen-sesame", "meta"] {
        let answer = only_the_head(&house, account, 10 << 30).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{account}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_body_is_not_read_still_gets_the_answer() {
    let (house, client) = (house().await, client());
    for _ in 0..8 {
        for (account, size, status) in
            [("box", (4 << 20) - 1, 401), ("nobody", (4 << 20) - 1, 401), ("gowa", 9 << 20, 413)]
        {
            let path = format!("/gateways/{account}");
            let answer = call(&client, &house, Method::POST, &path, &[], vec![b' '; size]).await;
            assert_eq!(answer.0, status, "{account}: {answer:?}");
        }
    }
}
