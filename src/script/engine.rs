//! The Rhai engine: shared packages, our functions on top, and what a turn adds to them.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use rhai::packages::{Package, StandardPackage};
use rhai::{Array, Blob, Dynamic, Engine, ImmutableString, Module as RhaiModule, NativeCallContext, Shared, Token};

use super::error::{self, HostResult};
use super::limits::Watch;
use super::program::Program;
use super::state::{self, Handle};
use super::{host, secret_text, time, turn};

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
        bound_growth(&mut global);
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
    // Rhai keeps the word for itself and does nothing with it; here it is the name of a space.
    #[allow(deprecated, reason = "Rhai marks the interface as one that may change, not as one that goes")]
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if word.as_str() == "shared" => Token::Identifier(word),
        token => token,
    });
    engine
}

/// The engine of one turn. `event` and `params` are looked up by name instead of standing in the
/// scope, so that functions and modules see them too and nothing can assign to them.
pub fn for_turn(program: &Program, event: Dynamic, params: Dynamic, handle: Handle, watch: Watch) -> Engine {
    let mut engine = bare();
    engine.set_module_resolver(program.resolver());
    engine.set_default_tag(Dynamic::from(handle.clone()));
    engine.on_progress(move |_| turn::progress(&handle, &watch));
    let caught = program.caught.clone();
    #[allow(deprecated, reason = "Rhai marks the interface as one that may change, not as one that goes")]
    engine.on_var(move |name, _, mut context| {
        Ok(match name {
            "event" => Some(event.clone()),
            "params" => Some(params.clone()),
            _ => {
                if caught.contains(name)
                    && let Some(value) = context.scope_mut().get_mut(name)
                {
                    error::complete_caught(value);
                }
                None
            }
        })
    });
    engine
}

/// Functions that grow a value by any amount in one call ask for the room first. (Growth step by
/// step is seen between the steps; Rhai's own size limits would walk every value instead.)
fn bound_growth(module: &mut RhaiModule) {
    fn room(ctx: &NativeCallContext, bytes: u64) -> HostResult<()> {
        state::with(ctx, |turn| match turn.watch.room_for(bytes) {
            Ok(()) => Ok(()),
            Err(excess) => Err(turn.excess(excess)),
        })
    }
    fn count(len: i64) -> u64 {
        len.max(0).unsigned_abs()
    }
    const SLOT: u64 = size_of::<Dynamic>() as u64;

    module.set_native_fn("pad", |ctx: NativeCallContext, array: &mut Array, len: i64, item: Dynamic| {
        let weight = SLOT + host::weight(&item);
        room(&ctx, count(len).saturating_sub(array.len() as u64).saturating_mul(weight))?;
        if count(len) > array.len() as u64 {
            array.resize(count(len) as usize, item);
        }
        Ok(())
    });
    module.set_native_fn("pad", |ctx: NativeCallContext, text: &mut ImmutableString, len: i64, with: char| {
        pad_text(&ctx, text, len, with.encode_utf8(&mut [0; 4]), room)
    });
    module.set_native_fn("pad", |ctx: NativeCallContext, text: &mut ImmutableString, len: i64, with: &str| {
        pad_text(&ctx, text, len, with, room)
    });
    module.set_native_fn("pad", |ctx: NativeCallContext, blob: &mut Blob, len: i64, with: i64| {
        room(&ctx, count(len))?;
        if count(len) > blob.len() as u64 {
            blob.resize(count(len) as usize, (with & 0xff) as u8);
        }
        Ok(())
    });
    module.set_native_fn("blob", |ctx: NativeCallContext, len: i64| {
        room(&ctx, count(len))?;
        Ok(vec![0_u8; count(len) as usize])
    });
    module.set_native_fn("blob", |ctx: NativeCallContext, len: i64, with: i64| {
        room(&ctx, count(len))?;
        Ok(vec![(with & 0xff) as u8; count(len) as usize])
    });
    fn replaced(ctx: &NativeCallContext, text: &mut ImmutableString, find: &str, by: &str) -> HostResult<()> {
        let hits = text.matches(find).count() as u64;
        room(ctx, hits.saturating_mul(by.len() as u64).saturating_add(text.len() as u64))?;
        *text = text.replace(find, by).into();
        Ok(())
    }
    module.set_native_fn("replace", |ctx: NativeCallContext, text: &mut ImmutableString, find: &str, by: &str| {
        replaced(&ctx, text, find, by)
    });
    module.set_native_fn("replace", |ctx: NativeCallContext, text: &mut ImmutableString, find: char, by: &str| {
        replaced(&ctx, text, find.encode_utf8(&mut [0; 4]), by)
    });
    // Pieces of a text weigh far more than their letters.
    fn pieces<'a>(
        ctx: &NativeCallContext,
        text: &str,
        split: impl Iterator<Item = &'a str> + Clone,
    ) -> HostResult<Array> {
        let many = split.clone().count() as u64;
        room(ctx, many.saturating_mul(SLOT + 32).saturating_add(text.len() as u64))?;
        Ok(split.map(|piece| piece.into()).collect())
    }
    module.set_native_fn("split", |ctx: NativeCallContext, text: &mut ImmutableString| {
        pieces(&ctx, text, text.split_whitespace())
    });
    module.set_native_fn("split", |ctx: NativeCallContext, text: &mut ImmutableString, by: &str| {
        pieces(&ctx, text, text.split(by))
    });
    module.set_native_fn("split", |ctx: NativeCallContext, text: &mut ImmutableString, by: char| {
        pieces(&ctx, text, text.split(by))
    });
    module.set_native_fn("to_chars", |ctx: NativeCallContext, text: &str| {
        room(&ctx, (text.len() as u64).saturating_mul(SLOT))?;
        Ok(text.chars().map(Dynamic::from_char).collect::<Array>())
    });
    module.set_native_fn("to_array", |ctx: NativeCallContext, blob: &mut Blob| {
        room(&ctx, (blob.len() as u64).saturating_mul(SLOT))?;
        Ok(blob.iter().map(|byte| Dynamic::from_int(i64::from(*byte))).collect::<Array>())
    });
}

fn pad_text(
    ctx: &NativeCallContext,
    text: &mut ImmutableString,
    len: i64,
    with: &str,
    room: fn(&NativeCallContext, u64) -> HostResult<()>,
) -> HostResult<()> {
    let have = text.chars().count() as u64;
    let missing = len.max(0).unsigned_abs().saturating_sub(have);
    if missing == 0 || with.is_empty() {
        return Ok(());
    }
    room(ctx, missing.saturating_mul(4).saturating_add(text.len() as u64))?;
    let mut padded = String::from(text.as_str());
    padded.extend(with.chars().cycle().take(missing as usize));
    *text = padded.into();
    Ok(())
}

/// What a program needs of the engine to be shared between turns.
pub type Caught = Arc<std::collections::HashSet<String>>;
