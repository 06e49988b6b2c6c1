//! Turns by themselves.
fn main() {}
