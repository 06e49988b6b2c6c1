//! The functions that scripts call, a file for each area.

mod chance;
mod convert;
mod files;
mod http;
mod keys;
mod kinds;
mod options;
mod say;
mod send;
mod talk;
mod together;
mod wait;

use rhai::{Array, Blob, Dynamic, Map, Module};

pub use send::Message;

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
    spaces.push(("files", files::space()));
    spaces.push(("flows", together::space()));
    spaces.push(("http", http::space()));
    spaces.push(("kv", keys::space()));
    spaces.push(("shared", keys::shared()));
    spaces.push(("log", say::space()));
    spaces.push(("time", super::time::space()));
    spaces
}

/// About how many bytes a value holds besides its own slot.
pub fn weight(value: &Dynamic) -> u64 {
    if let Ok(text) = value.as_immutable_string_ref() {
        return text.len() as u64;
    }
    if let Some(blob) = value.read_lock::<Blob>() {
        return blob.len() as u64;
    }
    let slot = size_of::<Dynamic>() as u64;
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| slot + weight(item)).sum();
    }
    if let Some(fields) = value.read_lock::<Map>() {
        return fields.iter().map(|(key, item)| 48 + slot + key.len() as u64 + weight(item)).sum();
    }
    0
}
