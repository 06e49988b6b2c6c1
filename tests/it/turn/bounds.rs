//! Limits hold inside one call, whatever function is under way.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use postrider::memory::Mark;
use postrider::model::diagnostic::Diagnostic;
use postrider::script::{Ending, Main, Program};
use serde_json::{Value, json};

use super::{Run, error, value};

const MIB: u64 = 1 << 20;
/// What a turn may hold at any instant: its limit, and what one join of two texts may add.
const PEAK: u64 = 2 * 64 * MIB + 16 * MIB;

/// Runs a script with the default memory and little time; gives its ending, peak and CPU time.
fn bounded(script: &str, event: Value) -> (Ending, u64, Duration) {
    let mut run = Run::new(script);
    run.event = event;
    run.limits.cpu_turn = Duration::from_millis(1_500);
    let mark = Mark::new();
    let output = run.turn();
    (output.ending, mark.peak(), output.cpu)
}

/// It ends as `limit`, within twice its time and its memory.
fn is_limited(script: &str, event: Value) {
    let (ending, peak, cpu) = bounded(script, event);
    let Ending::Thrown(error) = ending else { panic!("not stopped: {script}") };
    assert_eq!(error.kind, "limit", "{script}: {error}");
    assert!(peak < PEAK, "{script} took {} MiB", peak / MIB);
    assert!(cpu < Duration::from_secs(3), "{script} took {cpu:?}");
}

/// Half of it is one line of ten very long names, half are rows of nine commas.
fn wide_table(bytes: usize, name: usize) -> String {
    let mut text: String = (0..10).map(|column| format!("{column}{}", "n".repeat(name))).collect::<Vec<_>>().join(",");
    while text.len() < bytes {
        text.push_str("\n,,,,,,,,,");
    }
    text
}

#[test]
fn a_table_does_not_multiply_its_columns_names() {
    // Names of a length that a table may have, so many rows that the names alone would take a gigabyte.
    is_limited("csv::parse(event.raw)", json!({ "raw": wide_table(1 << 20, 1_000) }));
    let error = error_for("csv::parse(event.raw)", json!({ "raw": wide_table(200 << 10, 10_000) }));
    assert!(error.contains("column's name has 10001 bytes"), "{error}");
    let wide = vec!["a"; 2_000].join(",");
    assert!(error_for("csv::parse(event.raw)", json!({ "raw": wide })).contains("2000 columns"));
    assert_eq!(value("csv::parse(\"a,b\\n1,2\\n3,4\")"), json!([{ "a": "1", "b": "2" }, { "a": "3", "b": "4" }]));
    assert_eq!(value("csv::parse(\"a;b\", #{ header: false, delimiter: \";\" })"), json!([["a", "b"]]));
}

fn error_for(script: &str, event: Value) -> String {
    let mut run = Run::new(script);
    run.event = event;
    run.thrown().to_string()
}

#[test]
fn no_search_takes_the_square_of_its_text() {
    let text = "{a".repeat(300_000);
    is_limited("regex::replace(event.raw, \"\\\\{[^}]*\\\\}|\\\\w\", \"x\")", json!({ "raw": text }));
    let letters = "a".repeat(1_000_000);
    is_limited("regex::replace(event.raw, \".*[^a-z]|[a-z]\", \"x\")", json!({ "raw": letters }));
    // Automata of many states, of which each letter keeps many alive; what can be searched quickly is.
    let words = "ab".repeat(400_000);
    for script in [
        "regex::is_match(event.raw, \"(a|b)*a(a|b){900}c\")",
        "regex::find(event.raw, \"(?:a|b)*a(?:a|b){900}(?:aa|bb)\")",
        "regex::find(event.raw, \"(?:[ab]{1,80}){1,80}c?[^ab]\")",
        "regex::replace(event.raw, \"(?i)\\\\w{3,400}[\\\\d]\", \"\")",
        "regex::captures(event.raw, \"^\" + event.groups + \"$\")",
        "regex::replace(event.raw, \"^\" + event.groups + \"$\", \"$1$2$3\")",
    ] {
        let (_, peak, cpu) = bounded(script, json!({ "raw": words, "groups": "((?:a|b)*?)".repeat(100) }));
        assert!(peak < PEAK && cpu < Duration::from_secs(3), "{script} took {cpu:?} and {} MiB", peak / MIB);
    }
}

