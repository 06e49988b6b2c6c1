//! The door: who is let in at which address, and what everybody else is told.

use reqwest::Method;
use serde_json::json;

use super::{TOKEN, call, sign};
use crate::support::client;
use crate::support::engine::House;

/// An account on every gateway, with the keys that it must have.
const ACCOUNTS: [(&str, &str); 9] = [
    ("sandbox", "transport: sandbox"),
    ("gowa", "transport: gowa"),
    ("wapim", "transport: wapim, token: t"),
    ("wawp", "transport: wawp, instance_id: i, access_token: t"),
    ("express", "transport: express-chat, api_key: k"),
    ("waha", "transport: waha, api_key: k"),
    ("meta", "transport: meta, phone_number_id: \"1\", access_token: t"),
    ("evolution", "transport: evolution, url: \"http://127.0.0.1:9\", api_key: k, instance: i"),
    (
        "twilio",
        "transport: twilio, account_sid: AC0123456789abcdef0123456789abcdef, auth_token: t, from: \"+14155238886\"",
    ),
];

async fn house(more: &str) -> House {
    let accounts: String = ACCOUNTS.iter().map(|(name, keys)| format!("  {name}: {{ {keys}{more} }}\n")).collect();
    let settings = format!("default_account: gowa\naccounts:\n{accounts}");
    House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_anything_to_verify_by_listens_to_nobody() {
    let (house, client) = (house("").await, client());
    for (name, _) in ACCOUNTS {
        for suffix in ["", "/", "/0pen-sesame", "/a/b"] {
            let path = format!("/gateways/{name}{suffix}");
            let (status, answer) = call(&client, &house, Method::POST, &path, &[], b"{}".to_vec()).await;
            assert_eq!(status, 401, "{path}: {answer}");
        }
    }
    // A secret that is shown by the other side of the challenge signs nothing.
    let meta = "accounts:\n  main: { transport: meta, phone_number_id: \"1\", access_token: t, verify_token: v }\n";
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", meta)]).await;
    let headers = sign::hub("v", b"{}");
    let headers = [("x-hub-signature-256", headers.as_str())];
    assert_eq!(call(&client, &house, Method::POST, "/gateways/main", &headers, b"{}".to_vec()).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_address_lets_in_those_who_know_it() {
    let (house, client) = (house(&format!(", inbound_token: {TOKEN}")).await, client());
    let post = async |path: &str, body: &[u8]| {
        let kind = [("content-type", "application/json")];
        call(&client, &house, Method::POST, path, &kind, body.to_vec()).await
    };
    for (name, _) in ACCOUNTS {
        let base = format!("/gateways/{name}");
        for wrong in ["", "/0pen-sesam", "/0pen-sesamE", "/0PEN-SESAME", "/0pen-sesame1", "/a/0pen-sesame"] {
            let bodies: [&[u8]; 2] = [b"{}", b"no JSON"];
            for body in bodies {
                let (status, answer) = post(&format!("{base}{wrong}"), body).await;
                assert_eq!(status, 401, "{base}{wrong}: {answer}");
                assert!(!answer.contains(TOKEN), "{answer}");
            }
        }
        let there = format!("{base}/{TOKEN}");
        match name {
            // It signs forms, and only with an address of ours; without one the secret address counts.
            "twilio" => assert_eq!(post(&there, b"{}").await, (200, "<Response/>".to_owned())),
            // Nobody said what is told to the stand-in.
            "sandbox" => assert!(matches!(post(&there, b"{}").await.0, 200 | 400)),
            _ => {
                for suffix in ["", "/", "/messages-upsert", "/a/b/c", "?instance=1"] {
                    let (status, answer) = post(&format!("{there}{suffix}"), b"{}").await;
                    assert_eq!(status, 200, "{there}{suffix}: {answer}");
                }
                let bodies: [&[u8]; 6] = [b"", b"{", b"{\"a\": nope}", b"{} trailing", b"\xff\xfe", b"a=1&b=2"];
                for body in bodies {
                    let (status, answer) = post(&there, body).await;
                    assert_eq!(status, 400, "{there} {}: {answer}", String::from_utf8_lossy(body));
                }
            }
        }
    }
    assert!(house.get("/runs").await["runs"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_gateways_is_told_so() {
    let (house, client) = (house(&format!(", inbound_token: {TOKEN}")).await, client());
    let status = async |method: Method, path: &str| call(&client, &house, method, path, &[], Vec::new()).await.0;
    for path in ["/gateways/nobody", "/gateways/nobody/0pen-sesame", "/gateways/GOWA", "/gateways/gowa%20"] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(status(method.clone(), path).await, 401, "{method} {path}");
        }
    }
    for path in ["/gateways", "/gateways/"] {
        assert_eq!(status(Method::POST, path).await, 404, "{path}");
    }
    for (name, _) in ACCOUNTS {
        for path in [format!("/gateways/{name}"), format!("/gateways/{name}/{TOKEN}")] {
            for method in [Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(status(method.clone(), &path).await, 405, "{method} {path}");
            }
            // Whether or not it means something there, it starts nothing and breaks nothing.
            assert!(status(Method::GET, &path).await < 500, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_four_mebibytes_at_most() {
    let (house, client) = (house(&format!(", inbound_token: {TOKEN}")).await, client());
    for (size, wanted) in [(4 << 20, 200), ((4 << 20) + 1, 413)] {
        let mut body = vec![b' '; size];
        body[..2].copy_from_slice(b"{}");
        let path = format!("/gateways/gowa/{TOKEN}");
        assert_eq!(call(&client, &house, Method::POST, &path, &[], body).await.0, wanted, "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_given_back_to_those_who_know_the_token() {
    let main = "transport: meta, phone_number_id: \"1\", access_token: t, app_secret: a";
    let settings = format!(
        "default_account: main\naccounts:\n  main: {{ {main}, verify_token: \"v3rify/+me\" }}\n  mute: {{ {main} }}\n"
    );
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    let base = format!("http://{}/gateways", house.engine.address().listen);
    let ask =
        async |account: &str, query: &str| client().get(format!("{base}/{account}?{query}")).send().await.unwrap();
    let right = "hub.verify_token=v3rify%2F%2Bme";
    for (query, challenge) in [
        (format!("hub.mode=subscribe&hub.challenge=1158201444&{right}"), "1158201444"),
        (format!("{right}&hub.challenge=%3Cb%3Ea%26b%3C%2Fb%3E&hub.mode=subscribe"), "<b>a&b</b>"),
    ] {
        let response = ask("main", &query).await;
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/plain"), "a page of somebody else's making is no page of ours: {kind}");
        assert_eq!(response.text().await.unwrap(), challenge);
    }
    let asked = "hub.mode=subscribe&hub.challenge=1158201444";
    for wrong in ["hub.verify_token=v3rify", "hub.verify_token=", "hub.verify_token=v3rify/ me", "other=1"] {
        let response = ask("main", &format!("{asked}&{wrong}")).await;
        assert_eq!(response.status(), 401, "{wrong}");
        assert_ne!(response.text().await.unwrap(), "1158201444");
    }
    assert_eq!(ask("mute", &format!("{asked}&{right}")).await.status(), 401, "no token was set");
    assert_eq!(ask("mute", &format!("{asked}&hub.verify_token=")).await.status(), 401, "no token was set");
    // Who knows the token for challenges may not tell events with it.
    let body = json!({ "object": "whatsapp_business_account", "entry": [] }).to_string().into_bytes();
    let path = format!("/gateways/main?{asked}&{right}");
    assert_eq!(call(&client(), &house, Method::POST, &path, &[], body).await.0, 401);
}
