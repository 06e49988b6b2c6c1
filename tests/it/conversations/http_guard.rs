//! Where scripts may call, and what travels along when a server sends them on.

use serde_json::{Value, json};

use super::server::{LOCAL, Say, Server};
use crate::support::engine::House;

/// Calls each address of a list; of what is thrown it keeps the kind.
const EACH: (&str, &str) = (
    "flows/each.yaml",
    r#"run: |
  let said = [];
  for url in event.data {
    try { said.push(http::get(url, #{ timeout: "10s" }).status); } catch (e) { said.push(e.kind); }
  }
  said
"#,
);

/// One that sends its callers to what its query says.
async fn sender() -> Server {
    Server::start(|got, _| match got.query.as_str() {
        "" => Say::text(200, "hello"),
        place => Say::to(302, place),
    })
    .await
}

async fn said(house: &House, urls: &[String]) -> Value {
    let id = house.trigger("each", json!(urls)).await;
    house.run_is(&id, "succeeded").await["result"].clone()
}

fn all(word: &str, count: usize) -> Value {
    json!(vec![word; count])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_not_called() {
    let server = sender().await;
    let port = server.address.port();
    let bare = ("flows/bare.yaml", "run: |\n  let n = 1;\n  http::get(event.data)\n");
    let house = House::open(&[EACH, bare]).await;
    let hosts = [
        "127.0.0.1",
        "127.0.0.2",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
    ];
    let urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/")).collect();
    assert_eq!(said(&house, &urls).await, all("refused", urls.len()));
    for url in [server.url(), format!("http://localhost:{port}/")] {
        let id = house.trigger("bare", json!(url)).await;
        let error = house.run_is(&id, "failed").await["error"].clone();
        assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("refused"), Some(3)), "{error}");
        assert!(error["message"].as_str().unwrap().contains("allow"), "it says what to do: {error}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_settings_allow_is_called_and_nothing_beside_it() {
    let (server, other) = (sender().await, sender().await);
    let port = server.address.port();
    let urls = [server.url(), format!("http://localhost:{port}/"), other.url()];
    for (allowed, wanted) in [
        (format!("127.0.0.1:{port}"), json!([200, "refused", "refused"])),
        (format!("localhost:{port}"), json!(["refused", 200, "refused"])),
        ("127.0.0.0/8".to_owned(), json!([200, 200, 200])),
        ("10.0.0.0/8".to_owned(), json!(["refused", "refused", "refused"])),
    ] {
        let settings = format!("http: {{ allow: [\"{allowed}\"] }}\n");
        let house = House::open(&[EACH, ("postrider.yaml", &settings)]).await;
        assert_eq!(said(&house, &urls).await, wanted, "{allowed}");
    }
    assert_eq!((server.count(), other.count()), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_on_to_where_they_may_not_call() {
    let (server, other) = (sender().await, sender().await);
    let (at, port) = (server.url(), other.address.port());
    let places = [
        other.url(),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("{at}/?http://127.0.0.1:{port}/"),
        "file:///etc/passwd".to_owned(),
    ];
    let urls: Vec<String> = places.iter().map(|place| format!("{at}/?{place}")).collect();
    let settings = format!("http: {{ allow: [\"{}\"] }}\n", server.address);
    let house = House::open(&[EACH, ("postrider.yaml", &settings)]).await;
    assert_eq!(said(&house, &urls).await, all("refused", urls.len()));
    assert_eq!((server.count(), other.count()), (8, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_ports_are_never_called() {
    let server = sender().await;
    let settings = ("postrider.yaml", "http: { allow: [\"127.0.0.0/8\", \"localhost\", \"::1\"] }\n");
    let house = House::open(&[EACH, settings]).await;
    let address = house.engine.address();
    let mut urls = Vec::new();
    for port in [address.admin.port(), address.listen.port()] {
        for host in ["127.0.0.1", "127.0.0.2", "localhost", "[::1]", "2130706433"] {
            let url = format!("http://{host}:{port}/healthz");
            urls.push(format!("{}/?{url}", server.url()));
            urls.push(url);
        }
    }
    assert_eq!(said(&house, &urls).await, all("refused", urls.len()));
    assert_eq!(said(&house, &[server.url()]).await, json!([200]), "other ports of the same machine are fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn being_sent_on_keeps_or_drops_the_body_as_the_status_says() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/302" => Say::to(302, "/landed"),
        "/303" => Say::to(303, "/landed"),
        "/307" => Say::to(307, "/landed"),
        "/308" => Say::to(308, "landed"),
        "/circle" => Say::to(302, "/circle"),
        _ => Say::text(200, "landed"),
    })
    .await;
    let flow = r#"run: |
  let at = event.data;
  let options = #{ headers: #{ "Authorization": "Bearer words", "X-Tag": "t" } };
  [
    http::post(at + "/302", #{ n: 1 }, options).body,
    http::post(at + "/303", #{ n: 2 }, options).body,
    http::put(at + "/303", "words", options).body,
    http::post(at + "/307", #{ n: 4 }, options).body,
    http::put(at + "/308", "words", options).body
  ]
"#;
    let house = House::open(&[EACH, ("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], all("landed", 5));
    let landed = server.got_at("/landed");
    let seen: Vec<_> = landed.iter().map(|got| (got.method.as_str(), got.mime(), got.body.as_str())).collect();
    let wanted = [
        ("GET", None, ""),
        ("GET", None, ""),
        ("GET", None, ""),
        ("POST", Some("application/json"), r#"{"n":4}"#),
        ("PUT", Some("text/plain"), "words"),
    ];
    assert_eq!(seen, wanted);
    for got in &landed {
        // It is the same server: what is said to it is said again.
        let said = (got.header("authorization"), got.header("x-tag"));
        assert_eq!(said, (Some("Bearer words"), Some("t")), "{got:?}");
    }
    let circle = said(&house, &[format!("{}/circle", server.url())]).await;
    assert!(circle[0].is_string(), "a circle is an error: {circle}");
    assert!(server.got_at("/circle").len() <= 21, "it ends soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_one_door_is_not_shown_at_another() {
    let other = sender().await;
    let place = other.url();
    let server = Server::start(move |got, _| match got.path.as_str() {
        "/see" => Say::to(303, &place),
        "/again" => Say::to(307, &place),
        "/inside" => Say::to(302, "/see"),
        _ => Say::text(404, "no such page"),
    })
    .await;
    let flow = r#"secrets: [CRM_TOKEN]
run: |
  let at = event.data;
  let headers = #{ "Authorization": "Bearer words", "Cookie": "a=words", "X-Api-Key": secret("CRM_TOKEN") };
  [
    http::get(at + "/see", #{ headers: headers }).status,
    http::get(at + "/inside", #{ headers: headers }).status,
    http::get(at + "/again", #{ headers: headers, query: #{ key: secret("CRM_TOKEN") } }).status,
    http::post(at + "/again", "nothing secret", #{ headers: headers }).status,
    http::request(#{ url: at + "/again", method: "PUT", headers: #{ "x-api-key": "k-" + secret("CRM_TOKEN") } }).status
  ]
"#;
    let house = House::open(&[("flows/f.yaml", flow), (".env", "CRM_TOKEN=hushhush\n"), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    assert_eq!(house.run_is(&id, "succeeded").await["result"], json!(vec![200; 5]));
    let mut first = server.got();
    first.retain(|got| got.header("x-api-key").is_some_and(|key| key.contains("hushhush")));
    assert_eq!(first.len(), server.count(), "where they were meant for they came");
    let got = other.got();
    assert_eq!(got.len(), 5);
    for got in got {
        for name in ["authorization", "cookie", "x-api-key"] {
            assert_eq!(got.header(name), None, "{got:?}");
        }
        assert!(!format!("{got:?}").contains("hushhush"), "{got:?}");
    }
}
