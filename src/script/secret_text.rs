//! A secret in a script: a value that can be joined to text and handed on, but not looked at.

use rhai::{Module, NativeCallContext};

use super::error::{HostResult, thrown};
use super::state;
use super::types::SecretText;
use crate::model::call::{Piece, Veiled};

fn secret(ctx: NativeCallContext, name: &str) -> HostResult<SecretText> {
    state::with(&ctx, |turn| {
        let known = turn.secret_names();
        if known.iter().any(|known| known == name) {
            return Ok(SecretText(Veiled(vec![Piece::Named { secret: name.into() }])));
        }
        let mut message = format!("secret `{name}` is not listed under `secrets:` of this flow");
        match crate::units::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
            None => message.push_str(&format!("; add `secrets: [{name}]` to it")),
        }
        Err(thrown("secret", message))
    })
}

/// Registers `secret` and how secrets join text.
pub fn register(module: &mut Module) {
    module.set_custom_type::<SecretText>("secret");
    module.set_native_fn("secret", secret);
    module.set_native_fn("+", |a: SecretText, b: &str| Ok(a.joined(SecretText::plain(b))));
    module.set_native_fn("+", |a: &str, b: SecretText| Ok(SecretText::plain(a).joined(b)));
    module.set_native_fn("+", |a: SecretText, b: SecretText| Ok(a.joined(b)));
    // Whatever would print one gets stars; in `${...}` of a text too.
    for name in ["to_string", "to_debug"] {
        module.set_native_fn(name, |_: &mut SecretText| Ok("***".to_owned()));
    }
}