#[test]
fn searches_find_what_they_found_before() {
    assert_eq!(value("regex::replace(\"a1b22c\", \"[0-9]+\", \"<$0>\")"), json!("a<1>b<22>c"));
    assert_eq!(value("regex::replace(\"abc\", \"x*\", \"-\")"), json!("-a-b-c-"));
    assert_eq!(value("regex::replace(\"äöü\", \"\", \".\")"), json!(".ä.ö.ü."));
    assert_eq!(
        value("regex::replace(\"John Smith\", \"(?P<a>\\\\w+) (?P<b>\\\\w+)\", \"$b $a\")"),
        json!("Smith John")
    );
    assert_eq!(
        value("regex::captures(\"x=12\", \"(?P<name>\\\\w)=(\\\\d+)(y)?\")"),
        json!({ "0": "x=12", "1": "x", "2": "12", "3": null, "name": "x" })
    );
    assert_eq!(value("regex::find(\"the year 2026\", \"\\\\b\\\\d{4}\\\\b\")"), json!("2026"));
    // The same in a text that is long, where the quick way is tried first.
    let long = format!("{}größe 42 {}", "wort ".repeat(5_000), "wort ".repeat(5_000));
    let mut run = Run::new(
        "[regex::find(event.raw, \"\\\\bgröße (\\\\d+)\"), regex::replace(event.raw, \"wort \", \"\"), regex::is_match(event.raw, \"zz\")]",
    );
    run.event = json!({ "raw": long });
    assert_eq!(run.done(), json!(["größe 42", "größe 42 ", false]));
}

#[test]
fn printing_what_is_shared_is_bounded() {
    const SHARED: &str = "let t = \"\"; t.pad(300_000, 'x'); let a = []; a.pad(2_000, t);";
    for print in [
        "throw a",
        "`${a}`",
        "\"\" + a",
        "let s = \"\"; s += a; s",
        "let s = \"\"; s.append(a); s",
        "a.to_string()",
        "a.to_debug()",
        "[a, [a]].to_debug()",
        "#{ a: a }.to_json()",
        "#{ a: a }.to_string()",
        "json::stringify(a)",
        "fail(`${a}`)",
        "kv::set(\"a\", a)",
        "let m = #{ a: a }; `${m}`",
        "print(a); let x = a; log::info(x); `${[x]}`",
    ] {
        let (ending, peak, cpu) = bounded(&format!("{SHARED} {print}"), json!({}));
        assert!(peak < PEAK, "{print} took {} MiB", peak / MIB);
        assert!(cpu < Duration::from_secs(3), "{print} took {cpu:?}");
        match ending {
            Ending::Thrown(error) | Ending::Failed(error) => {
                assert!(error.message.len() <= 4_200, "{print}: {} bytes", error.message.len());
            }
            Ending::Done(_) => panic!("{print} was done"),
            Ending::Waiting(_) => {}
        }
    }
}

