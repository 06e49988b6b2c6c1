//! Errors between Rhai and people: what a host function throws, what `catch` sees, and what is
//! reported of an error that nobody caught.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use super::printed::beginning;
use super::usage;
use crate::model::run::ScriptError;

/// Most bytes of an error's text: it stands in the log, in the store and on pages.
pub const LONGEST: usize = 4_096;

/// What a host function returns.
pub type HostResult<T> = Result<T, Box<EvalAltResult>>;

/// Throws an error of ours: in `catch (e)` it is a map with `kind` and `message`.
pub fn thrown(kind: &str, message: impl Into<String>) -> Box<EvalAltResult> {
    let mut map = Map::new();
    map.insert("kind".into(), kind.into());
    map.insert("message".into(), cut(message.into()).into());
    Box::new(EvalAltResult::ErrorRuntime(map.into(), Position::NONE))
}

/// A text, cut where it is too long for a sentence.
pub fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// Puts an error at the place of the call, where Rhai does not do so itself: behind `::`.
pub fn at<T>(ctx: &rhai::NativeCallContext, result: HostResult<T>) -> HostResult<T> {
    result.map_err(|mut error| {
        if error.position().is_none() {
            error.set_position(ctx.call_position());
        }
        error
    })
}

/// Throws a recorded error again.
pub fn rethrown(error: &ScriptError) -> Box<EvalAltResult> {
    thrown(&error.kind, error.message.clone())
}

/// Ends the turn without anything being able to catch it; the reason is kept in the turn's state.
pub fn terminated() -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE))
}

/// The kind of one of Rhai's own errors.
fn kind_of(error: &EvalAltResult) -> &'static str {
    use EvalAltResult as E;
    match error {
        E::ErrorParsing(..) => "syntax",
        E::ErrorVariableNotFound(..) | E::ErrorPropertyNotFound(..) => "unknown_name",
        E::ErrorFunctionNotFound(..) | E::ErrorModuleNotFound(..) => "unknown_function",
        E::ErrorIndexNotFound(..)
        | E::ErrorArrayBounds(..)
        | E::ErrorStringBounds(..)
        | E::ErrorBitFieldBounds(..)
        | E::ErrorIndexingType(..) => "index",
        E::ErrorMismatchDataType(..) | E::ErrorMismatchOutputType(..) | E::ErrorFor(..) => "type",
        E::ErrorArithmetic(..) => "arithmetic",
        E::ErrorAssignmentToConstant(..) | E::ErrorNonPureMethodCallOnConstant(..) => "constant",
        E::ErrorStackOverflow(..) | E::ErrorTooManyVariables(..) | E::ErrorDataTooLarge(..) => "limit",
        _ => "script",
    }
}

/// The kind for the name that Rhai itself gives an error in `catch`.
fn kind_of_name(name: &str) -> &'static str {
    match name {
        "ErrorVariableNotFound" | "ErrorPropertyNotFound" => "unknown_name",
        "ErrorFunctionNotFound" | "ErrorModuleNotFound" => "unknown_function",
        "ErrorIndexNotFound"
        | "ErrorArrayBounds"
        | "ErrorStringBounds"
        | "ErrorBitFieldBounds"
        | "ErrorIndexingType" => "index",
        "ErrorMismatchDataType" | "ErrorMismatchOutputType" | "ErrorFor" => "type",
        "ErrorArithmetic" => "arithmetic",
        "ErrorAssignmentToConstant" | "ErrorNonPureMethodCallOnConstant" => "constant",
        "ErrorStackOverflow" | "ErrorTooManyVariables" | "ErrorDataTooLarge" => "limit",
        _ => "script",
    }
}

/// Gives the map that Rhai makes of one of its own errors the `kind` that all errors have.
pub fn complete_caught(caught: &mut Dynamic) {
    let Some(mut map) = caught.write_lock::<Map>() else { return };
    if map.contains_key("kind") {
        return;
    }
    let text = |map: &Map, key: &str| map.get(key).and_then(|value| value.clone().into_string().ok());
    let Some(name) = text(&map, "error") else { return };
    let message = text(&map, "message").unwrap_or_default();
    // What was thrown inside a function comes wrapped, with the calls listed behind the message.
    let message = message.split("\nin call to function").next().unwrap_or_default();
    let message = message.rfind(" (line ").map_or(message, |cut| &message[..cut]);
    let kind = match name.as_str() {
        "ErrorInFunctionCall" | "ErrorInModule" => kind_of_message(message),
        name => kind_of_name(name),
    };
    map.insert("kind".into(), kind.into());
    map.insert("message".into(), lower_first(message).into());
}

