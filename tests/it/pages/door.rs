//! Who is let in, and what a browser may do with what it gets.

use reqwest::Method;
use serde_json::json;

use super::{ASKS, Visitor};
use crate::support::binary::{self, Process};
use crate::support::engine::House;
use crate::support::{client, folder, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_once_and_the_cookie_is_not_the_token() {
    let house = House::open(&[ASKS]).await;
    let link = house.engine.link();
    let first = client().get(&link).send().await.unwrap();
    assert_eq!(first.status(), 200);
    let cookie = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    let port = house.engine.address().admin.port();
    assert!(cookie.starts_with(&format!("postrider-{port}=")), "{cookie}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let token = std::fs::read_to_string(house.folder.path().join(".postrider/admin-token")).unwrap();
    assert!(!cookie.contains(token.trim()) && !first.text().await.unwrap().contains(token.trim()));
    let again = client().get(&link).send().await.unwrap();
    assert_eq!(again.status(), 401);
    assert!(again.headers().get("set-cookie").is_none());
    let page = again.text().await.unwrap();
    assert!(page.contains("This link does not open any more") && page.contains("postrider open"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_too_old_after_ten_minutes_and_a_browser_after_a_month() {
    let house = House::open(&[]).await;
    let link = house.engine.link();
    let visitor = Visitor::of(&house).await;
    house.pass(super::MINUTE * 10);
    assert_eq!(client().get(&link).send().await.unwrap().status(), 401);
    assert_eq!(visitor.request(Method::GET, "/").send().await.unwrap().status(), 200);
    house.pass(super::MINUTE * 60 * 24 * 31);
    assert_eq!(visitor.request(Method::GET, "/").send().await.unwrap().status(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_let_in_is_shown_the_door_and_comes_back_to_where_it_wanted_to_go() {
    let house = House::open(&[]).await;
    let base = format!("http://{}", house.engine.address().admin);
    let away = client().get(format!("{base}/runs?state=failed")).send().await.unwrap();
    assert_eq!(away.status(), 303);
    let door = away.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(door, "/sign-in?back=%2Fruns%3Fstate%3Dfailed");
    let page = client().get(format!("{base}{door}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("value=\"/runs?state=failed\""), "{page}");
    // The code may be typed, in whatever spelling.
    let link = house.engine.link();
    let code = link.rsplit_once('=').unwrap().1;
    let typed = format!("code={}-{}&back=%2Fruns%3Fstate%3Dfailed", code[..4].to_uppercase(), &code[4..]);
    let send = async |body: String| {
        let request = client().post(format!("{base}/sign-in")).body(body);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    };
    let inside = send(typed).await;
    assert_eq!(inside.status(), 200);
    assert!(inside.text().await.unwrap().contains("content=\"0;url=/runs?state=failed\""));
    // Nobody is sent anywhere else.
    for back in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2F%09%2Fevil.example",
        "javascript%3Aalert(1)",
    ] {
        let link = house.engine.link();
        let answer = client().get(format!("{link}&back={back}")).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("content=\"0;url=/\"") && !answer.contains("evil"), "{back}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_down_and_who_has_the_token_does_not_wait() {
    let house = House::open(&[]).await;
    let base = format!("http://{}", house.engine.address().admin);
    let guess = async |code: &str| client().get(format!("{base}/sign-in?code={code}")).send().await.unwrap().status();
    for _ in 0..3 {
        assert_eq!(guess("abcdefghjkmnpqrs").await, 401);
    }
    let held = client().get(format!("{base}/sign-in?code=abcdefghjkmnpqrs")).send().await.unwrap();
    assert_eq!((held.status().as_u16(), held.headers()["retry-after"].to_str().unwrap()), (429, "30"));
    let bearer = async |token: &str| {
        client().get(format!("{base}/api/v1/flows")).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(bearer("wrong").await, 429, "they count together");
    // The scheme's name is written in any letters (RFC 9110, 11.1).
    let token = std::fs::read_to_string(house.folder.path().join(".postrider/admin-token")).unwrap();
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let request = client().get(format!("{base}/api/v1/flows")).header("authorization", format!("{scheme} {token}"));
        assert_eq!(request.send().await.unwrap().status(), 200, "{scheme}");
    }
    house.get("/flows").await;
    // Nor does who has a link.
    assert_eq!(client().get(house.engine.link()).send().await.unwrap().status(), 200);
    for _ in 0..3 {
        guess("abcdefghjkmnpqrs").await;
    }
    assert_eq!(bearer("wrong").await, 429);
    house.pass(super::MINUTE);
    assert_eq!(bearer("wrong").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_told_to_and_all_of_them_can() {
    let house = House::open(&[]).await;
    let (one, other) = (Visitor::of(&house).await, Visitor::of(&house).await);
    let status = async |visitor: &Visitor| visitor.request(Method::GET, "/").send().await.unwrap().status().as_u16();
    assert_eq!((status(&one).await, status(&other).await), (200, 200));
    assert_eq!(one.send("/sign-out", &[]).await.status(), 303);
    assert_eq!((status(&one).await, status(&other).await), (303, 200));
    let (code, ended) = house.api(Method::DELETE, "/sessions", None).await;
    assert_eq!((code, ended), (200, json!({ "ended": 1 })));
    assert_eq!(status(&other).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_the_engine_and_stand_nowhere_in_clear() {
    let house = House::open(&[]).await;
    let visitor = Visitor::of(&house).await;
    let shown = visitor.cookie.split_once('=').unwrap().1.to_owned();
    let (folder, clock) = house.stop().await;
    for entry in walkdir::WalkDir::new(folder.path()).into_iter().flatten().filter(|entry| entry.file_type().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&shown), "{}", entry.path().display());
    }
    let house = House::again(folder, clock).await;
    let url = format!("http://{}/", house.engine.address().admin);
    // The port may be another one, and with it the name.
    let cookie = format!("postrider-{}={shown}", house.engine.address().admin.port());
    assert_eq!(client().get(url).header("cookie", cookie).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_addresses_may_do_nothing_in_a_browsers_name() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    let address = house.engine.address().admin;
    let own = format!("http://{address}");
    let neighbour = format!("http://127.0.0.1:{}", address.port().wrapping_add(1));
    let post = async |headers: &[(&str, &str)]| {
        let mut request = client().post(format!("{own}/flows/approval/start")).header("cookie", &visitor.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for (headers, status) in [
        (&[("origin", own.as_str())][..], 303),
        (&[("sec-fetch-site", "same-origin")], 303),
        (&[("origin", neighbour.as_str())], 403),
        (&[("origin", neighbour.as_str()), ("sec-fetch-site", "same-site")], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[], 403),
        (&[("sec-fetch-site", "none")], 403),
        (&[("origin", own.as_str()), ("sec-fetch-site", "cross-site")], 403),
    ] {
        assert_eq!(post(headers).await, status, "{headers:?}");
    }
    assert_eq!(house.runs_of("approval").await.len(), 2);
    // What a page of another port asks for with the browser's cookie is not given either.
    let read = client().get(format!("{own}/api/v1/runs")).header("cookie", &visitor.cookie);
    assert_eq!(read.header("sec-fetch-site", "same-site").send().await.unwrap().status(), 403);
    // The API takes a page's own request.
    let read = client().get(format!("{own}/api/v1/runs")).header("cookie", &visitor.cookie);
    assert_eq!(read.header("sec-fetch-site", "same-origin").send().await.unwrap().status(), 200);
    // Another name is another's.
    let other = client().get(format!("{own}/")).header("cookie", &visitor.cookie).header("host", "evil.example");
    assert_eq!(other.send().await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_browsers_may_do_with_it() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    for path in ["/", "/sign-in", "/nowhere", "/api/v1/flows", "/metrics", "/healthz", "/runs/nothing"] {
        let response = visitor.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        let kept = (header("x-content-type-options"), header("referrer-policy"), header("cache-control"));
        assert_eq!(kept, ("nosniff".into(), "no-referrer".into(), "no-store".into()), "{path}");
    }
    // What is drawn with is kept by its hash.
    let page = visitor.page("/").await;
    let style = page.split("href=\"").find(|part| part.contains("postrider.css")).unwrap().split('"').next().unwrap();
    let response = visitor.request(Method::GET, style).send().await.unwrap();
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("<style"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pages_are_drawn_with_is_small() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.page("/").await;
    let mut all = 0;
    for (name, most) in [("postrider.css", 48 << 10), ("postrider.js", 24 << 10), ("icons.svg", 16 << 10)] {
        let path = page.split('"').find(|part| part.contains(name)).unwrap().split('#').next().unwrap();
        let size = visitor.page(path).await.len();
        assert!(size <= most, "{name} has {size} bytes");
        all += size;
    }
    assert!(all <= 150_000, "{all}");
    // A list of fifty rows.
    for _ in 0..50 {
        house.trigger("approval", json!(null)).await;
    }
    for path in ["/runs", "/messages"] {
        let size = visitor.page(path).await.len();
        assert!(size <= 75_000, "{path} has {size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_not_there_say_so_as_pages_and_the_api_as_json() {
    let house = House::open(&[ASKS]).await;
    let visitor = Visitor::of(&house).await;
    for (path, status, says) in [
        ("/runs/01900000-0000-7000-8000-000000000000", 404, "There is no such run"),
        ("/runs/nothing", 400, "is no"),
        ("/flows/aproval", 404, "Did you mean `approval`?"),
        ("/people/nobody", 400, "no phone"),
        ("/pictures/abc", 404, "There is no such picture"),
        ("/runs?state=odd", 400, "is none of"),
        ("/schedule?from=never", 400, "is no day"),
        ("/schedule?from=9999-12-31", 400, "No week begins"),
        ("/why?of=approval&day=xx", 200, "Write one such as <code>2026-10-25</code>"),
        ("/why?of=nobody", 200, "Write the name of a flow, a phone"),
        ("/people/%ff", 400, "not written in UTF-8"),
        ("/sign-out", 405, "does not take this method"),
    ] {
        let response = visitor.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        assert!(kind.starts_with("text/html") && text.contains(says), "{path}: {text}");
    }
    let (status, answer) = house.api(Method::GET, "/nowhere", None).await;
    assert_eq!((status, &answer["error"]["kind"]), (404, &json!("not_found")));
    let (status, answer) = house.api(Method::DELETE, "/flows", None).await;
    assert_eq!((status, &answer["error"]["kind"]), (405, &json!("method")));
    let (status, answer) = house.api(Method::GET, "/people/%C3", None).await;
    assert_eq!((status, &answer["error"]["kind"]), (400, &json!("invalid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_a_link() {
    let folder = folder(&[ASKS]);
    let engine = Process::start(folder.path());
    assert!(engine.ready_line.contains(&format!("dashboard at http://{}/sign-in?code=", engine.admin)));
    let link = binary::said(folder.path(), &["open"]);
    assert!(link.starts_with(&format!("http://{}/sign-in?code=", engine.admin)), "{link}");
    assert_eq!(client().get(link.trim()).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn editing_can_be_switched_off() {
    let house = House::open(&[ASKS, ("postrider.yaml", "dashboard: { edit: false }\n")]).await;
    let visitor = Visitor::of(&house).await;
    let page = visitor.page("/flows/approval").await;
    assert!(!page.contains("/edit\""), "{page}");
    let text = "run: 1\n";
    let source = house.get("/flows/approval/source").await;
    let saved =
        visitor.form("/flows/approval/edit", &[("text", text), ("hash", source["hash"].as_str().unwrap())]).await;
    assert!(saved.contains("Flows are not edited here"), "{saved}");
    let (status, _) = house.api(Method::POST, "/flows", Some(json!({ "name": "fresh", "text": text }))).await;
    assert_eq!(status, 403);
    // It is the settings' to say, at once.
    write(house.folder.path(), "postrider.yaml", "dashboard: { edit: true }\n");
    super::page_says(&visitor, "/flows/approval", "/flows/approval/edit").await;
}
