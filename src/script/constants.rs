//! `event` and `params`: what a script reads by name and cannot change.

use std::sync::OnceLock;

use rhai::{AST, Array, Dynamic, Engine, Map, ParseError, Position, Scope, ScriptFnMetadata};

/// Copies for closures within closures; whoever is deeper copies at each mention.
const DEPTHS: usize = 3;

/// A constant that is not copied where it is mentioned.
///
/// Rhai takes what a name stands for as a value of its own, so handing out the value would copy all of it.
/// What Rhai shares is not copied, but it is locked while a method on it runs, and a closure that the
/// method calls may mention the name again. Such a closure is one call deeper, so each depth has a copy of
/// its own, made when it is first asked for: nobody waits for a lock that they hold themselves.
pub struct Constant {
    value: Dynamic,
    shared: [OnceLock<Dynamic>; DEPTHS],
}

impl Constant {
    pub fn new(value: Dynamic) -> Self {
        Self { value, shared: Default::default() }
    }

    /// The value as a mention of its name gives it, so many calls deep.
    pub fn mentioned(&self, depth: usize) -> Dynamic {
        match self.shared.get(depth) {
            Some(shared) if self.value.is::<Map>() || self.value.is::<Array>() => {
                shared.get_or_init(|| self.value.clone().into_read_only().into_shared()).clone()
            }
            _ => self.value.clone(),
        }
    }
}

/// Stands before each script. A closure captures the names in it that are not its own, unless a function is
/// called so: a captured constant would be given to each call of the closure as a value. Nobody calls these;
/// with so many values nobody else defines them either.
const NAMES: &str = "private fn event(event,params,_e){}private fn params(event,params,_p){}";

/// Compiles a script that may mention the constants.
pub fn compile(engine: &Engine, text: &str) -> Result<AST, ParseError> {
    engine.compile_scripts_with_scope(&Scope::new(), [NAMES, text])
}

/// Whether a function is there only so that closures do not capture a constant.
pub fn is_stand_in(function: &ScriptFnMetadata<'_>) -> bool {
    matches!(function.params[..], ["event", "params", _])
}

/// Line and column in the author's text, from 1; 0 where there is none.
pub fn line_column(at: Position) -> (u32, u32) {
    let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
    (line as u32, if line == 1 { column.saturating_sub(NAMES.len()) } else { column } as u32)
}
