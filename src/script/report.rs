//! What is reported of an error that nobody caught.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use super::constants::line_column;
use super::error::{LONGEST, lower_first};
use super::printed::beginning;
use super::usage;
use crate::model::run::ScriptError;

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
    let (line, column) = line_column(place);
    (report.line, report.column) = (place.line().map(|_| line), place.position().map(|_| column));
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
        ("postrider::script::types::Moment", "time"),
        ("postrider::script::types::Span", "duration"),
        ("postrider::script::types::SecretText", "secret"),
        ("postrider::script::types::Message", "message"),
    ] {
        text = text.replace(theirs, ours);
    }
    text
}