/// The kind by how Rhai's message begins, where its name is lost.
fn kind_of_message(message: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 17] = [
        ("Variable not found", "unknown_name"),
        ("Property not found", "unknown_name"),
        ("Unknown property", "unknown_name"),
        ("Function not found", "unknown_function"),
        ("Module not found", "unknown_function"),
        ("Index", "index"),
        ("Array index", "index"),
        ("String index", "index"),
        ("Bit-field index", "index"),
        ("Invalid index", "index"),
        ("Data type incorrect", "type"),
        ("Output type incorrect", "type"),
        ("For loop expects", "type"),
        ("Cannot modify constant", "constant"),
        ("Stack overflow", "limit"),
        ("Division by zero", "arithmetic"),
        ("Arithmetic", "arithmetic"),
    ];
    let found = BEGINNINGS.iter().find(|(beginning, _)| message.starts_with(beginning)).map(|(_, kind)| *kind);
    let counted = ["overflow", "by zero"].iter().any(|word| message.contains(word)).then_some("arithmetic");
    found.or(counted).unwrap_or("script")
}

/// The innermost error with its place: source file (none for the main script) and position.
fn innermost(error: &EvalAltResult) -> (&EvalAltResult, Option<&str>, Position) {
    let (mut error, mut source, mut place) = (error, None, error.position());
    loop {
        let inner = match error {
            EvalAltResult::ErrorInFunctionCall(_, from, inner, _) => {
                source = (!from.is_empty()).then_some(from.as_str()).or(source);
                inner
            }
            EvalAltResult::ErrorInModule(name, inner, _) => {
                source = Some(name.as_str());
                inner
            }
            _ => return (error, source, place),
        };
        if !inner.position().is_none() {
            place = inner.position();
        }
        error = inner;
    }
}

/// An uncaught error as it is kept with the run and shown: kind, sentence, file, line, column.
/// `main` is the file of the flow's own script.
pub fn report(error: &EvalAltResult, main: &str, known: &[String]) -> ScriptError {
    let (inner, source, place) = innermost(error);
    let mut report = match inner {
        EvalAltResult::ErrorRuntime(value, _) => runtime(value),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            ScriptError::new(kind_of(inner), unknown_function(signature, known))
        }
        EvalAltResult::ErrorDotExpr(what, _) if what.contains("'()'") => {
            let name = what.split('\'').nth(1).unwrap_or_default();
            let message =
                format!("`.{name}` is asked of nothing: what stands before the dot is `()`; does the event have it?");
            ScriptError::new("unknown_name", message)
        }
        other => {
            let mut bare = beginning(other, LONGEST);
            if let Some(cut) = bare.rfind(" (line ") {
                bare.truncate(cut);
            }
            ScriptError::new(kind_of(other), lower_first(&bare))
        }
    };
    report.script = Some(source.unwrap_or(main).to_owned());
    report.line = place.line().map(|line| line as u32);
    report.column = place.position().map(|column| column as u32);
    report
}

fn runtime(value: &Dynamic) -> ScriptError {
    if let Some(map) = value.read_lock::<Map>() {
        let text = |key: &str| map.get(key).map(|item| beginning(item, LONGEST));
        if let Some(message) = text("message") {
            return ScriptError::new(&text("kind").unwrap_or_else(|| "thrown".into()), message);
        }
    }
    ScriptError::new("thrown", beginning(value, LONGEST))
}

fn unknown_function(signature: &str, known: &[String]) -> String {
    let name = signature.split([' ', '(']).next().unwrap_or(signature);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        let types = plain_types(signature.trim_start_matches(name).trim());
        return format!("`{name}` cannot be used with {types}");
    }
    if known.iter().any(|known| known == name) {
        let types = plain_types(signature);
        return match usage::of(name) {
            Some(call) => format!("`{name}` takes other values than `{types}`: write `{call}`"),
            None => format!("`{name}` takes other values than `{types}`; see the script reference"),
        };
    }
    match crate::units::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("there is no function `{name}`; did you mean `{near}`?"),
        None => format!("there is no function `{name}`"),
    }
}

/// Rust's names for types out of a signature, in an author's words.
fn plain_types(signature: &str) -> String {
    let mut text = signature.to_owned();
    for (theirs, ours) in [
        ("&str | ImmutableString | String", "string"),
        ("i64", "integer"),
        ("f64", "float"),
        ("postrider::script::time::Moment", "time"),
        ("postrider::script::time::Span", "duration"),
        ("postrider::script::secret_text::SecretText", "secret"),
        ("postrider::script::host::send::Message", "message"),
    ] {
        text = text.replace(theirs, ours);
    }
    text
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
