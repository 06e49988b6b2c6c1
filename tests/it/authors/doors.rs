//! Webhooks: which of them are locked, and that no lock is beside its door.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::check;
use crate::support::engine::{House, flow_in};
use crate::support::{binary, folder};

fn hook(more: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: /a, {more} }}\nrun: 1\n")
}

#[test]
fn an_empty_lock_is_an_error_and_an_open_door_says_so() {
    for (written, part) in [
        ("    verify:\n    # token: ${TOKEN}\n", "`verify` has no value (write its value, or remove the key)"),
        ("    verify: ~\n", "`verify` has no value"),
        ("    verify: null\n", "`verify` has no value"),
        ("    verify: Null\n", "`verify` has no value"),
        ("    verify: \"\"\n", "the word `none`"),
        ("    verify: None\n", "the word `none`"),
        ("    verify: false\n", "the word `none`"),
        ("    verify: {}\n", "one way of verifying"),
        ("    verify: { token: }\n", "takes a text, not nothing"),
        ("    verify: { token: [] }\n", "takes one secret"),
        ("    verify: { token: \"\" }\n", "anybody could come in"),
        ("    verify: { token: \"  \" }\n", "anybody could come in"),
        ("    verify: { token: [a-long-random-text, \"\\t\"] }\n", "anybody could come in"),
        ("    verify: { hmac: }\n", "`hmac` is a map, not nothing"),
        ("    verify: { hmac: { header: X-Sig, secret: } }\n", "`secret` has no value"),
        ("    verify: { hmac: { header: X-Sig, secret: \" \" } }\n", "anybody could come in"),
        (
            "    verify: { hmac: { header: X-Sig, secret: a-long-random-text, algorithm: } }\n",
            "`algorithm` has no value",
        ),
        ("    methods:\n", "`methods` has no value"),
        ("    respond:\n", "`respond` has no value"),
    ] {
        let flow = format!("triggers:\n- webhook:\n    path: /a\n{written}run: 1\n");
        let said = check(&[("flows/a.yaml", &flow)]);
        assert!(
            said.iter().any(|said| said.starts_with("error flows/a.yaml:") && said.contains(part)),
            "{written}{said:?}"
        );
    }
    let exposed = ("postrider.yaml", "listen: 0.0.0.0:8700\n");
    let two = "triggers:\n  - webhook: /a\n  - webhook: /b\nrun: 1\n";
    let said = check(&[exposed, ("flows/a.yaml", two)]);
    let wanted = "warning flows/a.yaml:2 anybody who can reach this computer may call the webhook /a (add `verify: ";
    assert!(said.len() == 1 && said[0].starts_with(wanted) && said[0].contains("`verify: none`"), "{said:?}");
    let said = check(&[exposed, ("flows/a.yaml", &hook("verify: { token: a-long-random-text, mode: observe }"))]);
    assert!(said.len() == 1 && said[0].contains("anybody") && said[0].contains("`mode: observe` away"), "{said:?}");
    for (settings, flow) in [
        ("listen: 127.0.0.2:8700\n", two.to_owned()),
        ("listen: \"[::1]:8700\"\n", two.to_owned()),
        (exposed.1, hook("verify: none")),
        (exposed.1, hook("verify: { token: a-long-random-text }")),
        (exposed.1, format!("enabled: false\n{two}")),
    ] {
        assert_eq!(
            check(&[("postrider.yaml", settings), ("flows/a.yaml", &flow)]),
            [] as [&str; 0],
            "{settings}{flow}"
        );
    }
    for settings in ["listen: \"[::]:8700\"\n", "listen: 192.0.2.1:8700\n", "listen: \"[::ffff:192.0.2.1]:8700\"\n"] {
        assert_eq!(check(&[("postrider.yaml", settings), ("flows/a.yaml", two)]).len(), 1, "{settings}");
    }
}

