//! Rhai's own functions that can grow, walk or print a value by any amount in one call, done so that
//! they ask for the room and look at the clock. They are found before Rhai's, also by what Rhai calls
//! itself: `+` and interpolation print by `to_string`, `contains` and `dedup` compare by `==`.

mod texts;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rhai::{
    Array, Blob, Dynamic, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext, RhaiNativeFunc,
    Variant,
};

use crate::script::error::{HostResult, thrown};
use crate::script::host::{self, json_parse};
use crate::script::limits::{room_for, room_left, tick, tick_long, too_large};
use crate::script::printed::{Text, print, print_list, print_map};
use crate::script::state::json;
use crate::script::types::type_name;
use crate::script::value::fields_to_json;

const SLOT: u64 = size_of::<Dynamic>() as u64;
/// Letters that a text compared in one go may have before the clock is looked at.
const LONG: usize = 4_096;

/// Registers them.
pub fn register(module: &mut Module) {
    printing(module);
    padding(module);
    joining(module);
    texts::register(module);
    equality(module);
    sorting(module);
    module.set_native_fn("parse_json", |_: NativeCallContext, text: &str| json_parse("parse_json", text));
    module.set_native_fn("get_fn_metadata_list", |_: NativeCallContext| -> HostResult<Array> {
        Err(thrown("unknown_function", "`get_fn_metadata_list` is not available in a flow"))
    });
}

/// Registers a function that changes what stands before its dot. A constant is not changed by any of them.
fn changing<A: 'static, const N: usize, const X: bool, R, F>(module: &mut Module, name: &str, function: F)
where
    R: Variant + Clone,
    F: RhaiNativeFunc<A, N, X, R, true> + Send + Sync + 'static,
{
    FuncRegistration::new(name)
        .in_internal_namespace()
        .with_purity(false)
        .with_volatility(false)
        .set_into_module(module, function);
}

fn count(len: i64) -> u64 {
    len.max(0).unsigned_abs()
}

/// What prints. (`print` and `debug` are log lines and stand in `host::say`.)
fn printing(module: &mut Module) {
    // An error here would make Rhai print the value by itself, as long as it is.
    fn shown(write: impl FnOnce(&mut Text) -> std::fmt::Result) -> HostResult<ImmutableString> {
        let mut text = Text::new(room_left() / 3);
        if write(&mut text).is_err() {
            too_large();
            return Ok(ImmutableString::new());
        }
        Ok(text.into())
    }
    for (name, debug) in [("to_string", false), ("to_debug", true)] {
        module.set_native_fn(name, |ctx: NativeCallContext, items: &mut Array| {
            shown(|text| print_list(&ctx, items, text))
        });
        module.set_native_fn(name, |ctx: NativeCallContext, fields: &mut Map| {
            shown(|text| print_map(&ctx, fields, text))
        });
        module.set_native_fn(name, move |ctx: NativeCallContext, value: &mut Dynamic| {
            shown(|text| print(&ctx, value, debug, text))
        });
    }
    module.set_native_fn("to_debug", |_: NativeCallContext, text: &str| shown(|shown| write!(shown, "{text:?}")));
    module.set_native_fn("to_json", |_: NativeCallContext, map: &mut Map| {
        let value = fields_to_json(map).map_err(|error| thrown("invalid", format!("to_json: {error}")))?;
        json(&value)
    });
}

