//! Scripts that would take the engine down, in the real binary: each ends with a clear error at its
//! place, memory stays bounded, and the next request is served.

use serde_json::{Value, json};

use crate::support::binary::{self, Process};
use crate::support::{client, folder, until};

const SCRIPTS: [(&str, &str, &str, &str); 12] = [
    ("zero", "let a = 1;\nlet b = a / 0;", "arithmetic", "ivision by zero"),
    ("loop", "let i = 0;\nwhile true { i += 1; }", "limit", "is a loop endless?"),
    ("trapped-loop", "while true { try { while true { } } catch { } }", "limit", "is a loop endless?"),
    ("recursion", "fn f(n) { f(n + 1) }\nf(0)", "limit", "tack overflow"),
    (
        "hoard",
        "let a = [];\nwhile true { a.push(\"a text that weighs something \" + a.len); }",
        "limit",
        "does a loop hoard?",
    ),
    ("nest", "let a = [1];\nwhile true { a = [a, a]; }", "limit", "does a loop hoard?"),
    ("pad", "let s = \"x\";\ns.pad(5_000_000_000, 'x');", "limit", "holds more than"),
    ("swell", "let s = \"x\";\ns.pad(3_000_000, 'x');\ns.replace(\"x\", s);", "limit", "holds more than"),
    ("recipient", "let to = \"abc\";\nsend_text(to, \"hello\");", "invalid", "no phone number"),
    ("outside", "send_image(\"+15417543010\", \"../../etc/passwd\");", "file", "stay inside it"),
    ("state", "send_file(\"+15417543010\", \".postrider/admin-token\");", "file", "not for scripts"),
    ("deep", "let a = 1;\nfor i in 0..1_000 { a = [a]; }\njson::stringify(a)", "invalid", "nested more than"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_ends_with_its_error_and_the_engine_goes_on() {
    let files: Vec<(String, String)> = SCRIPTS
        .iter()
        .map(|(name, script, ..)| {
            let text: String = script.lines().map(|line| format!("  {line}\n")).collect();
            (format!("flows/{name}.yaml"), format!("triggers:\n  - webhook: /{name}\nrun: |\n{text}"))
        })
        .collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("flows/good.yaml", "triggers:\n  - webhook: { path: /good, respond: result }\nrun: 42\n"));
    // Whoever hoards comes to this limit long before the one of time, also where the machine is busy.
    files.push(("postrider.yaml", "limits: { memory: 16MiB }\n"));
    files.push(("flows/broken.yaml", "triggers:\n\t- webhook: /broken\n"));
    let folder = folder(&files);
    let process = Process::start(folder.path());
    let post = async |path: &str| {
        let request = client().post(format!("http://{}/hooks/{path}", process.public)).body("{}");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap())
    };
    for (name, script, kind, part) in SCRIPTS {
        let (status, answer) = post(name).await;
        assert_eq!(status, 200, "{name}");
        let id = answer["run"].as_str().unwrap().to_owned();
        let run = until(&format!("{name} to end"), async || {
            let run = binary::json(folder.path(), &["runs", "show", &id]);
            (run["state"] == "failed").then_some(run)
        })
        .await;
        let error = &run["error"];
        assert_eq!(error["kind"], kind, "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{name}: {error}");
        // The script begins on the file's fourth line.
        let line = error["line"].as_u64().unwrap();
        assert!((4..4 + script.lines().count() as u64).contains(&line), "{name}: {error}");
        assert_eq!(error["script"], format!("flows/{name}.yaml"), "{name}: {error}");
        assert_eq!(post("good").await, (200, json!(42)), "after {name}");
    }
    assert_eq!(post("broken").await.0, 404);
    let peak = process.memory("VmHWM") >> 20;
    println!("peak memory {peak} MiB");
    assert!(peak < 400, "{peak} MiB");
}
