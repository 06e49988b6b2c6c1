//! What random scripts are made of: ways to write things, with holes.
//!
//! `<int>`, `<text>` and so on stand for an expression of that type; `<let:int>` for a new variable
//! that is known from the next statement on, `<new:int>` for one that is known from the next block
//! to the end of the way; `<it>` for the first of them; `<var:int>` for a variable that may be
//! changed; `<block>` for statements, `<call>` for a question to the world.

/// Whole numbers. Here and below, the first way has nothing nested in it.
pub const INT: &[&str] = &[
    "<number>",
    "<number>",
    "(<int> + <int>)",
    "(<int> - <int>)",
    "(<int> * 3 % 101)",
    "<text>.len",
    "<list>.len",
    "<map>.b",
    "<time>.hour",
    "random(1, 6)",
    "event.body.items[1]",
    "<list>.reduce(|s, x| s + x, 0)",
    "(if <flag> { <int> } else { <int> })",
    "(switch <int> % 3 { 0 => <int>, 1 => <int>, _ => <int> })",
];

/// Texts, none of them empty.
pub const TEXT: &[&str] = &[
    r#""again""#,
    r#""say \"hi\" <number>""#,
    "(<text> + <int>)",
    "`${<int>} and ${<text>}`",
    "<text>.to_upper()",
    r#"<time>.format("%F %T")"#,
    "uuid()",
    "params.team",
    "json::stringify(<map>)",
    "hash::sha256(<text>).sub_string(0, 6)",
    "<message>.id",
];

/// Yes or no.
pub const FLAG: &[&str] = &[
    "(<number> < 50)",
    "(<int> < <int>)",
    "(<int> % 2 == 0)",
    "(<text> == <text>)",
    "(<flag> && <flag>)",
    "(!<flag>)",
    "(random() < 0.5)",
    "<list>.contains(<int>)",
    // What a closure looks at must not be what it is given to: Rhai holds that one.
    "[<int>, <int>].some(|x| x > <int>)",
    r#"files::exists("files/<digit>.txt")"#,
];

/// Arrays of whole numbers.
pub const LIST: &[&str] = &[
    "[<number>, <number>, <number>]",
    "[<int>, <int>]",
    "(<list> + [<int>])",
    "<list>.extract(0, 3)",
    "<list>.filter(|x| x % 2 == 0)",
    "[<int>, <int>].map(|x| x + <int>)",
    "<map>.values()",
    r#"json::parse("[3, 1, 2]")"#,
];

/// Maps of whole numbers, all with `a` and `b`.
pub const MAP: &[&str] = &[
    "#{ c: <number>, a: <number>, b: <number> }",
    "#{ b: <int>, d: <int>, a: <int> }",
    r#"json::parse("{\"z\": 1, \"b\": 2, \"a\": 3}")"#,
];

/// Times.
pub const TIME: &[&str] = &[
    "now()",
    "now()",
    "today()",
    r#"(<time> + duration("1h"))"#,
    r#"<time>.in_zone("Asia/Tokyo")"#,
    r#"time::parse("2027-03-01T09:00")"#,
];

