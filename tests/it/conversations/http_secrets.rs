//! Secrets in calls: in clear on the wire, and nowhere else, whatever the server says back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::server::{LOCAL, Say, Server, pairs};
use crate::support::Nobody;
use crate::support::engine::House;

/// What addresses and forms write otherwise, and letters that nothing writes otherwise.
const SECRET: &str = "k/+&=hushhush";
const LETTERS: &str = "hushhush";
const ENV: (&str, &str) = (".env", "CRM_TOKEN=k/+&=hushhush\n");

/// All that the engine has written down.
fn stored(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join(".postrider")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push((path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    files
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Nobody can read the secret, neither in the API nor on the disk.
async fn is_nowhere(house: &House, run: &str) -> Value {
    let shown = house.get(&format!("/runs/{run}")).await;
    assert!(!shown.to_string().contains(LETTERS), "{shown}");
    let list = house.get("/runs").await.to_string();
    assert!(!list.contains(LETTERS), "{list}");
    let files = stored(house.folder.path());
    assert!(files.iter().any(|(_, bytes)| holds(bytes, run)), "it was looked where runs are");
    for (path, bytes) in files {
        assert!(!holds(&bytes, LETTERS), "it stands in {}", path.display());
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_clear_on_the_wire_and_by_name_everywhere_else() {
    let server = Server::start(|_, _| Say::Echo).await;
    let flow = r#"secrets: [CRM_TOKEN]
run: |
  let at = event.data + "/echo";
  let token = secret("CRM_TOKEN");
  let answers = [
    http::get(at, #{ headers: #{ "Authorization": "Bearer " + token } }),
    http::get(at, #{ query: #{ token: token, a: "1" } }),
    http::post(at, (), #{ form: #{ token: "t:" + token, a: "1" } }),
    http::post(at, #{ deep: [#{ token: "<" + token + ">" }], n: 1 }),
    http::post(at, "token: " + token + "\n"),
    http::put(at, token),
    http::request(#{ url: at, method: "PATCH", body: [token], headers: #{ "X-Api-Key": token } })
  ];
  answers.append(http::all([#{ url: at, headers: #{ "X-Api-Key": token } }, #{ url: at, query: #{ k: token } }]));
  log::info(answers[0].body);
  send_text("+15417543010", answers[1].body);
  answers
"#;
    let house = House::open(&[("flows/f.yaml", flow), ENV, LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    house.run_is(&id, "succeeded").await;
    house.messages_are(1, "delivered").await;

    let got = server.got();
    let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(got[0].header("authorization"), Some("Bearer k/+&=hushhush"));
    assert_eq!(got[1].asked(), own(&[("a", "1"), ("token", SECRET)]));
    assert_eq!(pairs(&got[2].body), own(&[("a", "1"), ("token", "t:k/+&=hushhush")]));
    let body = |number: usize| -> Value { serde_json::from_str(&got[number].body).unwrap() };
    assert_eq!(body(3), json!({ "deep": [{ "token": "<k/+&=hushhush>" }], "n": 1 }));
    assert_eq!(got[4].body, "token: k/+&=hushhush\n");
    assert_eq!(got[5].body, SECRET);
    assert_eq!((body(6), got[6].header("x-api-key")), (json!([SECRET]), Some(SECRET)));
    let mut both = [&got[7], &got[8]].map(|got| (got.header("x-api-key"), got.asked()));
    both.sort();
    assert_eq!(both, [(None, own(&[("k", SECRET)])), (Some(SECRET), Vec::new())]);

    let run = is_nowhere(&house, &id).await;
    assert_eq!(run["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "http").count(), 8);
    for entry in run["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "http") {
        assert!(entry["request"].to_string().contains("CRM_TOKEN"), "the journal holds its name: {entry}");
    }
    // The server said it back, in its header too; what stands in its place is no secret.
    assert_eq!(run["result"][0]["headers"]["x-said"], "Bearer ***");
    let phones = house.get("/sandbox/messages").await.to_string();
    assert!(!phones.contains(LETTERS), "{phones}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_do_not_tell_a_secret() {
    let nobody = Nobody::at_a_port();
    let place = format!("{}/{SECRET}", nobody.url);
    let server = Server::start(move |got, _| match got.path.as_str() {
        "/away" => Say::to(302, &place),
        "/held" => Say::Held,
        "/no" => Say::text(401, &format!("`{}` is no token", got.header("x-api-key").unwrap())),
        _ => Say::Vanish,
    })
    .await;
    let flow = r#"secrets: [CRM_TOKEN]
run: |
  let at = event.data;
  let headers = #{ "X-Api-Key": secret("CRM_TOKEN") };
  let query = #{ key: secret("CRM_TOKEN") };
  let said = [];
  try { http::get(at + "/away", #{ headers: headers }); } catch (e) { said.push(e.message); }
  try { http::get(at + "/held", #{ query: query, timeout: "200ms" }); } catch (e) { said.push(e.message); }
  try { http::get(at + "/vanish", #{ query: query }); } catch (e) { said.push(e.message); }
  try { http::get(at + "/no", #{ headers: headers, expect: "2xx" }); } catch (e) { said.push(e.message); }
  for answer in http::all([
    #{ url: at + "/away", headers: headers },
    #{ url: at + "/vanish", query: query },
    #{ url: at + "/no", headers: headers, expect: "2xx" }
  ]) {
    said.push(answer.error.message);
  }
  log::error(said);
  http::get(at + "/no", #{ headers: headers, expect: "2xx" })
"#;
    let house = House::open(&[("flows/f.yaml", flow), ENV, LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    house.run_is(&id, "failed").await;
    assert_eq!(server.got_at("/no")[0].header("x-api-key"), Some(SECRET));
    let run = is_nowhere(&house, &id).await;
    assert_eq!(run["error"]["kind"], "status", "{run}");
    assert!(run["error"]["message"].as_str().unwrap().contains("***"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_another_answer_says_is_not_put_on_record() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/login" => Say::text(200, "welcome"),
        // A page that shows people their own key.
        _ => Say::Answer(200, vec![("x-key", SECRET.to_owned())], format!("your key: {SECRET}").into()),
    })
    .await;
    let flow = r#"secrets: [CRM_TOKEN]
run: |
  http::post(event.data + "/login", #{ key: secret("CRM_TOKEN") });
  http::get(event.data + "/profile").body
"#;
    let house = House::open(&[("flows/f.yaml", flow), ENV, LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    house.run_is(&id, "succeeded").await;
    let run = is_nowhere(&house, &id).await;
    assert_eq!(run["result"], "your key: ***");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_an_address_but_in_its_path_is_an_error_at_the_line() {
    let server = Server::start(|_, _| Say::Echo).await;
    let calls = [
        r#"http::get(secret("CRM_TOKEN"))"#,
        r#"http::get(at + secret("CRM_TOKEN") + "/x")"#,
        r#"http::post(at + "?key=" + secret("CRM_TOKEN"), "x")"#,
        r#"http::post(at + "/x?key=" + secret("CRM_TOKEN"), "x")"#,
        r#"http::request(#{ url: at + "/#" + secret("CRM_TOKEN") })"#,
        r#"http::all([#{ url: at }, #{ url: "http://" + secret("CRM_TOKEN") + "/" }])"#,
    ];
    let flow = |call: &str| format!("secrets: [CRM_TOKEN]\nrun: |\n  let at = event.data;\n  {call};\n");
    let flows: Vec<(String, String)> =
        calls.iter().enumerate().map(|(n, call)| (format!("flows/f{n}.yaml"), flow(call))).collect();
    let mut files: Vec<(&str, &str)> = flows.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.extend([ENV, LOCAL]);
    let house = House::open(&files).await;
    for (n, call) in calls.iter().enumerate() {
        let id = house.trigger(&format!("f{n}"), json!(server.url())).await;
        let error = house.run_is(&id, "failed").await["error"].clone();
        assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("invalid"), Some(4)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains("secret"), "{call}: {error}");
        is_nowhere(&house, &id).await;
    }
    assert_eq!(server.count(), 0);
}
