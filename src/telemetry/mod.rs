//! Logs: to standard error, one plain line each, filtered by `POSTRIDER_LOG`, bounded in length and
//! number.

mod cut;
mod flood;
mod json;
mod lines;

use tracing_subscriber::EnvFilter;

use flood::Flood;
use lines::{Fields, Lines};

/// The log of the process, for as long as it is kept.
pub struct Log(Flood);

/// Starts logging for the whole process. `POSTRIDER_LOG` takes tracing's filter syntax
/// (`debug`, `postrider::outbox=trace`); the default is `info`. With `POSTRIDER_LOG_FORMAT=json`
/// each line is a JSON object.
pub fn start() -> Log {
    let filter = EnvFilter::try_from_env("POSTRIDER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("POSTRIDER_LOG_FORMAT").is_ok_and(|format| format == "json");
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let flood = Flood::default();
    let bounded = flood.clone();
    // A second start in one process (tests) keeps the first: that is all that can go wrong here.
    let _ = match json {
        true => lines.json().map_event_format(|inner| Lines { inner, json, flood: bounded }).try_init(),
        false => lines.fmt_fields(Fields).map_event_format(|inner| Lines { inner, json, flood: bounded }).try_init(),
    };
    // What a panic says may be somebody's text: it is a line of the log as any other.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Log(flood)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.tell_all();
    }
}