#[test]
fn short_secrets_are_told() {
    for (more, warns) in [
        ("verify: { token: fifteen-letters }", true),
        ("verify: { token: sixteen-letters. }", false),
        ("verify: { token: [sixteen-letters., \"   short          \"] }", true),
        ("verify: { hmac: { header: X-Sig, secret: short } }", true),
        ("verify: { hmac: { header: X-Sig, secret: 1234567890123456 } }", false),
    ] {
        let said = check(&[("flows/a.yaml", &hook(more))]);
        assert_eq!(said.len(), usize::from(warns), "{more}: {said:?}");
        let told =
            |said: &String| said.starts_with("warning flows/a.yaml:2 ") && said.contains("fewer than 16 letters");
        assert!(said.iter().all(told), "{more}: {said:?}");
        assert!(said.iter().all(|said| !said.contains("short ") && !said.contains("fifteen")), "{said:?}");
    }
}

#[test]
fn the_list_of_flows_says_which_webhooks_are_locked() {
    let flow = "triggers:\n  - webhook: { path: /a, verify: { token: a-long-random-text } }\n  - webhook: /b\nrun: 1\n";
    let folder = folder(&[("flows/a.yaml", flow)]);
    let _process = binary::Process::start(folder.path());
    let flows = binary::json(folder.path(), &["flows"]);
    let triggers = &flow_in(&flows, "a")["triggers"];
    assert_eq!((&triggers[0]["verified"], &triggers[1]["verified"]), (&json!(true), &json!(false)));
    let said = binary::said(folder.path(), &["flows"]);
    assert!(said.contains("webhook /hooks/a (verified), webhook /hooks/b (not verified)"), "{said}");
}

