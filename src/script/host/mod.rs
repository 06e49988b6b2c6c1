//! The functions that scripts call, a file for each area.

mod chance;
mod convert;
mod files;
mod http;
mod keys;
mod kinds;
mod options;
mod pattern;
mod say;
mod send;
mod table;
mod talk;
mod together;
mod wait;

use rhai::{Array, Blob, Dynamic, FnPtr, Map, Module};

pub use convert::json_parse;

/// Registers what is called without a namespace.
pub fn register(module: &mut Module) {
    kinds::register(module);
    wait::register(module);
    talk::register(module);
    together::register(module);
    say::register(module);
    chance::register(module);
}

/// The functions in a namespace: `kv::get`, `json::parse`, ...
pub fn spaces() -> Vec<(&'static str, Module)> {
    let mut spaces = convert::spaces();
    spaces.push(("csv", table::space()));
    spaces.push(("files", files::space()));
    spaces.push(("flows", together::space()));
    spaces.push(("http", http::space()));
    spaces.push(("kv", keys::space()));
    spaces.push(("shared", keys::shared()));
    spaces.push(("log", say::space()));
    spaces.push(("regex", pattern::space()));
    spaces.push(("time", super::time::space()));
    spaces
}

/// About how many bytes a value holds besides its own slot.
pub fn weight(value: &Dynamic) -> u64 {
    weight_within(value, 0)
}

fn weight_within(value: &Dynamic, depth: usize) -> u64 {
    // What is copied with a value is counted; what is shared, and may even hold itself, is not copied.
    if value.is_shared() || depth > 500 {
        return 0;
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return text.len() as u64;
    }
    if let Some(blob) = value.read_lock::<Blob>() {
        return blob.len() as u64;
    }
    let slot = size_of::<Dynamic>() as u64;
    let of = |item: &Dynamic| slot + weight_within(item, depth + 1);
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(of).sum();
    }
    if let Some(fields) = value.read_lock::<Map>() {
        return fields.iter().map(|(key, item)| 48 + key.len() as u64 + of(item)).sum();
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        return 128 + function.iter_curry().map(of).sum::<u64>();
    }
    0
}