/// Questions to the world: what they give, with a `?` if it may refuse them, and the call.
pub const QUESTIONS: &[&str] = &[
    r#"int? http::get("https://a.example/" + <int>).status"#,
    r#"text? json::stringify(http::get("https://a.example/", #{ query: #{ q: <text> } }).json)"#,
    r#"text? http::post("https://a.example/", <map>, #{ expect: "2xx" }).body"#,
    r#"flag? http::put("https://a.example/", <text>, #{ headers: #{ "X-Key": secret("KEY") } }).ok"#,
    r#"list http::all([#{ url: "https://a.example/" + <int> }, #{ url: "https://b.example/", method: "POST", body: <list> }]).map(|r| r.status)"#,
    r#"none sleep("<span>")"#,
    r#"none sleep(duration("90m"))"#,
    "none sleep_until(<time>)",
    "text <message>.wait().status",
    r#"text <message>.wait("30s").status"#,
    r#"text <message>.wait("delivered", "1h").status"#,
    "flag <message>.cancel()",
    r#"int <space>::increment("n<digit>")"#,
    r#"int <space>::increment("n<digit>", <int>)"#,
    r#"text? json::stringify(ask(<to>, <text>, #{ choices: ["yes", "no"], timeout: "1h" }))"#,
    r#"flag? (ask(<to>, <text>, #{ remind: "10m", timeout: "2h" }) == ())"#,
    r#"text json::stringify(wait_for_message(#{ from: <to>, timeout: "1h" }))"#,
    r#"flag (wait_for_message(#{ text: "(?i)stop", timeout: "5m" }) == ())"#,
    r#"text json::stringify(wait_for_event("paid", #{ key: "k<digit>", timeout: "2h" }))"#,
    r#"text json::stringify(wait_for_event("paid"))"#,
    r#"text? json::stringify(event.media.save("inbox/<digit>"))"#,
    r#"text? json::stringify(save(event.media, "inbox/<digit>"))"#,
    r#"text? files::read("files/<digit>.txt")"#,
    r#"int? files::lines("files/<digit>.txt").len"#,
    r#"int? files::csv("files/<digit>.csv").len"#,
    r#"int? files::list("files").len"#,
    r#"flag files::exists("files/<digit>")"#,
    r#"none? files::move("files/<digit>", "done/<digit>")"#,
    r#"text? flows::start("other", <map>)"#,
    r#"text json::stringify(<space>::get("<key>"))"#,
    r#"text json::stringify(<space>::get("n<digit>"))"#,
    r#"text json::stringify(<space>::list("<key>"))"#,
    "int <space>::list().len",
];

/// Promises, written like questions.
pub const PROMISES: &[&str] = &[
    "none log::info(<text>)",
    "none log::warn(<map>)",
    "none log::error(<time>)",
    "none print(<list>)",
    r#"none <space>::set("<key>", <text>)"#,
    r#"none <space>::set("<key>", <map>)"#,
    r#"none <space>::set("<key>", <list>, "1h")"#,
    r#"none <space>::set("n<digit>", <int>)"#,
    r#"none <space>::delete("<key>")"#,
    r#"none <space>::delete("n<digit>")"#,
    r#"none emit("paid", <map>, "k<digit>")"#,
    r#"none emit("paid")"#,
    r#"message send_text(<to>, "again")"#,
    "message send_text(<to>, <text>)",
    r#"message send_text(<to>, <text>, #{ at: "2h" })"#,
    r#"message send_text(<to>, <text>, #{ at: <time>, valid_for: "1h" })"#,
    r#"message send_text(<to>, <text>, #{ account: "other", keep: true })"#,
    r#"message send_text(<to>, <text>, #{ key: "order" })"#,
    r#"message send_link(<to>, "https://a.example/", #{ caption: <text> })"#,
    r#"message? send_file(<to>, "files/<digit>.pdf", #{ caption: <text> })"#,
    r#"int send_text(["+15417543010", "120@g.us", "15417543010"], <text>).len"#,
    r#"list send_text(["+15417543010", "120@g.us"], <text>, #{ key: "all<digit>" }).map(|m| m.wait("30s").status.len)"#,
];

/// Calls that throw at the line, some of them only after a look at the accounts.
pub const REFUSED: &[&str] = &[
    r#"send_text("abc", <text>)"#,
    r#"send_text(["+15417543010", "77@lid"], <text>)"#,
    r#"send_text("77@lid", <text>, #{ key: "order" })"#,
    r#"send_text(<to>, <text>, #{ account: "nobody" })"#,
    r#"ask("77@lid", <text>)"#,
    r#"ask(<to>, <text>, #{ account: "nobody" })"#,
    r#"wait_for_message(#{ account: "nobody" })"#,
    r#"http::get("nowhere")"#,
    r#"sleep("soon")"#,
    r#"kv::set("", <int>)"#,
    r#"flows::start("other", Fn("log"))"#,
    "respond(99)",
    "secret(\"OTHER\")",
    "random(2, 1)",
    "[1][7]",
    "1 / 0",
    r#"throw #{ kind: "mine", message: <text> }"#,
];