fn padding(module: &mut Module) {
    changing(module, "pad", |array: &mut Array, len: i64, item: Dynamic| {
        let weight = SLOT + host::weight(&item);
        room_for(count(len).saturating_sub(array.len() as u64).saturating_mul(weight))?;
        if count(len) > array.len() as u64 {
            array.resize(count(len) as usize, item);
        }
        Ok(())
    });
    changing(module, "pad", |text: &mut ImmutableString, len: i64, with: char| {
        pad_text(text, len, with.encode_utf8(&mut [0; 4]))
    });
    changing(module, "pad", |text: &mut ImmutableString, len: i64, with: &str| pad_text(text, len, with));
    changing(module, "pad", |blob: &mut Blob, len: i64, with: i64| {
        room_for(count(len))?;
        if count(len) > blob.len() as u64 {
            blob.resize(count(len) as usize, (with & 0xff) as u8);
        }
        Ok(())
    });
    module.set_native_fn("blob", |_: NativeCallContext, len: i64| {
        room_for(count(len))?;
        Ok(vec![0_u8; count(len) as usize])
    });
    module.set_native_fn("blob", |_: NativeCallContext, len: i64, with: i64| {
        room_for(count(len))?;
        Ok(vec![(with & 0xff) as u8; count(len) as usize])
    });
}

fn pad_text(text: &mut ImmutableString, len: i64, with: &str) -> HostResult<()> {
    let have = text.chars().count() as u64;
    let missing = count(len).saturating_sub(have);
    if missing == 0 || with.is_empty() {
        return Ok(());
    }
    room_for(missing.saturating_mul(4).saturating_add(text.len() as u64))?;
    let widest = with.chars().map(char::len_utf8).max().unwrap_or(1);
    let mut padded = String::with_capacity(text.len() + missing as usize * widest);
    padded.push_str(text);
    padded.extend(with.chars().cycle().take(missing as usize));
    *text = padded.into();
    Ok(())
}

/// What joins two values to a longer one. Rhai's short cuts for its own operators are off, or these would not
/// be asked.
fn joining(module: &mut Module) {
    fn joined(one: &str, other: &str) -> HostResult<ImmutableString> {
        room_for((one.len() + other.len()) as u64)?;
        let mut text = String::with_capacity(one.len() + other.len());
        text.push_str(one);
        text.push_str(other);
        Ok(text.into())
    }
    module.set_native_fn("+", |one: ImmutableString, other: ImmutableString| {
        match (one.is_empty(), other.is_empty()) {
            (true, _) => Ok(other),
            (_, true) => Ok(one),
            _ => joined(&one, &other),
        }
    });
    fn shown(ctx: &NativeCallContext, value: &mut Dynamic) -> HostResult<ImmutableString> {
        ctx.call_native_fn_raw("to_string", true, &mut [value])?
            .into_immutable_string()
            .map_err(|kind| thrown("type", format!("`to_string` gave no text, but a value of type {kind}")))
    }
    // A byte that is no UTF-8 becomes three.
    fn lossy(bytes: &[u8]) -> HostResult<Cow<'_, str>> {
        room_for((bytes.len() as u64).saturating_mul(3))?;
        Ok(String::from_utf8_lossy(bytes))
    }
    module.set_native_fn("+", |ctx: NativeCallContext, one: ImmutableString, mut other: Dynamic| {
        joined(&one, &shown(&ctx, &mut other)?)
    });
    module
        .set_native_fn("+", |ctx: NativeCallContext, one: &mut Dynamic, other: &str| joined(&shown(&ctx, one)?, other));
    module.set_native_fn("+", |one: &str, other: char| joined(one, other.encode_utf8(&mut [0; 4])));
    module.set_native_fn("+", |one: char, other: &str| joined(one.encode_utf8(&mut [0; 4]), other));
    module.set_native_fn("+", |text: &str, bytes: Blob| joined(text, &lossy(&bytes)?));
    module.set_native_fn("+", |bytes: Blob, text: &str| joined(&lossy(&bytes)?, text));
    module.set_native_fn("as_string", |bytes: Blob| Ok(ImmutableString::from(lossy(&bytes)?.into_owned())));
    for name in ["+=", "append"] {
        changing(module, name, |one: &mut ImmutableString, other: ImmutableString| grow(one, &other));
        changing(module, name, |one: &mut ImmutableString, other: char| grow(one, other.encode_utf8(&mut [0; 4])));
        changing(module, name, |one: &mut ImmutableString, bytes: Blob| grow(one, &lossy(&bytes)?));
        changing(module, name, |ctx: NativeCallContext, one: &mut ImmutableString, mut other: Dynamic| {
            grow(one, &shown(&ctx, &mut other)?)
        });
        changing(module, name, |one: &mut Array, mut other: Array| {
            room_for(SLOT * (one.len() + other.len()) as u64)?;
            one.append(&mut other);
            Ok(())
        });
        changing(module, name, |one: &mut Blob, other: Blob| {
            room_for((one.len() + other.len()) as u64)?;
            one.extend(other);
            Ok(())
        });
    }
    module.set_native_fn("+", |mut one: Array, mut other: Array| {
        room_for(SLOT * (one.len() + other.len()) as u64)?;
        one.append(&mut other);
        Ok(one)
    });
}

