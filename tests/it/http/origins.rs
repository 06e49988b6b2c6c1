//! Whose pages may call a webhook.

use super::Line;
use crate::support::engine::House;

const FLOWS: [(&str, &str); 4] = [
    ("flows/open.yaml", "triggers:\n  - webhook: { path: /open, methods: [POST, GET] }\nrun: 1\n"),
    (
        "flows/listed.yaml",
        "triggers:\n  - webhook: { path: /listed, methods: [POST, PUT], \
         origins: [\"https://shop.example.com\", \"http://localhost:3000\"] }\nrun: 1\n",
    ),
    (
        "flows/proven.yaml",
        "triggers:\n  - webhook: { path: /proven, verify: { token: \"${T:-a-token-of-some-length}\" }, \
         origins: [\"*\"] }\nrun: 1\n",
    ),
    (
        "flows/closed.yaml",
        "triggers:\n  - webhook: { path: /closed, verify: { token: \"${T:-a-token-of-some-length}\" } }\nrun: 1\n",
    ),
];

async fn ask(house: &House, request: &str, headers: &[&str]) -> super::Answer {
    let mut line = Line::to(house.engine.address().listen).await;
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    line.send(format!("{request} HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 0\r\n{headers}\r\n")).await;
    line.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_page_cannot_call_an_open_webhook() {
    let settings = ("postrider.yaml", "public_url: https://hooks.example.com\n");
    let house = House::open(&[&FLOWS[..], &[settings]].concat()).await;
    for headers in [
        &["Origin: https://evil.example"][..],
        &["Origin: null"],
        &["Origin: https://hooks.example.com.evil.example"],
        &["Origin: https://hooks.example.com:8443"],
        &["Origin: http://hooks.example.com", "Origin: https://evil.example"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &["sec-fetch-site: CROSS-SITE", "Origin: https://hooks.example.com"],
        &["Origin: https://evil.example", "Sec-Fetch-Site: same-origin"],
        &["Origin: https://evil.example", "Content-Type: application/x-www-form-urlencoded"],
    ] {
        for method in ["POST", "GET"] {
            let answer = ask(&house, &format!("{method} /hooks/open"), headers).await;
            assert_eq!(answer.status, 403, "{headers:?} {answer:?}");
            assert!(answer.text().contains("`origins"), "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    for headers in [
        &[][..],
        &["Origin: https://hooks.example.com", "Sec-Fetch-Site: same-origin"],
        &["Origin: http://HOOKS.example.com:80"],
        &["Sec-Fetch-Site: none"],
    ] {
        let answer = ask(&house, "POST /hooks/open", headers).await;
        assert!(matches!(answer.status, 200..300), "{headers:?} {answer:?}");
    }
    // Whoever shows that it may is not asked where it comes from.
    let token = "Authorization: Bearer a-token-of-some-length";
    let answer = ask(&house, "POST /hooks/closed", &["Origin: https://evil.example", token]).await;
    assert!(matches!(answer.status, 200..300), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(house.runs_of("open").await.len(), 4);
}

/// Whoever owns a name can have it lead to this computer: to the browser their page is then of the same site.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_name_was_led_here_cannot_call_an_open_webhook() {
    let house = House::open(&FLOWS).await;
    let port = house.engine.address().listen.port();
    let ask = async |host: &str, headers: &str| {
        let mut line = Line::to(house.engine.address().listen).await;
        line.send(format!("POST /hooks/open HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{headers}\r\n")).await;
        line.answer().await.status
    };
    for host in [format!("evil.example:{port}"), "localhost.evil.example".into(), "hooks.example.com".into()] {
        assert_eq!(
            ask(&host, &format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n")).await,
            403,
            "{host}"
        );
        assert_eq!(ask(&host, "Sec-Fetch-Site: same-origin\r\n").await, 403, "{host}");
        // Programs are not led.
        assert_eq!(ask(&host, "").await, 200, "{host}");
    }
    for host in [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "localhost".into(), "app.localhost".into()] {
        assert_eq!(
            ask(&host, &format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n")).await,
            200,
            "{host}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_listed_may_call_and_are_told_so_beforehand() {
    let house = House::open(&FLOWS).await;
    let origin = "https://shop.example.com";
    for (path, method) in [("/hooks/listed", "POST"), ("/hooks/listed", "PUT"), ("/hooks/proven", "POST")] {
        let wanted = format!("Access-Control-Request-Method: {method}");
        let headers =
            [&format!("Origin: {origin}"), wanted.as_str(), "Access-Control-Request-Headers: content-type, x-token"];
        let answer = ask(&house, &format!("OPTIONS {path}"), &headers).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert!(answer.header("access-control-allow-methods").unwrap().contains(&method.to_ascii_lowercase()));
        assert_eq!(answer.header("access-control-allow-headers"), Some("content-type, x-token"));
        assert!(answer.header("access-control-max-age").is_some() && answer.header("vary").is_some());
    }
    for (headers, status) in [
        (&["Origin: https://evil.example", "Access-Control-Request-Method: POST"][..], 403),
        (&["Origin: https://shop.example.com", "Access-Control-Request-Method: DELETE"], 405),
        (&["Origin: https://shop.example.com"], 405),
    ] {
        let answer = ask(&house, "OPTIONS /hooks/listed", headers).await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
    }
    let closed = ["Origin: https://shop.example.com", "Access-Control-Request-Method: POST"];
    assert_eq!(ask(&house, "OPTIONS /hooks/open", &closed).await.status, 405, "nobody is listed");
    assert!(house.runs_of("listed").await.is_empty(), "no run begins before the request itself");

    let page = ["Origin: https://shop.example.com", "Sec-Fetch-Site: cross-site"];
    let answer = ask(&house, "POST /hooks/listed", &page).await;
    assert!(matches!(answer.status, 200..300), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert_eq!(ask(&house, "POST /hooks/listed", &["Origin: http://localhost:3000"]).await.status / 100, 2);
    assert_eq!(ask(&house, "POST /hooks/listed", &["Origin: http://localhost:3001"]).await.status, 403);
    // A refusal can be read by the page too.
    let answer = ask(&house, "POST /hooks/proven", &page).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, Some(origin)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_real_ones() {
    let wrong = [
        ("shop.example.com", "no page's origin"),
        ("https://shop.example.com/", "no page's origin"),
        ("https://shop.example.com/path", "no page's origin"),
        ("ftp://shop.example.com", "no page's origin"),
        ("https://user@shop.example.com", "no page's origin"),
        ("https://*.example.com", "no page's origin"),
        ("null", "no page's origin"),
        ("*", "`verify`"),
    ];
    let flows: Vec<(String, String)> = wrong
        .iter()
        .enumerate()
        .map(|(n, (origin, _))| {
            let text = format!("triggers:\n  - webhook: {{ path: /w{n}, origins: [\"{origin}\"] }}\nrun: 1\n");
            (format!("flows/w{n}.yaml"), text)
        })
        .collect();
    let mut files: Vec<(&str, &str)> = flows.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("flows/none.yaml", "triggers:\n  - webhook: { path: /none, origins: [] }\nrun: 1\n"));
    let house = House::open(&files).await;
    let flows = house.get("/flows").await.to_string();
    let said = flows.matches("no page's origin").count();
    assert_eq!(said, wrong.len() - 1, "{flows}");
    assert!(flows.contains("`*` lets every page in"), "{flows}");
    assert_eq!(ask(&house, "POST /hooks/none", &["Origin: https://evil.example"]).await.status, 404, "it is no flow");
}