/// New variables.
pub const LETS: &[&str] = &[
    "let <let:int> = <int>;",
    "let <let:int> = <int>;",
    "let <let:text> = <text>;",
    "let <let:flag> = <flag>;",
    "let <let:list> = <list>;",
    "let <let:map> = <map>;",
    "let <let:time> = <time>;",
];

/// Changes of variables.
pub const CHANGES: &[&str] = &[
    "print(<int>);",
    "<var:int> = <int>;",
    "<var:int> += <int>;",
    "<var:text> = <text>;",
    "<var:text> += <int>;",
    "<var:flag> = <flag>;",
    "<var:list> = <list>;",
    "<var:list>.push(<int>);",
    "<var:map>.a = <int>;",
    r#"<var:map>["k<digit>"] = <int>;"#,
    "<var:time> = <time>;",
];

/// Statements with others in them, and calls of functions.
pub const BLOCKS: &[&str] = &[
    "if <flag> {<block>}",
    "if <flag> {<block>} else {<block>}",
    "switch <int> % 3 { 0 => {<block>}, 1 => {<block>}, _ => {<block>} }",
    "for <new:int> in 0..3 {<block>}",
    "for <new:int> in [<int>, <int>] {<block>}",
    "for (<new:int>, <new:int>) in <list>.extract(0, 2) {<block>}",
    "for <new:text> in <map>.keys().extract(0, 2) {<block>}",
    "for <new:text> in <space>::list().extract(0, 2) {<block>}",
    "let <new:int> = 0; while <it> < 3 { <it> += 1;<block>if <flag> { break; } }",
    "let <new:int> = 0; while <it> < 3 { <it> += 1; if <flag> { continue; }<block>}",
    r#"try {<block>throw #{ kind: "mine", message: <text> };<block>} catch (e) { log::warn(e.message);<block>}"#,
    r#"try {<block>if <flag> { throw #{ kind: "mine", message: <text> }; }<block>} catch { print(<int>); }"#,
    r#"try {<block><call>; } catch (e) { log::warn(e.kind + ": " + e.message); }"#,
    "let <let:list> = [<int>, <int>, <int>].map(|<new:int>| {<block><int> });",
    "let <let:list> = [<int>, <int>, <int>].filter(|<new:int>| {<block><flag> });",
    r#"[<int>, <int>].for_each(|| { kv::set("<key>", this);<block>});"#,
    "[<int>, <int>].for_each(|<new:int>| {<block>});",
    "let <let:list> = [<int>, <int>, <int>, <int>]; <it>.sort(|a, b| { <call>; a - b });",
    "let <let:list> = [<number>, <number>, <number>]; <it>.sort(|a, b| {<block>b - a });",
    "let <let:list> = [<int>, 7, 7, <int>]; <it>.dedup(|a, b| { <call>; a == b });",
    "let <new:closure> = |<new:int>| {<block><int> }; let <let:int> = <it>.call(<number>) + <it>.call(<number>);",
    "let <let:int> = <function>(<digit>, <text>);",
    "let <let:int> = <function>(<digit>, <text>);",
    r#"let <let:int> = Fn("<own>").call(<digit>, <text>);"#,
    r#"let <let:list> = [<digit>, <digit>].map(|x| <function>(x, "go"));"#,
];

/// A function, `@` by name, that calls itself.
pub const FUNCTION: &str = "fn @(n, t) { if n <= 0 { return t.len; }<block>@(n - 1, t + \"-\") + 1 }";

/// What is done once.
pub const RESPOND: &str = r#"respond(201, <map>, #{ "X-A": "b" });"#;

/// Ends before the end.
pub const EXITS: &[&str] = &[
    "if <flag> { return <list>; }",
    r#"if <flag> { throw #{ kind: "mine", message: <text> }; }"#,
    "if <flag> { fail(<text>); }",
];
