//! GOWA over real HTTP: exactly the requests that its source wants.

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::gateway::{Gateway, Got};

async fn sent(wishes: &[Value], settings: &str) -> (Vec<Got>, Vec<Value>) {
    let gateway = Gateway::start().await;
    let house = House::open(&[
        ("flows/x.yaml", "run: 1\n"),
        ("files/a.png", "\u{1}picture"),
        ("files/b.pdf", "document"),
        ("postrider.yaml", &gateway.settings(&format!("pace: unlimited{settings}"))),
    ])
    .await;
    for (number, wish) in wishes.iter().enumerate() {
        house.post("/messages", wish.clone()).await;
        house.messages_are(number + 1, "sent").await;
    }
    (gateway.got(), house.messages_are(wishes.len(), "sent").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_gives_its_request() {
    let to = "+1 541-754-3010";
    let (got, messages) = sent(
        &[
            json!({ "kind": "text", "to": to, "text": "hi" }),
            json!({ "kind": "text", "to": "1203@g.us", "text": "all", "reply_to": "3EB0", "forwarded": true, "disappear": "24h", "mentions": ["+15417543011", "everyone"] }),
            json!({ "kind": "link", "to": to, "url": "https://e.com/a", "caption": "look", "reply_to": "3EB0" }),
            json!({ "kind": "link", "to": to, "url": "https://e.com/a" }),
            json!({ "kind": "link", "to": to, "url": "https://e.com/a", "title": "T", "description": "D", "caption": "C" }),
            json!({ "kind": "link", "to": to, "url": "https://e.com/a", "caption": "plain", "preview": false }),
            json!({ "kind": "image", "to": to, "source": "https://e.com/a.JPG?x=1", "caption": "c", "view_once": true, "hd": true }),
            json!({ "kind": "file", "to": "77@lid", "source": "https://e.com/b", "caption": "c", "name": "n.pdf" }),
            json!({ "kind": "text", "to": to, "text": "raw", "account": "main", "extra": { "future": { "a": 1 } } }),
        ],
        "",
    )
    .await;
    let phone = "15417543010@s.whatsapp.net";
    let wanted = [
        ("/send/message", json!({ "phone": phone, "message": "hi" })),
        (
            "/send/message",
            json!({ "phone": "1203@g.us", "message": "all", "reply_message_id": "3EB0", "is_forwarded": true, "duration": 86400, "mentions": ["15417543011", "@everyone"] }),
        ),
        ("/send/link", json!({ "phone": phone, "link": "https://e.com/a", "caption": "look" })),
        ("/send/link", json!({ "phone": phone, "link": "https://e.com/a", "caption": "https://e.com/a" })),
        ("/send/link", json!({ "phone": phone, "link": "https://e.com/a", "caption": "*T*\nD\nC" })),
        ("/send/message", json!({ "phone": phone, "message": "plain\nhttps://e.com/a" })),
        (
            "/send/image",
            json!({ "phone": phone, "image_url": "https://e.com/a.JPG?x=1", "caption": "c", "view_once": true, "hd": true }),
        ),
        ("/send/file", json!({ "phone": "77@lid", "file_url": "https://e.com/b", "caption": "c" })),
        ("/send/message", json!({ "phone": phone, "message": "raw", "future": { "a": 1 } })),
    ];
    for (got, (path, body)) in got.iter().zip(&wanted) {
        assert_eq!((got.path.as_str(), &got.json()), (*path, body));
        assert_eq!(got.headers["content-type"], "application/json");
        assert!(!got.headers.contains_key("authorization") && !got.headers.contains_key("x-device-id"));
    }
    assert_eq!(got.len(), wanted.len());
    // Sent by hand while the clock stands still, the messages come in no order of their own.
    let mut degraded: Vec<String> = messages
        .iter()
        .flat_map(|message| message["degraded"].as_array().unwrap())
        .map(|change| format!("{}: {}", change["field"].as_str().unwrap(), change["action"].as_str().unwrap()))
        .collect();
    degraded.sort();
    assert_eq!(
        degraded,
        [
            "caption: filled with the link",
            "description: written into the caption",
            "name: left out: the gateway takes it from the address",
            "preview: sent as text",
            "reply_to: left out",
            "title: written into the caption",
        ]
    );
    assert!(messages.iter().any(|message| message["provider_id"] == "3EB0000000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_with_device_and_credentials() {
    let (got, _) = sent(
        &[
            json!({ "kind": "image", "to": "+15417543010", "source": "files/a.png", "caption": "häh" }),
            json!({ "kind": "file", "to": "+15417543010", "source": "files/b.pdf", "name": "report.pdf" }),
        ],
        ", device: \"628@s.whatsapp.net\", basic_auth: \"user:pa ss\"",
    )
    .await;
    for (got, path, parts) in [
        (
            &got[0],
            "/send/image",
            [
                "name=\"image\"; filename=\"a.png\"",
                "Content-Type: image/png",
                "\u{1}picture",
                "name=\"caption\"\r\n\r\nhäh",
            ],
        ),
        (
            &got[1],
            "/send/file",
            [
                "name=\"file\"; filename=\"report.pdf\"",
                "Content-Type: application/pdf",
                "document",
                "15417543010@s.whatsapp.net",
            ],
        ),
    ] {
        let body = String::from_utf8(got.body.clone()).unwrap();
        assert_eq!(got.path, path);
        assert!(got.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary="));
        assert_eq!(got.headers["x-device-id"], "628%40s%2Ewhatsapp%2Enet");
        assert_eq!(got.headers["authorization"], "Basic dXNlcjpwYSBzcw==");
        for part in parts {
            assert!(body.contains(part), "{part}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_would_refuse_is_not_sent() {
    let gateway = Gateway::start().await;
    let house =
        House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &gateway.settings("pace: unlimited"))]).await;
    for (wish, part) in [
        (json!({ "kind": "image", "to": "+15417543010", "source": "https://e.com/picture" }), "end in .jpg"),
        (
            json!({ "kind": "link", "to": "+15417543010", "url": "https://e.com", "on_unsupported": "strict", "title": "x" }),
            "no `title`",
        ),
        (
            json!({ "kind": "link", "to": "+15417543010", "url": "https://e.com", "on_unsupported": "strict", "thumbnail": "https://e.com/a.png" }),
            "no `thumbnail`",
        ),
    ] {
        let id = house.post("/messages", wish).await["message"].as_str().unwrap().to_owned();
        let message = crate::support::until("the refusal", async || {
            let message = house.get(&format!("/messages/{id}")).await;
            (message["state"] == "rejected").then_some(message)
        })
        .await;
        assert!(message["why"].as_str().unwrap().contains(part), "{message}");
    }
    assert!(gateway.got().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_is_safe_to_try_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = format!(
        "accounts:\n  main: {{ transport: gowa, url: \"http://{address}\", pace: unlimited, retry: {{ attempts: 2, first: 1s }} }}\n"
    );
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    house.post("/messages", json!({ "to": "+15417543010", "text": "x" })).await;
    let tried = async |count: usize| {
        crate::support::until("a try", async || {
            let message = house.get("/messages").await["messages"][0].clone();
            (message["attempts"].as_array().unwrap().len() == count && message["state"] != "sending").then_some(message)
        })
        .await
    };
    let message = tried(1).await;
    assert!(message["why"].as_str().unwrap().contains("cannot be reached"), "{message}");
    assert_eq!(message["attempts"][0]["outcome"], "upstream");
    house.pass(std::time::Duration::from_secs(1));
    assert_eq!(tried(2).await["state"], "dead");
    // A person wants one more round.
    let id = tried(2).await["id"].as_str().unwrap().to_owned();
    house.post(&format!("/messages/{id}/retry"), json!({})).await;
    assert_eq!(tried(3).await["state"], "queued");
    house.post(&format!("/messages/{id}/cancel"), json!({})).await;
    house.messages_are(1, "cancelled").await;
}
