//! Modules that are hostile while they are read: the check ends, the engine starts, and a change of
//! another flow is taken over.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::gauge::Gauge;
use crate::support::binary::{self, Process};
use crate::support::{folder, write};

const IMPORTS: &str = "import \"m\" as m;\nm::f()\n";
/// A check of a few files is over by then, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);
const MEMORY: u64 = 200 << 20;

/// What a module says at its top, and whether that alone is a fault.
const MODULES: [(&str, &str, bool); 14] = [
    ("loop", "let i = 0;\nwhile true { i += 1; }\nfn f() { 1 }\n", true),
    ("doubled", "let t = \"x\";\nfor i in 0..29 { t += t; }\nfn f() { 1 }\n", true),
    ("doubled-for-ever", "let t = \"x\";\nloop { t += t; }\nfn f() { 1 }\n", true),
    ("list", "let a = [1];\nloop { a += a; }\nfn f() { 1 }\n", true),
    ("padded", "let t = \"x\";\nt.pad(1_000_000_000, 'x');\nfn f() { 1 }\n", true),
    ("bytes", "export const B = blob(1_000_000_000);\nfn f() { 1 }\n", true),
    ("recursion", "fn deeper(n) { deeper(n + 1) }\ndeeper(0);\nfn f() { 1 }\n", true),
    ("called-constant", "fn f() { 1 }\nexport const A = { loop { } };\n", true),
    ("trapped", "loop { try { throw 1; } catch { } }\nfn f() { 1 }\n", true),
    ("thrown", "throw \"no\";\nfn f() { 1 }\n", true),
    ("nested", "let a = [];\nfor i in 0..1_000_000 { a = [a.take()]; }\nfn f() { 1 }\n", true),
    ("sorted", "let a = [];\na.pad(1_000_000, 1);\nloop { a.sort(|a, b| 1); }\nfn f() { 1 }\n", true),
    ("imports-itself", "import \"m\" as m;\nfn f() { 1 }\n", true),
    ("fine", "export const A = [1, #{ b: \"c\" }];\nfn f() { A.len }\n", false),
];

/// Checks a folder; gives the exit code, or what was wrong.
fn checked(folder: &std::path::Path) -> Result<i32, String> {
    let mut command = binary::postrider(folder, &["check"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let gauge = Gauge::of(child.id());
    let start = Instant::now();
    let mut peak = 0;
    loop {
        // The last reading, which is the peak of all: the first may be of this very test, whose memory
        // a child shares until it is the other program.
        peak = Some(gauge.peak()).filter(|&bytes| bytes > 0).unwrap_or(peak);
        match child.try_wait().unwrap().map(|status| status.code()) {
            Some(_) if peak > MEMORY => return Err(format!("the check takes {} MiB", peak >> 20)),
            Some(Some(code)) => return Ok(code),
            Some(None) => return Err("the check is ended by a signal".into()),
            None if start.elapsed() > PATIENCE => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err("the check has no end".into());
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A chain of modules that each import the next.
fn chain(folder: &std::path::Path, count: usize) {
    for number in 0..count {
        let text = match number + 1 {
            last if last == count => "fn f() { 1 }\n".to_owned(),
            next => format!("import \"m{next}\" as m;\nfn f() {{ m::f() }}\n"),
        };
        let name = if number == 0 { "m".to_owned() } else { format!("m{number}") };
        write(folder, &format!("scripts/{name}.rhai"), &text);
    }
}

#[test]
fn a_check_ends_whatever_modules_do() {
    let mut wrong = Vec::new();
    for (name, module, is_fault) in MODULES {
        let folder =
            folder(&[("flows/a.yaml", "script: a.rhai\n"), ("scripts/a.rhai", IMPORTS), ("scripts/m.rhai", module)]);
        match checked(folder.path()) {
            Ok(code) if code == i32::from(is_fault) => {}
            Ok(code) => wrong.push(format!("{name}: exit code {code}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    for (count, expected) in [(8, 0), (800, 1), (3_000, 1)] {
        let folder = folder(&[("flows/a.yaml", "script: a.rhai\n"), ("scripts/a.rhai", IMPORTS)]);
        chain(folder.path(), count);
        match checked(folder.path()) {
            Ok(code) if code == expected => {}
            other => wrong.push(format!("a chain of {count}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_engine_survives_whatever_modules_do() {
    let folder = folder(&[("flows/good.yaml", "description: \"0\"\nrun: 1\n")]);
    let mut process = Process::start(folder.path());
    let mut wrong = Vec::new();
    let mut cases: Vec<(String, Option<&str>)> =
        MODULES.iter().map(|(name, module, _)| ((*name).to_owned(), Some(*module))).collect();
    cases.push(("a chain of 800".into(), None));
    for (number, (name, module)) in cases.iter().enumerate() {
        match module {
            Some(module) => write(folder.path(), "scripts/m.rhai", module),
            None => chain(folder.path(), 800),
        }
        write(folder.path(), "scripts/a.rhai", IMPORTS);
        write(folder.path(), "flows/a.yaml", &format!("description: \"{number}\"\nscript: a.rhai\n"));
        write(folder.path(), "flows/good.yaml", &format!("description: \"{number}\"\nrun: 1\n"));
        let start = Instant::now();
        let is_live = loop {
            // Who is dead is not asked; who does not hear is asked again.
            if process.ended().is_some() {
                break false;
            }
            let said = binary::run(folder.path(), &["flows", "--json"]);
            let flows: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
            let flows = flows["flows"].as_array().cloned().unwrap_or_default();
            if flows
                .iter()
                .any(|flow| flow["name"] == "good" && flow["description"].as_str() == Some(&number.to_string()))
            {
                break true;
            }
            if start.elapsed() > PATIENCE {
                break false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let peak = if is_live { process.memory("VmHWM") } else { 0 };
        if !is_live || peak > MEMORY {
            wrong.push(format!(
                "{name}: {}",
                if is_live { format!("{} MiB", peak >> 20) } else { "no change is taken".into() }
            ));
            drop(process);
            std::fs::remove_file(folder.path().join("flows/a.yaml")).unwrap();
            process = Process::start(folder.path());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    process.signal("TERM");
}
