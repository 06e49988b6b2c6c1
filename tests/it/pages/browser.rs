//! The dashboard in a real browser.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ADA, ASKS, MANAGER};
use crate::gateways::fake::{self, Fake, Mood};
use crate::support::binary::{self, Process, postrider};
use crate::support::browser::{Browser, How, is_there};
use crate::support::engine::House;
use crate::support::{folder, until, write};

/// What an outsider may write everywhere.
const MARKUP: &str = "<script>window.evil=1</script><img src=x onerror=window.evil=2>";

async fn opened(house: &House, how: How) -> Browser {
    let browser = Browser::open(how).await;
    browser.go(&house.engine.link()).await;
    browser.is_at("/").await;
    until("the overview", async || (!browser.at().await.contains("sign-in")).then_some(())).await;
    browser
}

fn base(house: &House) -> String {
    format!("http://{}", house.engine.address().admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_printed_link_to_an_answered_question_without_a_terminal() {
    if !is_there() {
        return;
    }
    let folder = folder(&[]);
    let engine = Process::start(folder.path());
    let link = engine.ready_line.split("dashboard at ").nth(1).unwrap().trim().to_owned();
    let browser = Browser::open(How::default()).await;
    browser.go(&link).await;
    browser.says("h1", "Welcome").await;
    browser.says("#live", "Live").await;
    browser.click("a[href='/flows/new?use=ask']").await;
    browser.says("h1", "New flow").await;
    // Broken: the mistake stands in its place a moment after the last key.
    let broken = "const t = document.querySelector('#editor textarea'); t.value = t.value.replace('send_text(', 'send_txt('); t.dispatchEvent(new Event('input', { bubbles: true }));";
    browser.js(broken, json!([])).await;
    browser.says("#weighed", "1 mistake").await;
    browser.says("#findings", "send_txt").await;
    let line = browser.text(".gutter .bad").await;
    assert!(!line.is_empty());
    let mended = broken.replace("'send_text(', 'send_txt('", "'send_txt(', 'send_text('");
    browser.js(&mended, json!([])).await;
    browser.says("#weighed", "no mistakes").await;
    browser.clear("#name").await;
    browser.types("#name", "wishes").await;
    browser.click("button[value=save]").await;
    browser.says("h1", "wishes").await;
    browser.says("#note", "flows/wishes.yaml is saved").await;
    browser.click("#start summary").await;
    browser.click("#start button").await;
    browser.says("#state", "waiting").await;
    let run = browser.at().await;
    // On the phone, by a button.
    browser.go(&format!("http://{}/phones", engine.admin)).await;
    let manager = "#phone-15417543011";
    browser.says(manager, "wants to buy a chair").await;
    browser.click(&format!("{manager} .choices button")).await;
    // The answer comes by itself, and the run ends by itself.
    browser.says("#phone-15417543010 .chat", "approved").await;
    browser.says(manager, "No run waits for this phone").await;
    browser.go(&run).await;
    browser.says("#state", "finished").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    // Nothing of it needed a terminal; what is left is what was done.
    let run = run.rsplit('/').next().unwrap();
    assert_eq!(binary::json(folder.path(), &["runs", "show", run])["result"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_follows_what_happens_and_survives_the_engines_death() {
    if !is_there() {
        return;
    }
    let folder = folder(&[ASKS, ("postrider.yaml", "listen: 127.0.0.1:0\n")]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = format!("127.0.0.1:{port}");
    let start = || {
        let command = postrider(folder.path(), &["run", "--listen", "127.0.0.1:0", "--admin", &admin]);
        Process::of(command, folder.path())
    };
    let engine = start();
    let browser = Browser::open(How::default()).await;
    browser.go(engine.ready_line.split("dashboard at ").nth(1).unwrap().trim()).await;
    browser.says("h1", "Welcome").await;
    binary::said(folder.path(), &["trigger", "approval"]);
    let run = binary::json(folder.path(), &["runs"])["runs"][0]["id"].as_str().unwrap().to_owned();
    browser.go(&format!("http://{admin}/runs/{run}")).await;
    browser.says("#state", "waiting").await;
    browser.says("#live", "Live").await;
    // Typed at the keyboard of somebody else's terminal.
    engine.kill();
    browser.says("#live", "Not connected").await;
    browser.says("#away", "The engine is not answering").await;
    let engine = start();
    browser.says("#live", "Live").await;
    until("the page to go on", async || (!browser.has("#away:not([hidden])").await).then_some(())).await;
    binary::said(folder.path(), &["sandbox", "reply", MANAGER, "yes"]);
    browser.says("#state", "finished").await;
    // New rows wait until they are asked for, and nothing moves under the finger.
    browser.go(&format!("http://{admin}/runs")).await;
    browser.says("#live", "Live").await;
    let rows = "return document.querySelectorAll('#rows > tr').length";
    assert_eq!(browser.js(rows, json!([])).await, 1);
    let top = "return document.querySelector('#rows').getBoundingClientRect().top";
    let before = browser.js(top, json!([])).await;
    binary::said(folder.path(), &["trigger", "approval"]);
    browser.says("#fresh", "1 new run. Show them").await;
    assert_eq!((browser.js(rows, json!([])).await, browser.js(top, json!([])).await), (json!(1), before));
    browser.click("#fresh a").await;
    until("both rows", async || (browser.js(rows, json!([])).await == 2).then_some(())).await;
    drop(engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_on_a_phone_leaves_the_page_where_it_is() {
    if !is_there() {
        return;
    }
    let house = House::open(&[ASKS]).await;
    let browser = opened(&house, How::default()).await;
    let run = house.trigger("approval", json!(null)).await;
    browser.go(&format!("{}/phones", base(&house))).await;
    browser.says("#phone-15417543011 .chat", "May Ada buy a chair?").await;
    browser.js("window.same = true", json!([])).await;
    browser.types("#t-15417543011", "no way\u{e007}").await;
    // That is no choice: it is asked once more, and then answered.
    browser.says("#phone-15417543011 .chat", "no way").await;
    browser.types("#t-15417543011", "no\u{e007}").await;
    house.run_is(&run, "succeeded").await;
    browser.says("#phone-15417543010 .chat", "It was No").await;
    assert_eq!(browser.js("return window.same", json!([])).await, true);
    browser.click("#phone-15417543010 .switch").await;
    browser.says("#phone-15417543010", "This phone is off").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_outsider_writes_runs() {
    if !is_there() {
        return;
    }
    let hook = (
        "flows/hook.yaml",
        "triggers:\n  - webhook: /in\n  - message: {}\nrun: |\n  let text = event?.body?.text ?? event?.text;\n  log::info(text);\n  kv::set(text, text);\n  send_link(\"+15417543010\", \"https://example.com/\", #{ title: text, description: text, caption: text });\n  throw text\n",
    );
    let house = House::open(&[hook]).await;
    house.hook("/in", &json!({ "text": MARKUP, MARKUP: MARKUP })).await;
    house.post("/sandbox/messages", json!({ "from": ADA, "text": MARKUP, "name": MARKUP })).await;
    house.hook("/%3Cscript%3Ewindow.evil=3%3C%2Fscript%3E", &json!(1)).await;
    until("the runs", async || {
        let runs = house.runs_of("hook").await;
        (runs.len() == 2 && runs.iter().all(|run| run["state"] == "failed")).then_some(())
    })
    .await;
    let browser = opened(&house, How::default()).await;
    let runs = house.runs_of("hook").await;
    let query: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
    let mut paths: Vec<String> =
        ["", "flows/hook", "flows/hook?view=values", "runs", "incoming", "messages", "phones", "accounts"]
            .map(str::to_owned)
            .to_vec();
    paths.push(format!("people/{ADA}"));
    paths.push(format!("messages?q={query}"));
    paths.extend(runs.iter().map(|run| format!("runs/{}", run["id"].as_str().unwrap())));
    for path in paths {
        browser.go(&format!("{}/{path}", base(&house))).await;
        browser.says("#live", "Live").await;
        browser.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })", json!([])).await;
        assert_eq!(browser.js("return window.evil ?? null", json!([])).await, Value::Null, "{path}");
        let complaints = browser.complaints().await;
        assert!(complaints.is_empty(), "{path}: {complaints:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_cookie_sees_the_door_and_other_pages_get_nothing() {
    if !is_there() {
        return;
    }
    let house = House::open(&[ASKS]).await;
    let browser = opened(&house, How::default()).await;
    let stranger = Browser::open(How::default()).await;
    stranger.go(&format!("{}/runs", base(&house))).await;
    stranger.says("h1", "Open with a link").await;
    stranger.types("#code", "wrong").await;
    stranger.click("button").await;
    stranger.says("h1", "This link does not open any more").await;
    // A page of another local port, in the browser that was let in.
    let evil = crate::support::engine::page_server("<h1>evil</h1>").await;
    browser.go(&evil).await;
    let target = base(&house);
    let tried = browser
        .js_later(
            "const [target, done] = arguments;
            const tries = [
                fetch(target + '/api/v1/runs', { credentials: 'include' }).then((r) => r.text(), () => 'refused'),
                fetch(target + '/flows/approval/start', { method: 'POST', credentials: 'include', mode: 'no-cors' }).then(() => 'sent', () => 'refused'),
            ];
            Promise.all(tries).then(done);",
            json!([target]),
        )
        .await;
    assert_eq!(tried[0], "refused", "its answer is nobody's else");
    let form = "const f = document.createElement('form'); f.method = 'post'; f.action = arguments[0] + '/flows/approval/start'; document.body.append(f); f.submit();";
    browser.js(form, json!([target])).await;
    browser.is_at("/flows/approval/start").await;
    assert!(house.runs_of("approval").await.is_empty(), "no run was started");
    // Nor may it show us in a frame.
    browser.go(&evil).await;
    let framed = browser
        .js_later(
            "const [target, done] = arguments; const i = document.createElement('iframe'); i.onload = () => { let seen = 'other'; try { seen = i.contentDocument ? 'ours' : 'other'; } catch { seen = 'other'; } done(seen); }; i.src = target + '/'; document.body.append(i);",
            json!([target]),
        )
        .await;
    assert_eq!(framed, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_script() {
    if !is_there() {
        return;
    }
    let house = House::open(&[ASKS]).await;
    let browser = opened(&house, How { scripts: false, ..How::default() }).await;
    browser.says("#live", "Loaded at").await;
    browser.go(&format!("{}/flows/approval", base(&house))).await;
    browser.click("#start summary").await;
    browser.click("#start button").await;
    browser.says("h1", "approval").await;
    let run = house.runs_of("approval").await[0]["id"].as_str().unwrap().to_owned();
    house.run_is(&run, "waiting").await;
    house.messages_are(1, "delivered").await;
    browser.go(&format!("{}/phones", base(&house))).await;
    browser.click("#phone-15417543011 .choices button").await;
    house.run_is(&run, "succeeded").await;
    house.messages_are(2, "delivered").await;
    browser.go(&format!("{}/phones", base(&house))).await;
    browser.types("#t-15417543010", "thank you").await;
    browser.click("#phone-15417543010 .composer .send").await;
    browser.says("#phone-15417543010", "thank you").await;
    browser.go(&format!("{}/flows/approval/edit", base(&house))).await;
    browser.clear("#editor textarea").await;
    browser.types("#editor textarea", "run: send_txt(1, 2)").await;
    browser.click("button[value=check]").await;
    browser.says("#findings", "send_txt").await;
    browser.click("#anyway").await;
    browser.says("#note", "It has a mistake").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_was_not_saved_is_kept_and_somebody_elses_is_not_lost() {
    if !is_there() {
        return;
    }
    let house = House::open(&[ASKS]).await;
    let browser = opened(&house, How::default()).await;
    let edit = format!("{}/flows/approval/edit", base(&house));
    browser.go(&edit).await;
    let add = "const t = document.querySelector('#editor textarea'); t.value += '# mine\\n'; t.dispatchEvent(new Event('input', { bubbles: true }));";
    browser.js(add, json!([])).await;
    browser.says("#weighed", "no mistakes").await;
    // Gone without saving, and without the browser's own question: it is offered again.
    browser.js("window.addEventListener('beforeunload', (e) => e.stopImmediatePropagation(), true)", json!([])).await;
    browser.js("location.replace('/keys')", json!([])).await;
    // Before a page is left another one must be there: the driver loses its way between the two.
    browser.says("h1", "Keys").await;
    browser.go(&edit).await;
    browser.says(".note.go", "was not saved").await;
    browser.click(".note.go button").await;
    let text = "return document.querySelector('#editor textarea').value";
    until("my text", async || browser.js(text, json!([])).await.as_str().unwrap().contains("# mine").then_some(()))
        .await;
    write(house.folder.path(), "flows/approval.yaml", &format!("{}# theirs\n", ASKS.1));
    browser.click("button[value=save]").await;
    browser.says("#note", "changed by somebody else meanwhile").await;
    browser.says("main", "# theirs").await;
    assert!(std::fs::read_to_string(house.folder.path().join("flows/approval.yaml")).unwrap().ends_with("# theirs\n"));
    browser.click("button[value=save]").await;
    browser.says("#note", "is saved").await;
    let saved = std::fs::read_to_string(house.folder.path().join("flows/approval.yaml")).unwrap();
    assert!(saved.contains("# mine") && !saved.contains("# theirs"), "{saved}");
}

/// axe-core, as CI has it; none on a machine that has not.
fn axe() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node_modules/axe-core/axe.min.js");
    let text = std::fs::read_to_string(&path).ok();
    assert!(text.is_some() || std::env::var_os("CI").is_none(), "{} is missing", path.display());
    if text.is_none() {
        eprintln!("skipped: there is no axe-core; `npm install --prefix target/tools axe-core` gets it");
    }
    text
}

/// A workspace with something of everything, a long name and a person who writes from right to left.
async fn full() -> (House, Fake) {
    let fake = Fake::start(fake::meta::DIALECT).await;
    let settings = fake.settings("pace: { daily: 1000 }\nunknown_after: 1h");
    let settings =
        settings.replace("accounts:\n", "default_account: test\naccounts:\n  test: { transport: sandbox }\n");
    let long = (
        "flows/shop/invoice-reminder-second-notice-for-wholesale-customers.yaml",
        "triggers:\n  - cron: \"30 8 * * *\"\n  - webhook: /invoices\nrun: |\n  log::info(\"one\");\n  sleep(\"2m\");\n  throw \"cannot read `first_name`\"\n",
    );
    let hears = (
        "flows/hear.yaml",
        "triggers:\n  - message: { account: test }\nrun: send_text(event.from, `good *day*, ${event.text}`)\n",
    );
    let off = ("flows/off.yaml", "enabled: false\nrun: 1\n");
    let broken = ("flows/broken.yaml", "run: send_txt(1, 2)\n");
    let house = House::open(&[ASKS, long, hears, off, broken, ("postrider.yaml", &settings)]).await;
    let run =
        house.trigger("shop/invoice-reminder-second-notice-for-wholesale-customers", json!({ "a": [1, 2] })).await;
    house.run_is(&run, "waiting").await;
    house.pass(Duration::from_secs(120));
    house.run_is(&run, "failed").await;
    let asks = house.trigger("approval", json!(null)).await;
    house.run_is(&asks, "waiting").await;
    let words = json!({ "from": "+447700900461", "text": "طاولة من فضلك 🌻", "name": "فاطمة الزهراء العلوي" });
    house.post("/sandbox/messages", words).await;
    let long = json!({ "from": ADA, "text": "hello", "name": "Wolfeschlegelsteinhausenbergerdorff Kindertagesstätte" });
    house.post("/sandbox/messages", long).await;
    house.hook("/nowhere", &json!(1)).await;
    fake.is(Mood::Breaks);
    let wish = json!({ "kind": "template", "account": "main", "to": ADA, "name": "t", "language": "en" });
    house.post("/messages", wish).await;
    house.messages_are(1, "unknown").await;
    house.pass(Duration::from_secs(3600 * 2));
    (house, fake)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_every_page() {
    let Some(axe) = axe().filter(|_| is_there()) else { return };
    let (house, _fake) = full().await;
    let runs = house.get("/runs").await["runs"].as_array().unwrap().clone();
    let of = |state: &str| runs.iter().find(|run| run["state"] == state).unwrap()["id"].as_str().unwrap().to_owned();
    let long = "flows/shop/invoice-reminder-second-notice-for-wholesale-customers";
    let pages: Vec<String> = vec![
        String::new(),
        "flows".into(),
        long.into(),
        "flows/approval/edit".into(),
        "flows/new".into(),
        "file?path=flows/broken.yaml".into(),
        "runs".into(),
        format!("runs/{}", of("failed")),
        format!("runs/{}", of("waiting")),
        "incoming".into(),
        "messages".into(),
        "messages?state=unknown".into(),
        "people/+447700900461".into(),
        "schedule".into(),
        "accounts".into(),
        "phones".into(),
        "keys".into(),
        "runs?q=nothing-is-like-that".into(),
    ];
    let check = "const [open, done] = arguments;
        document.querySelectorAll('details').forEach((d) => { d.open = open && !d.matches('.tabs details, .pop'); });
        if (open) { const p = document.querySelector('.pop'); if (p) p.open = true; }
        axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) =>
            done(r.violations.map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.failureSummary || '').slice(0, 200)).join(' | '))));";
    let shifts = "const done = arguments[0], all = [];
        new PerformanceObserver((list) => list.getEntries().forEach((e) => all.push(e.value + ' ' + e.sources.map((s) => s.node && (s.node.id || s.node.className)).join(', '))))
            .observe({ type: 'layout-shift', buffered: true });
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(all), 0)));";
    let marks = "const main = document.querySelector('main').cloneNode(true);
        main.querySelectorAll('pre, code, textarea, .src').forEach((node) => node.remove());
        return main.textContent.match(/.{0,40}`.{0,40}/)?.[0] ?? null";
    let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    let mut found: Vec<String> = Vec::new();
    for (width, theme) in [(360, "light"), (768, "dark"), (1440, "light"), (360, "dark")] {
        let browser = opened(&house, How { width, ..How::default() }).await;
        browser.resize(width).await;
        for page in &pages {
            browser.go(&format!("{}/{page}", base(&house))).await;
            let mut moved = browser.js_later(shifts, json!([])).await;
            if moved != json!([]) {
                // A busy machine paints half of a page before the other half is there; what jumps by our doing jumps
                // each time.
                browser.go(&format!("{}/{page}", base(&house))).await;
                moved = browser.js_later(shifts, json!([])).await;
            }
            if moved != json!([]) {
                found.push(format!("{page} at {width}: jumps, {moved}"));
            }
            let mark = browser.js(marks, json!([])).await;
            if !mark.is_null() {
                found.push(format!("{page}: what is code is not drawn as code: {mark}"));
            }
            browser.js("document.documentElement.dataset.theme = arguments[0]", json!([theme])).await;
            browser.js(&axe, json!([])).await;
            for open in [false, true] {
                let violations = browser.js_later(check, json!([open])).await;
                let violations = violations.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
                found.extend(violations.map(|violation| format!("{page} at {width} {theme}: {violation}")));
            }
            let over = browser.js(wide, json!([])).await.as_i64().unwrap();
            if over > 0 {
                found.push(format!("{page} at {width}: {over} pixels too wide"));
            }
            found.extend(browser.complaints().await.into_iter().map(|said| format!("{page}: {said}")));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_go_to_pages_and_rows() {
    if !is_there() {
        return;
    }
    let house = House::open(&[ASKS]).await;
    let run = house.trigger("approval", json!(null)).await;
    house.run_is(&run, "waiting").await;
    let browser = opened(&house, How::default()).await;
    browser.types("body", "gr").await;
    browser.is_at("/runs").await;
    browser.types("body", "/").await;
    assert_eq!(browser.js("return document.activeElement.id", json!([])).await, "q");
    browser.types("#q", "\u{e00c}").await;
    browser.types("body", "j\u{e007}").await;
    browser.is_at(&format!("/runs/{run}")).await;
    browser.types("body", "?").await;
    browser.is_at("/keys").await;
    browser.click("#keys-on").await;
    browser.types("body", "go").await;
    // They did nothing: the switch is still there, and after it they do.
    browser.click("#keys-on").await;
    browser.types("body", "go").await;
    browser.says("h1", "Overview").await;
}
