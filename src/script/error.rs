//! Errors between Rhai and people: what a host function throws, and what `catch` sees.

use rhai::{Dynamic, EvalAltResult, Map, Position};

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

/// With a small letter, as our own sentences begin.
pub fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