/// What stands in place of Rhai's own functions gives what those give; the right values are Rhai's.
#[test]
fn functions_that_were_bounded_give_what_rhais_give() {
    const TEXTS: [&str; 4] = ["\"\"", "\"hello, wörld!\"", "\"a\"", "\"äöü ß  😀\""];
    let mut scripts: Vec<String> = [
        "[1, \"a\", 'c', 1.5, 2.0, true, ()].to_string()",
        "[1, \"a\", 'c', 1.5, true, (), Fn(\"f\"), [|x| x].len()].to_debug()",
        "#{ a: ['x'], \"b c\": #{}, f: Fn(\"f\") }.to_string()",
        "\"x\" + \"ab\".to_chars()",
        "\"x\" + [1] + #{ a: 2 } + 1.0 + 'c' + () + true",
        "1 + \"x\" + 2",
        "[] + \"x\"",
        "[\"a\\n\"].to_debug()",
        "'c'.to_debug() + 'c'",
        "(1..5).to_string() + [1..=5]",
        "let a = [1]; let f = || a; `${a}`",
        "const A = [3, 1, 2]; A.sort(); `${A}`",
        "const A = [3, 1, 2]; A.append([4]); `${A}`",
        "const A = \"abc\"; A.crop(1); A",
        "const A = \"abc\"; A.truncate(1); A",
        "const A = \"abc\"; A.make_upper(); A",
        "const A = \"abc\"; A.pad(9, 'x'); A",
        "const A = \"abc\"; A.replace(\"a\", \"b\"); A",
        "const A = \"abc\"; A.append(\"d\"); A",
        "const A = [1]; A.pad(3, 0); `${A}`",
        "const A = [3, 1]; `${A} ${A == [3, 1]} ${A.to_debug()}`",
        "[#{ a: 1 }].sort(); 1",
        "let a = [#{ a: 1 }]; a.sort_desc(); a.len()",
        "let a = [[1]]; `${a.order()}`",
        "let a = [3, 1, 2]; a.sort(); `${a}`",
        "let a = [3, 1, 2]; a.sort(|x, y| y - x); `${a}`",
        "let a = [1.5, 0.5]; `${a.order_desc()} ${a}`",
        "let a = [1, \"a\"]; a.sort(); 1",
        "let s = \"x\"; s += 5; s += #{}; s += 'y'; s += (); s.append(7); s",
        "let s = \"x\"; s += blob(2, 65); s.append(blob(1, 66)); s + blob(1, 67)",
        "blob(2, 65) + \"x\"",
        "blob(3, 200).as_string()",
        "`${blob(2) == blob(2)} ${[1, [2]] == [1, [2]]} ${[1] != [\"a\"]} ${#{ a: 1 } == #{ a: 1 }}`",
        "let t = \"\"; for c in \"aäb\" { t = c + t; } t",
        "let t = \"\"; for c in \"abcdef\".chars(1..=3) { t += c; } t",
        "let t = \"\"; for c in \"abcdef\".chars(-2) { t += c; } t",
        "#{ a: 1, b: [true, ()], c: \"ä\\n\" }.to_json()",
    ]
    .map(str::to_owned)
    .into();
    for text in TEXTS {
        for call in [
            "replace(\"\", \"x\"); s",
            "replace(\"l\", \"LL\"); s",
            "replace('l', 'k'); s",
            "replace('l', \"\"); s",
            "replace(\"l\", 'k'); s",
            "split().to_string()",
            "split(\"\").to_string()",
            "split(\"\", 3).to_string()",
            "split(\"l\").to_string()",
            "split('l', 2).to_string()",
            "split(\"l\", 0).to_string()",
            "split(\"l\", -1).to_string()",
            "split(3).to_string()",
            "split(-2).to_string()",
            "split_rev(\"\").to_string()",
            "split_rev(\"l\").to_string()",
            "split_rev('l', 2).to_string()",
            "to_chars().to_string()",
            "pad(20, 'ä'); s",
            "pad(3, \"xy\"); s",
            "pad(20, \"xy\"); s",
            "pad(-1, 'x'); s",
            "to_upper()",
            "make_lower(); s",
            "to_debug()",
            "index_of('l', -3)",
            "index_of('l', 4)",
            "index_of(\"l\", -3)",
            "index_of(\"l\", 99)",
            "index_of(\"l\", -99)",
            "index_of(\"\", 3)",
            "index_of(\"l\", 3..9)",
            "pop(3) + s",
            "pop(0) + s",
            "pop(-1) + s",
            "pop(99) + s",
        ] {
            scripts.push(format!("let s = {text}; s.{call}"));
        }
        for function in ["crop", "sub_string"] {
            for part in [
                "5", "-3", "-99", "99", "2, 8", "-5, 3", "2, -1", "0, 0", "3, 99", "2..8", "2..=8", "8..2", "-4..3",
                "-4..=3",
            ] {
                scripts.push(format!("let s = {text}; `${{s.{function}({part})}}|${{s}}`"));
            }
        }
        for len in ["8", "99", "-1", "0"] {
            scripts.push(format!("let s = {text}; s.truncate({len}); s"));
        }
    }
    let rhai = rhai::Engine::new();
    let mut wrong = Vec::new();
    for script in scripts {
        let script = format!("fn f() {{}} {script}");
        let wanted = rhai.eval::<rhai::Dynamic>(&script).map(|value| value.to_string()).ok();
        let given = match Run::new(&script).turn().ending {
            Ending::Done(Value::String(text)) => Some(text),
            Ending::Done(Value::Null) => Some(String::new()),
            Ending::Done(other) => Some(other.to_string()),
            _ => None,
        };
        if given != wanted {
            wrong.push(format!("{script}\n    rhai {wanted:?}\n    here {given:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_function_that_grows_asks_for_the_room() {
    for script in [
        "let f = Fn(\"x\"); let b = blob(2_000_000); f = f.curry(b); let a = []; a.pad(40, f); a",
        "let s = \"\"; s.pad(6_000_000, ','); s.split(\",\", 6_000_000)",
        "let s = \"\"; s.pad(6_000_000, ','); s.split(',', 6_000_000)",
        "let s = \"\"; s.pad(6_000_000, ','); s.split_rev(\",\")",
        "let s = \"\"; s.pad(6_000_000, ','); s.split_rev(',', 6_000_000)",
        "let b = blob(40_000_000, 255); b.as_string()",
        "let b = blob(40_000_000, 255); \"x\" + b",
        "let s = \"\"; s.pad(20_000_000, 'ΐ'); s.to_upper()",
        "let s = \"\"; s.pad(30_000_000, 'a'); s.replace('a', '😀'); s",
        "let s = \"\"; s.pad(60_000_000, 'a'); base64::encode(s)",
        "let s = \"\"; s.pad(30_000_000, ' '); url::encode(s)",
        "let s = \"\"; s.pad(14_000_000, '\\u0001'); json::stringify(s)",
        "let s = \"1\"; s.pad(8_000_000, ','); s.replace(\",\", \",1\"); json::parse(\"[\" + s + \"1]\")",
        "let s = \"[]\"; for i in 0..22 { s += \",\" + s; } json::parse(\"[\" + s + \"]\")",
        "let s = \"[]\"; for i in 0..22 { s += \",\" + s; } parse_json(\"[\" + s + \"]\")",
    ] {
        is_limited(script, json!({}));
    }
    // Letters one by one take no more than the text.
    let (ending, peak, _) = bounded(
        "let s = \"\"; s.pad(1_000_000, 'ä'); let n = 0; for c in s { n += 1; if n > 9 { break; } } n",
        json!({}),
    );
    assert!(peak < 5 * MIB && matches!(ending, Ending::Done(_)), "{}", peak / MIB);
    assert_eq!(value("let t = \"\"; for c in \"aäb\" { t = c + t; } t"), json!("bäa"));
    assert_eq!(value("let t = \"\"; for c in \"abcdef\".chars(1..=3) { t += c; } t"), json!("bcd"));
    assert_eq!(value("let t = \"\"; for c in \"abcdef\".chars(-2) { t += c; } t"), json!("ef"));
    for part in ["s.sub_string(2)", "s.sub_string(-9, 5)", "s.pop(9)", "s.index_of('b', -9)", "s.index_of(\"b\", -9)"] {
        let (ending, peak, _) = bounded(&format!("let s = \"\"; s.pad(3_000_000, 'ä'); {part}; 1"), json!({}));
        assert!(peak < 20 * MIB && matches!(ending, Ending::Done(_)), "{part}: {}", peak / MIB);
    }
    for grown in ["s += b", "s += [b.as_string()]", "s.append(b)", "s = s + b", "s = b + s"] {
        is_limited(
            &format!("let s = \"\"; s.pad(50_000_000, 'x'); let b = blob(9_000_000, 65); {grown}; s"),
            json!({}),
        );
    }
    // So does what is left of one that is cut.
    let (ending, peak, _) =
        bounded("let s = \"\"; s.pad(3_000_000, 'ä'); s.crop(1); s.crop(1, 2_000_000); s.truncate(9); s", json!({}));
    assert!(peak < 20 * MIB && matches!(ending, Ending::Done(_)), "{}", peak / MIB);
}

#[test]
fn walking_and_comparing_look_at_the_clock() {
    const TWO: &str = "let s = \"\"; s.pad(8_000_000, 'x'); let t = \"\"; t.pad(8_000_000, 'x'); let a = []; a.pad(60_000, s); let b = []; b.pad(60_000, t);";
    for walk in [
        "for i in 0..30_000 { a.push(t); a.push(s); } a.sort()",
        "for i in 0..30_000 { a.push(t); a.push(s); } a.sort_desc()",
        "for i in 0..30_000 { a.push(t); a.push(s); } a.order()",
        "a == b",
        "a != b",
        "let n = 0; for i in 0..60_000 { if a[i] == b[i] { n += 1; } } n",
        "#{ a: a } == #{ a: b }",
        "t += \"y\"; s += \"z\"; a.pad(120_000, s); a.contains(t)",
        "for i in 0..30_000 { a.push(t); a.push(s); } a.dedup()",
        "a.sort_by(|x, y| if x == y { 0 } else { 1 })",
    ] {
        is_limited(&format!("{TWO} {walk}"), json!({}));
    }
    assert_eq!(value("let a = [3, 1, 2]; a.sort(); a"), json!([1, 2, 3]));
    assert_eq!(value("[\"b\", \"a\"].order()"), json!(["a", "b"]));
    assert_eq!(value("let a = [1.5, 0.5]; a.sort_desc(); a"), json!([1.5, 0.5]));
    assert_eq!(value("let a = [1, 2, 3]; a.sort(|x, y| y - x); a"), json!([3, 2, 1]));
    assert_eq!(
        value("[[1, \"a\", #{ b: 2 }] == [1, \"a\", #{ b: 2 }], [1] == [2], [1] == [\"1\"], #{ a: 1 } != #{ a: 1 }]"),
        json!([true, false, false, false])
    );
    assert_eq!(value("[[1, [2]].contains([2]), [1, \"x\"].index_of(\"x\")]"), json!([true, 1]));
    assert_eq!(error("[1, \"a\"].sort()").kind, "type");
}

#[test]
fn closures_that_hold_themselves_are_noticed() {
    let script = "let one = #{ bytes: blob(20_000_000, 1) }; let f = || one.len(); one.me = f; 1";
    let leaked = Run::new(script).turn().leaked;
    assert!(leaked > 10 * MIB, "{leaked}");
    assert_eq!(Run::new("let b = blob(20_000_000); let a = [b]; a.len()").turn().leaked, 0);
}

#[test]
fn what_a_turn_gives_back_is_no_memory_left_behind() {
    let large = "let all = []; for i in 0..20_000 { all.push(#{ id: i, ok: true, none: [] }) }";
    for last in ["all", "#{ got: all }", "kv::set(\"all\", all)", "respond(200, all); sleep(\"1s\"); 1"] {
        let leaked = Run::new(&format!("{large} {last}")).turn().leaked;
        assert_eq!(leaked, 0, "{last}");
    }
}

#[test]
fn what_a_turn_used_too_much_of_is_not_committed() {
    // The last call of the script is the one that takes too long: no operation comes behind it.
    let mut run = Run::new("send_text(\"+15417543010\", \"x\"); let s = \"\"; s.pad(20_000_000, 'x'); hash::sha256(s)");
    run.limits.cpu_turn = Duration::from_millis(1);
    assert_eq!(run.thrown().kind, "limit");
}

#[test]
fn constants_that_are_changed_from_within_say_so() {
    let error = error("const A = #{ b: 1 }; A.b = 2");
    assert_eq!(error.kind, "constant", "{error}");
    let doubts = Program::compile(
        Main { file: &"f".into(), text: &"const A = #{ b: 1 };\nA.b = 2;\nlet c = #{}; c.b = 1;".into(), indent: 0 },
        &|_| None,
    );
    let doubts: Vec<String> =
        doubts.unwrap_or_else(|found| panic!("{found:?}")).doubts().iter().map(ToString::to_string).collect();
    assert!(doubts.len() == 1 && doubts[0].contains("`A` is a constant"), "{doubts:?}");
}

fn refused(main: &str, modules: &dyn Fn(&str) -> Option<Arc<str>>) -> Vec<Diagnostic> {
    let mark = Mark::new();
    let findings =
        Program::compile(Main { file: &"scripts/main.rhai".into(), text: &main.into(), indent: 0 }, modules).err();
    assert!(mark.peak() < 300 * MIB);
    findings.unwrap_or_else(|| panic!("{main} was taken"))
}

#[test]
fn a_module_defines_and_does_nothing_else() {
    let module = |text: &'static str| move |_: &str| Some(Arc::from(text));
    for (text, line) in [
        ("let i = 0;\nwhile true { i += 1; }", 1),
        ("fn f() { 1 }\nwhile true { }", 2),
        ("const A = 1;\n\nprint(\"x\");", 3),
        ("fn f() { 1 }\nf();", 2),
        ("if true { }", 1),
        ("let a = 1;", 1),
    ] {
        let findings = refused("import \"m\" as m; m::f()", &module(text));
        let found = findings.iter().find(|finding| finding.file == "scripts/m.rhai").unwrap();
        assert!(found.message.contains("only define functions and constants"), "{found}");
        assert_eq!(found.line, line, "{text}");
    }
    for text in [
        "const A = { let i = 0; while true { i += 1; } i };",
        "const A = { let s = \"x\"; loop { s += s; } };",
        "const A = f(); fn f() { loop { } }",
        "const A = { let a = []; a.pad(10_000_000, 1); a };",
        "const A = regex::is_match(\"x\", \"(((a{100}){100}){100})\");",
    ] {
        let findings = refused("import \"m\" as m; m::A", &module(text));
        assert!(findings.iter().all(|finding| finding.message.len() < 4_200), "{findings:?}");
    }
    let mut run = Run::with_modules(
        "import \"lib/p\" as p; p::NAMES[1] + p::double(p::N)",
        &[("lib/p", "export const N = 21; export const NAMES = [\"a\", \"b\"]; fn double(x) { x * 2 }")],
    );
    assert_eq!(run.done(), json!("b42"));
}

#[test]
fn imports_are_so_deep_and_no_deeper() {
    let chain = |most: usize| {
        move |name: &str| -> Option<Arc<str>> {
            let number: usize = name.strip_prefix('m')?.parse().ok()?;
            let next = if number < most { format!("import \"m{}\" as next;\n", number + 1) } else { String::new() };
            Some(format!("{next}fn f() {{ {number} }}").into())
        }
    };
    assert!(
        Program::compile(Main { file: &"f".into(), text: &"import \"m1\" as m; m::f()".into(), indent: 0 }, &chain(32))
            .is_ok()
    );
    let findings = refused("import \"m1\" as m; m::f()", &chain(5_000));
    assert!(findings[0].message.contains("32 modules"), "{findings:?}");
}

#[test]
fn reading_a_script_is_bounded() {
    // Constants that double each other before anybody runs them.
    let mut text = String::from("const A0 = \"xxxxxxxxxxxxxxxx\";\n");
    for number in 1..40 {
        let _ = writeln!(text, "const A{number} = A{0} + A{0};", number - 1);
    }
    let mark = Mark::new();
    let program = Program::compile(Main { file: &"f".into(), text: &text.into(), indent: 0 }, &|_| None);
    assert!(program.is_ok() && mark.peak() < 64 * MIB, "{}", mark.peak() / MIB);
    // A hundred thousand misspelt names are not compared with all the others.
    let findings = refused(&"sendtext(1);\n".repeat(100_000), &|_| None);
    assert!(
        findings.len() <= 50 && findings[0].hint.as_deref() == Some("did you mean `send_text`?"),
        "{}",
        findings.len()
    );
}