/// Posts to a path that is sent just as it is written here, with a token or without.
async fn post(house: &House, path: &str, token: bool) -> (u16, Value) {
    let address = house.engine.address().listen;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let token = if token { "X-Token: a-long-random-text\r\n" } else { "" };
    let head =
        format!("POST /hooks{path} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_what_it_means_however_it_is_written() {
    let flow = r#"
triggers:
  - webhook: { path: /par/admin/x, respond: result, verify: { token: a-long-random-text } }
  - webhook: { path: "/par/{shop}/x", respond: result }
  - webhook: { path: /größe/straße, respond: result }
  - webhook: { path: "/two/{a}/{b}", respond: result }
run: "[event.path, event.params]"
"#;
    let house = House::open(&[("flows/a.yaml", flow)]).await;
    let flows = house.get("/flows").await;
    let said = super::lines(&flows["diagnostics"]);
    let wanted = "warning flows/a.yaml:4 some calls of /par/{shop}/x are meant by /par/admin/x as well";
    assert!(said.len() == 1 && said[0].starts_with(wanted), "{said:?}");
    // The lock is before the door, in all writings.
    for path in ["/par/admin/x", "/par/%61dmin/x", "/par/%61%64%6D%69%6e/x", "/par/adm%69n/%78", "/%70ar/admin/x"] {
        assert_eq!(post(&house, path, false).await.0, 401, "{path}");
        assert_eq!(post(&house, path, true).await, (200, json!([path, {}])), "{path}");
    }
    // These are no writings of it.
    for (path, shop) in [
        ("/par/Admin/x", "Admin"),
        ("/par/%2561dmin/x", "%61dmin"),
        ("/par/admin%00/x", "admin\0"),
        ("/par/admin%0a/x", "admin\n"),
        ("/par/admin%2Fx/x", "admin/x"),
        ("/par/%2fadmin/x", "/admin"),
        ("/par/..%2fadmin/x", "../admin"),
        ("/par/%7Bshop%7D/x", "{shop}"),
        ("/par/k%C3%B6ln/x", "köln"),
        ("/par/köln/x", "köln"),
        ("/par/100%/x", "100%"),
        ("/par/%zz/x", "%zz"),
        ("/par/a+b/x", "a+b"),
    ] {
        assert_eq!(post(&house, path, false).await, (200, json!([path, { "shop": shop }])), "{path}");
    }
    for path in ["/größe/straße", "/gr%C3%B6%C3%9Fe/stra%c3%9fe", "/gr%c3%b6ße/straße"] {
        assert_eq!(post(&house, path, false).await.0, 200, "{path}");
    }
    // A part that is empty or no text is nothing; nor does a part reach over a slash.
    for path in [
        "/par//x",
        "/par/%FF/x",
        "/par/a%C3/x",
        "/par/admin%2fx",
        "/par%2fadmin/x",
        "/par/a/x/",
        "//par/a/x",
        "/par/a//x",
        "/two//b",
        "/two/a/",
        "/two/a",
        "/two/a/b/c",
    ] {
        assert_eq!(post(&house, path, true).await.0, 404, "{path}");
    }
    assert_eq!(post(&house, "/two/a%2Fb/c%20d", false).await.1[1], json!({ "a": "a/b", "b": "c d" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_would_take_anothers_calls_is_refused_to_the_one_who_comes_second() {
    let hook = |path: &str, more: &str| {
        format!("triggers:\n  - webhook: {{ path: \"{path}\", respond: result{more} }}\nrun: event.flow\n")
    };
    let house = House::open(&[
        ("flows/z.yaml", &hook("/orders/{shop}", "")),
        ("flows/y.yaml", &hook("/{any}/list/{id}", "")),
        ("flows/x.yaml", &hook("/plain/list", "")),
    ])
    .await;
    assert_eq!(house.get("/flows").await["diagnostics"], json!([]));
    // However it calls its file: who was there first stays.
    for (path, more, other) in [
        ("/orders/acme", "", "/orders/{shop} of flows/z.yaml"),
        ("/{shop}/acme", "", "/orders/{shop} of flows/z.yaml"),
        ("/{shop}/acme", ", methods: [PUT, POST]", "/orders/{shop} of flows/z.yaml"),
        ("/orders/list/{id}", "", "/{any}/list/{id} of flows/y.yaml"),
        ("/a/{b}/c", "", "/{any}/list/{id} of flows/y.yaml"),
        ("/plain/{what}", "", "/plain/list of flows/x.yaml"),
    ] {
        house.write("flows/a.yaml", &hook(path, more));
        let said = |flows: &Value| flows["diagnostics"].to_string().contains(other);
        let flows = house.flows_are(path, said).await;
        assert!(flow_in(&flows, "a").is_null(), "{flows}");
        let said = super::lines(&flows["diagnostics"]);
        assert!(said.len() == 1 && said[0].starts_with("error flows/a.yaml:0 "), "{said:?}");
        assert_eq!(house.hook("/orders/acme", &json!({})).await, (200, json!("z")), "{path}");
        house.remove("flows/a.yaml");
        house.flows_are("nothing to say", |flows| flows["diagnostics"] == json!([])).await;
    }
    // Another method, another length, other words: no collision.
    for (path, more) in
        [("/orders/acme", ", methods: [PUT]"), ("/orders/acme/x", ""), ("/orders", ""), ("/other/{shop}", "")]
    {
        house.write("flows/a.yaml", &hook(path, more));
        let hooked = format!("/hooks{path}");
        let flows = house.flows_are(path, |flows| flow_in(flows, "a")["triggers"][0]["path"] == hooked).await;
        assert_eq!(flow_in(&flows, "a")["stale"], false, "{flows}");
    }
    // A flow that is live and is changed so stays what it was, also after a crash.
    house.write("flows/x.yaml", &hook("/orders/acme", ""));
    house.flows_are("x to be stale", |flows| flow_in(flows, "x")["stale"] == true).await;
    let house = house.crash().await;
    assert_eq!(house.hook("/orders/acme", &json!({})).await, (200, json!("z")));
    assert_eq!(house.hook("/plain/list", &json!({})).await, (200, json!("x")));
}