/// Adds to a text. A long one may be copied as it grows.
fn grow(text: &mut ImmutableString, more: &str) -> HostResult<()> {
    if text.len() + more.len() > LONG {
        room_for((text.len() + more.len()) as u64)?;
    }
    *text += more;
    Ok(())
}

fn same_text(one: &str, other: &str) -> HostResult<bool> {
    match one.len() == other.len() && one.len() > LONG {
        true => tick_long()?,
        false => tick()?,
    }
    Ok(one == other)
}

fn same(ctx: &NativeCallContext, one: &mut Dynamic, other: &mut Dynamic) -> HostResult<bool> {
    tick()?;
    let (kind, other_kind) = (one.type_id(), other.type_id());
    let answer = ctx.call_native_fn_raw("==", true, &mut [one, other]);
    match answer {
        Ok(answer) => Ok(answer.as_bool().unwrap_or(false)),
        // Values of two types that nobody compares are not equal.
        Err(error) => match *error {
            rhai::EvalAltResult::ErrorFunctionNotFound(ref what, ..)
                if what.starts_with("==") && kind != other_kind =>
            {
                Ok(false)
            }
            _ => Err(error),
        },
    }
}

fn same_list(ctx: &NativeCallContext, one: &mut Array, other: &mut Array) -> HostResult<bool> {
    tick()?;
    if one.len() != other.len() {
        return Ok(false);
    }
    for (one, other) in one.iter_mut().zip(other) {
        if !same(ctx, one, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_map(ctx: &NativeCallContext, one: &mut Map, other: &mut Map) -> HostResult<bool> {
    tick()?;
    if one.len() != other.len() {
        return Ok(false);
    }
    for (name, one) in one {
        let Some(other) = other.get_mut(name) else { return Ok(false) };
        if !same(ctx, one, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What others compare by. Their own loops end with the first comparison that is refused.
fn equality(module: &mut Module) {
    module.set_native_fn("==", |_: NativeCallContext, one: &str, other: &str| same_text(one, other));
    module.set_native_fn("!=", |_: NativeCallContext, one: &str, other: &str| same_text(one, other).map(|same| !same));
    module.set_native_fn("==", |ctx: NativeCallContext, one: &mut Array, mut other: Array| {
        same_list(&ctx, one, &mut other)
    });
    module.set_native_fn("!=", |ctx: NativeCallContext, one: &mut Array, mut other: Array| {
        same_list(&ctx, one, &mut other).map(|same| !same)
    });
    module.set_native_fn("==", |ctx: NativeCallContext, one: &mut Map, mut other: Map| same_map(&ctx, one, &mut other));
    module.set_native_fn("!=", |ctx: NativeCallContext, one: &mut Map, mut other: Map| {
        same_map(&ctx, one, &mut other).map(|same| !same)
    });
}

/// Leaves a sort whose time is over: its comparison has no other way to say so.
fn leave_if_over(long: bool) {
    let over = if long { tick_long() } else { tick() };
    if over.is_err() {
        resume_unwind(Box::new(()));
    }
}

fn sorted(sort: impl FnOnce()) -> HostResult<()> {
    catch_unwind(AssertUnwindSafe(sort)).map_err(|_| match tick() {
        Err(over) => over,
        Ok(()) => thrown("script", "the comparison that `sort` was given contradicts itself"),
    })
}

fn sort_by(ctx: &NativeCallContext, array: &mut Array, by: &FnPtr) -> HostResult<()> {
    let compare = |one: &Dynamic, other: &Dynamic| {
        leave_if_over(false);
        let said = by.call_raw(ctx, None, [one.clone(), other.clone()]);
        let said = said.ok().and_then(|said| {
            said.as_int()
                .ok()
                .map(|said| said.cmp(&0))
                .or_else(|| said.as_bool().ok().map(|first| if first { Ordering::Less } else { Ordering::Greater }))
        });
        // A question inside it has ended the turn.
        leave_if_over(false);
        said.unwrap_or_else(|| one.type_id().cmp(&other.type_id()))
    };
    sorted(|| array.sort_by(compare))
}

fn sort(array: &mut Array) -> HostResult<()> {
    let [first, _, ..] = array.as_slice() else { return Ok(()) };
    let kind = first.type_id();
    let cannot = |what: &str| thrown("type", format!("sort: {what} cannot be sorted; say how by a function"));
    if array.iter().any(|item| item.type_id() != kind) {
        return Err(cannot("values of different types"));
    }
    let known = first.is_int() || first.is_float() || first.is_char() || first.is_string() || first.is_bool();
    if !known && !first.is_unit() {
        return Err(cannot(&format!("values of type {}", type_name(first))));
    }
    sorted(|| array.sort_by(|one, other| order(one, other).unwrap_or(Ordering::Equal)))
}

/// The order of two values of one of the types that have one.
fn order(one: &Dynamic, other: &Dynamic) -> Option<Ordering> {
    if let (Ok(one), Ok(other)) = (one.as_int(), other.as_int()) {
        leave_if_over(false);
        return Some(one.cmp(&other));
    }
    if let (Ok(one), Ok(other)) = (one.as_immutable_string_ref(), other.as_immutable_string_ref()) {
        leave_if_over(one.len().min(other.len()) > LONG);
        return Some(one.cmp(&other));
    }
    leave_if_over(false);
    if let (Ok(one), Ok(other)) = (one.as_float(), other.as_float()) {
        return one.partial_cmp(&other);
    }
    if let (Ok(one), Ok(other)) = (one.as_char(), other.as_char()) {
        return Some(one.cmp(&other));
    }
    if let (Ok(one), Ok(other)) = (one.as_bool(), other.as_bool()) {
        return Some(one.cmp(&other));
    }
    None
}

fn sorting(module: &mut Module) {
    for name in ["sort", "sort_by"] {
        changing(module, name, |ctx: NativeCallContext, array: &mut Array, by: FnPtr| sort_by(&ctx, array, &by));
    }
    for name in ["order", "order_by"] {
        module.set_native_fn(name, |ctx: NativeCallContext, array: &mut Array, by: FnPtr| {
            let mut array = array.clone();
            sort_by(&ctx, &mut array, &by).map(|()| array)
        });
    }
    fn sort_desc(array: &mut Array) -> HostResult<()> {
        sort(array)?;
        array.reverse();
        Ok(())
    }
    changing(module, "sort", |array: &mut Array| sort(array));
    changing(module, "sort_desc", |array: &mut Array| sort_desc(array));
    module.set_native_fn("order", |_: NativeCallContext, array: &mut Array| {
        let mut array = array.clone();
        sort(&mut array).map(|()| array)
    });
    module.set_native_fn("order_desc", |_: NativeCallContext, array: &mut Array| {
        let mut array = array.clone();
        sort_desc(&mut array).map(|()| array)
    });
}
