//! What a turn of a flow depends on, as far as the flow and the settings say it.

use crate::flow::Flow;
use crate::flow::catalog::Ground;
use crate::id::RunId;
use crate::script::TurnInput;

/// The input of a run's first turn; what the run itself adds is put in its place.
pub fn input<'a>(flow: &'a Flow, ground: &Ground, run: RunId, now: jiff::Timestamp) -> TurnInput<'a> {
    TurnInput {
        params: &flow.params,
        flow: &flow.name,
        who: Some(flow.who.clone()),
        account: flow.account.as_deref(),
        zone: flow.zone.clone(),
        country: flow.country,
        accounts: ground.accounts.clone(),
        secrets: flow.secrets.clone(),
        limits: ground.limits,
        cpu_left: ground.limits.cpu_turn,
        ..TurnInput::first(&flow.program, run, now)
    }
}
