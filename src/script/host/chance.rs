//! Chance that a replay repeats: drawn from the run's secret seed, in order.

use rhai::{Module, NativeCallContext};
use sha2::{Digest, Sha256};

use crate::script::error::{HostResult, thrown};
use crate::script::state::{self, State};

fn draw(turn: &mut State) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"chance");
    hash.update(turn.seed);
    hash.update(turn.drawn.to_be_bytes());
    turn.drawn += 1;
    hash.finalize().into()
}

/// A float from 0 up to but not including 1, of 53 bits.
fn random(ctx: NativeCallContext) -> HostResult<f64> {
    state::with(&ctx, |turn| {
        let mut first = [0; 8];
        first.copy_from_slice(&draw(turn)[..8]);
        Ok((u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64)
    })
}

/// A whole number from `from` to `to`, both included.
fn random_between(ctx: NativeCallContext, from: i64, to: i64) -> HostResult<i64> {
    if from > to {
        return Err(thrown("invalid", format!("random({from}, {to}): the first number is the smaller one")));
    }
    state::with(&ctx, |turn| {
        let mut first = [0; 16];
        first.copy_from_slice(&draw(turn)[..16]);
        // 128 bits of chance over at most 64: what the remainder favours cannot be observed.
        let span = (i128::from(to) - i128::from(from) + 1).unsigned_abs();
        let step = u128::from_be_bytes(first) % span;
        Ok((i128::from(from) + step as i128) as i64)
    })
}

fn uuid(ctx: NativeCallContext) -> HostResult<String> {
    state::with(&ctx, |turn| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&draw(turn)[..16]);
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    })
}

/// Registers `random` and `uuid`.
pub fn register(module: &mut Module) {
    module.set_native_fn("random", random);
    module.set_native_fn("random", random_between);
    module.set_native_fn("uuid", uuid);
    module.set_native_fn("timestamp", || -> HostResult<()> {
        Err(thrown("unknown_function", "`timestamp` is not available: a replay would see another time; use `now()`"))
    });
}
