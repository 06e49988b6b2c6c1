//! `http::` in scripts: what goes out, what comes back, what is thrown, many calls at once.

use serde_json::{Value, json};

use super::server::{LOCAL, Say, Server, pairs};
use crate::support::Nobody;
use crate::support::engine::House;
use crate::support::until;

const EVERY: &str = r#"run: |
  let at = event.data;
  let answers = [
    http::get(at + "/get?a=1", #{ query: #{ b: "x y&z", c: [1, 2.5, true] }, headers: #{ "X-Tag": "t" } }),
    http::post(at + "/json", #{ name: "Ada", list: [1, (), true], after: duration("90m") }),
    http::post(at + "/text", "plain words"),
    http::post(at + "/typed", "<a/>", #{ headers: #{ "Content-Type": "application/xml" } }),
    http::post(at + "/form", (), #{ form: #{ name: "Ada L", tag: ["a", "b&c"] } }),
    http::post(at + "/bare"),
    http::put(at + "/put", [1, 2]),
    http::patch(at + "/patch", #{ a: 1 }),
    http::delete(at + "/delete"),
    http::delete(at + "/delete", #{ why: "old" }, #{}),
    http::head(at + "/head"),
    http::request(#{ url: at + "/usual" }),
    http::request(#{ method: "PUT", url: at + "/request", body: #{ a: 1 }, query: #{ q: 1 }, expect: "2xx" })
  ];
  answers.map(|answer| answer.status)
"#;

/// A script that makes these calls one after the other; of what is thrown it keeps the kind.
fn each(calls: &[&str]) -> String {
    let one = |call: &&str| format!("  try {{ said.push({call}); }} catch (e) {{ said.push(e.kind); }}\n");
    let calls: String = calls.iter().map(one).collect();
    format!("run: |\n  let at = event.data;\n  let said = [];\n{calls}  said\n")
}

/// What a script gives that is told where the server is.
async fn result(flow: &str, data: Value) -> Value {
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", data).await;
    house.run_is(&id, "succeeded").await["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_says_what_it_was_given() {
    let server = Server::start(|_, _| Say::Echo).await;
    assert_eq!(result(EVERY, json!(server.url())).await, json!(vec![200; 13]));
    let got = server.got();
    let seen: Vec<_> =
        got.iter().map(|got| (got.method.as_str(), got.path.as_str(), got.mime(), got.body.as_str())).collect();
    let (text, json) = (Some("text/plain"), Some("application/json"));
    let form = Some("application/x-www-form-urlencoded");
    let wanted = [
        ("GET", "/get", None, ""),
        ("POST", "/json", json, r#"{"after":"1h30m","list":[1,null,true],"name":"Ada"}"#),
        ("POST", "/text", text, "plain words"),
        ("POST", "/typed", Some("application/xml"), "<a/>"),
        ("POST", "/form", form, got[4].body.as_str()),
        ("POST", "/bare", None, ""),
        ("PUT", "/put", json, "[1,2]"),
        ("PATCH", "/patch", json, r#"{"a":1}"#),
        ("DELETE", "/delete", None, ""),
        ("DELETE", "/delete", json, r#"{"why":"old"}"#),
        ("HEAD", "/head", None, ""),
        ("GET", "/usual", None, ""),
        ("PUT", "/request", json, r#"{"a":1}"#),
    ];
    assert_eq!(seen, wanted);
    let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let query = [("a", "1"), ("b", "x y&z"), ("c", "1"), ("c", "2.5"), ("c", "true")];
    assert_eq!(got[0].asked(), own(&query));
    assert_eq!(got[0].header("x-tag"), Some("t"));
    assert_eq!(pairs(&got[4].body), own(&[("name", "Ada L"), ("tag", "a"), ("tag", "b&c")]));
    assert_eq!(got[12].asked(), own(&[("q", "1")]));
}

/// Has one page, and nothing else.
async fn small_server() -> Server {
    Server::start(|got, _| match got.path.as_str() {
        "/json" => {
            let headers = vec![("content-type", "application/json".to_owned()), ("x-tag", "yes".to_owned())];
            Say::Answer(200, headers, br#"{ "n": 1.5, "list": ["a", "b"], "none": null }"#.to_vec())
        }
        _ => Say::text(404, "no such page"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_its_fields_and_any_status_is_one() {
    let flow = r#"run: |
  let good = http::get(event.data + "/json");
  let bad = http::get(event.data + "/missing");
  [good.keys(), good.status, good.ok, good.headers["x-tag"], good.body, good.json.n, good.json.list[1],
   good.json.none, bad.status, bad.ok, bad.body, bad.json]
"#;
    let server = small_server().await;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    let run = house.run_is(&id, "succeeded").await;
    let fields = json!(["body", "headers", "json", "ok", "status"]);
    let body = r#"{ "n": 1.5, "list": ["a", "b"], "none": null }"#;
    assert_eq!(
        run["result"],
        json!([fields, 200, true, "yes", body, 1.5, "b", null, 404, false, "no such page", null])
    );
    let entries = run["entries"].as_array().unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| (entry["kind"].clone(), entry["line"].clone(), entry["result"]["status"].clone()))
        .collect();
    assert_eq!(shown, [(json!("http"), json!(2), json!(200)), (json!("http"), json!(3), json!(404))]);
    assert!(entries[0]["request"].to_string().contains("/json"), "{}", entries[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_status_is_thrown_only_where_one_is_expected() {
    let server = small_server().await;
    let flow = each(&[
        r#"http::get(at + "/missing").status"#,
        r#"http::get(at + "/missing", #{ expect: "2xx" }).status"#,
        r#"http::get(at + "/missing", #{ expect: "4xx" }).status"#,
        r#"http::get(at + "/missing", #{ expect: "404" }).status"#,
        r#"http::get(at + "/json", #{ expect: "2xx" }).status"#,
        r#"http::get(at + "/json", #{ expect: "204" }).status"#,
    ]);
    assert_eq!(result(&flow, json!(server.url())).await, json!([404, "status", 404, 404, 200, "status"]));
    let flow = "run: |\n  let n = 1;\n  http::get(event.data + \"/missing\", #{ expect: \"2xx\" });\n";
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    let error = house.run_is(&id, "failed").await["error"].clone();
    assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("status"), Some(3)), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(["404", "/missing", "2xx"].iter().all(|part| message.contains(part)), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_thrown_and_nothing_is_asked_twice() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/held" => Say::Held,
        _ => Say::Vanish,
    })
    .await;
    let nobody = Nobody::at_a_port();
    let refused = format!("http::get(\"{}\")", nobody.url);
    let flow = each(&[
        refused.as_str(),
        r#"http::get(at + "/held", #{ timeout: "500ms" })"#,
        r#"http::post(at + "/vanish", "x")"#,
        r#"http::get(at + "/vanish", #{ expect: "2xx" })"#,
    ]);
    let house = House::open(&[("flows/f.yaml", &flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], json!(["unreachable", "timeout", "unreachable", "unreachable"]));
    // Errors are answers too: they are on record, each with what it says.
    let kinds: Vec<_> = run["entries"].as_array().unwrap().iter().map(|entry| entry["error"]["kind"].clone()).collect();
    assert_eq!(json!(kinds), run["result"]);
    assert_eq!(server.got_at("/vanish").len(), 2);
    assert!(server.got_at("/held").len() <= 1);

    let bare = "run: |\n  let n = 1;\n  http::get(event.data);\n";
    let house = House::open(&[("flows/f.yaml", bare), LOCAL]).await;
    let id = house.trigger("f", json!(nobody.url)).await;
    let error = house.run_is(&id, "failed").await["error"].clone();
    assert_eq!(error["line"], 3, "{error}");
    assert!(error["message"].as_str().unwrap().contains(&nobody.url), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_misspelt_is_an_error_at_the_line_and_calls_nobody() {
    let server = Server::start(|_, _| Say::Echo).await;
    let wrong = [
        (r#"http::get(at, #{ heders: #{} })"#, "invalid"),
        (r#"http::get(at, #{ timeout: "soon" })"#, "invalid"),
        (r#"http::get(at, #{ timeout: "0s" })"#, "invalid"),
        (r#"http::get(at, #{ expect: "fine" })"#, "invalid"),
        (r#"http::get(at, #{ headers: 5 })"#, "type"),
        (r#"http::get(at, #{ query: #{ a: #{} } })"#, "type"),
        (r#"http::get(at, #{ headers: #{ "X y": "1" } })"#, "invalid"),
        (r#"http::get(at, #{ headers: #{ x: "a\r\nX-Other: b" } })"#, "invalid"),
        (r#"http::get("ftp://127.0.0.1/")"#, "invalid"),
        (r#"http::get("example.com")"#, "invalid"),
        (r#"http::get(5)"#, "type"),
        (r#"http::post(at, "x", #{ form: #{ a: 1 } })"#, "invalid"),
        (r#"http::request(#{ method: "GRAB", url: at })"#, "invalid"),
        (r#"http::request(#{ url: at, bodi: 1 })"#, "invalid"),
        (r#"http::all([])"#, "invalid"),
        (r#"http::all(["x"])"#, "type"),
        (r#"http::all([#{ url: at }, #{ url: "x" }])"#, "invalid"),
    ];
    let flows: Vec<(String, String)> = wrong
        .iter()
        .enumerate()
        .map(|(n, (call, _))| (format!("flows/f{n}.yaml"), format!("run: |\n  let at = event.data;\n  {call};\n")))
        .collect();
    let mut files: Vec<(&str, &str)> = flows.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(LOCAL);
    let house = House::open(&files).await;
    for (n, (call, kind)) in wrong.iter().enumerate() {
        let id = house.trigger(&format!("f{n}"), json!(server.url())).await;
        let error = house.run_is(&id, "failed").await["error"].clone();
        assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some(*kind), Some(3)), "{call}: {error}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_have_four_mebibytes() {
    let server = Server::start(|got, _| {
        let more = usize::from(got.path == "/more");
        Say::Answer(200, Vec::new(), vec![b'x'; (4 << 20) + more])
    })
    .await;
    let flow = each(&[
        r#"http::get(at + "/more").status"#,
        r#"http::get(at + "/most").body.len"#,
        r#"http::all([#{ url: at + "/more" }])[0].error.kind"#,
    ]);
    assert_eq!(result(&flow, json!(server.url())).await, json!(["too_large", 4 << 20, "too_large"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_go_out_at_once_and_come_back_in_order() {
    let server = Server::start(|_, _| Say::Held).await;
    let flow = r#"run: |
  let calls = [];
  for n in 0..8 { calls.push(#{ url: `${event.data}/${n}`, method: "POST", body: #{ n: n } }); }
  http::all(calls).map(|answer| answer.body)
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    until("all of them to be there together", async || (server.held() == 8).then_some(())).await;
    let run = house.run_is(&id, "waiting").await;
    assert_eq!(run["waiting_for"]["kind"], "http", "{run}");
    server.release();
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], json!(["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]));
    assert_eq!(run["entries"].as_array().unwrap().len(), 1);
    for got in server.got() {
        assert_eq!(got.body, format!("{{\"n\":{}}}", got.path.trim_start_matches('/')));
    }
    assert_eq!(server.count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_all_has_its_own_fate() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/good" => Say::text(200, "good"),
        "/missing" => Say::text(404, "missing"),
        "/broken" => Say::text(500, "broken"),
        "/held" => Say::Held,
        _ => Say::Vanish,
    })
    .await;
    let nobody = Nobody::at_a_port();
    let flow = r#"run: |
  let at = event.data.at;
  let answers = http::all([
    #{ url: at + "/good", expect: "2xx" },
    #{ url: at + "/missing" },
    #{ url: at + "/broken", expect: "2xx" },
    #{ url: event.data.nobody },
    #{ url: at + "/vanish" },
    #{ url: at + "/held", timeout: "200ms" },
    #{ url: "http://10.1.2.3/" }
  ]);
  answers.map(|answer| [answer.status, answer.ok, answer.body, answer.error?.kind])
"#;
    let data = json!({ "at": server.url(), "nobody": nobody.url });
    let wanted = json!([
        [200, true, "good", null],
        [404, false, "missing", null],
        [500, false, "broken", "status"],
        [0, false, "", "unreachable"],
        [0, false, "", "unreachable"],
        [0, false, "", "timeout"],
        [0, false, "", "refused"],
    ]);
    assert_eq!(result(flow, data).await, wanted);
}
