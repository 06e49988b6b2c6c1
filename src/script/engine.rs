//! The Rhai engine: shared packages, our functions on top, and what a turn adds to them.

use std::collections::HashSet;
use std::sync::OnceLock;

use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, LexError, Module as RhaiModule, OptimizationLevel, Shared, Token};

use super::header_names::HeaderNames;
use super::limits::{self, Watch};
use super::{host, natives, secret_text, time};

/// Everything that does not depend on the turn, built once: an engine for a turn is then a few
/// shared pointers.
struct Kit {
    standard: Shared<RhaiModule>,
    global: Shared<RhaiModule>,
    spaces: Vec<(&'static str, Shared<RhaiModule>)>,
    names: Vec<String>,
    /// How many values each of them takes.
    counts: HashSet<(String, usize)>,
}

fn kit() -> &'static Kit {
    static KIT: OnceLock<Kit> = OnceLock::new();
    KIT.get_or_init(|| {
        let standard = StandardPackage::new().as_shared_module();
        let mut global = RhaiModule::new();
        natives::register(&mut global);
        host::register(&mut global);
        secret_text::register(&mut global);
        time::register(&mut global);
        let mut spaces = host::spaces();
        for (name, space) in &mut spaces {
            // With a name of its own, Rhai shares it between engines instead of copying it.
            space.set_id(*name);
            space.build_index();
        }
        let signed = |module: &RhaiModule| -> Vec<(String, usize)> {
            module
                .gen_fn_signatures_with_mapper(|kind| kind.into())
                .map(|signature| name_and_count(&signature))
                .collect()
        };
        let mut counts: HashSet<(String, usize)> = [&*standard, &global].into_iter().flat_map(signed).collect();
        counts.retain(|(name, _)| name.starts_with(|c: char| c.is_ascii_alphabetic()));
        for (space, module) in &spaces {
            counts.extend(signed(module).into_iter().map(|(name, count)| (format!("{space}::{name}"), count)));
        }
        let mut names: Vec<String> = counts.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        let spaces = spaces.into_iter().map(|(name, module)| (name, module.into())).collect();
        Kit { standard, global: global.into(), spaces, names, counts }
    })
}

/// `send_text(_: Dynamic, _: &str) -> message` is `send_text` with two values.
fn name_and_count(signature: &str) -> (String, usize) {
    let (name, rest) = signature.split_once('(').unwrap_or((signature, ""));
    let values = rest.split(')').next().unwrap_or_default();
    (name.trim().to_owned(), values.split(',').filter(|value| !value.trim().is_empty()).count())
}

/// Whether a function may be called with so many values.
pub fn takes(name: &str, count: usize) -> bool {
    kit().counts.contains(&(name.to_owned(), count))
}

/// Whether functions of ours are called by this namespace.
pub fn has_space(name: &str) -> bool {
    kit().spaces.iter().any(|(space, _)| *space == name)
}

/// The names of all functions that a script may call, those in a namespace with it.
pub fn names() -> &'static [String] {
    &kit().names
}

/// An engine that knows our functions but belongs to no turn: for compiling.
pub fn bare() -> Engine {
    let mut engine = Engine::new_raw();
    let kit = kit();
    engine.register_global_module(kit.standard.clone());
    engine.register_global_module(kit.global.clone());
    for (name, space) in &kit.spaces {
        engine.register_static_module(name, space.clone());
    }
    engine.set_max_expr_depths(64, 64);
    engine.set_max_call_levels(64);
    engine.disable_symbol("eval");
    // It would join constants to texts of any length before anybody can look.
    engine.set_optimization_level(OptimizationLevel::None);
    // They join texts of any length without asking anybody.
    engine.set_fast_operators(false);
    // Rhai keeps the word for itself and does nothing with it; here it is the name of a space.
    let header_names = HeaderNames::default();
    #[allow(deprecated, reason = "Rhai marks the interface as one that may change, not as one that goes")]
    engine.on_parse_token(move |token, _, _| match header_names.told(token) {
        Token::Reserved(word) if word.as_str() == "shared" => Token::Identifier(word),
        // Reading a text may take too long as well.
        _ if limits::tick().is_err() => {
            Token::LexError(LexError::Runtime("it takes too long, or too much memory".into()).into())
        }
        token => token,
    });
    engine
}

/// Every operation ends what runs once a bound is broken.
pub fn watched(engine: &mut Engine, watch: Watch) {
    engine.on_progress(move |_| (watch.has_ended() || watch.check().is_err()).then_some(Dynamic::UNIT));
}
