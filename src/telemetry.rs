//! Logs: to standard error, one line each, filtered by `POSTRIDER_LOG`.

use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process. `POSTRIDER_LOG` takes tracing's filter syntax
/// (`debug`, `postrider::outbox=trace`); the default is `info`. With `POSTRIDER_LOG_FORMAT=json`
/// each line is a JSON object.
pub fn start() {
    let filter = EnvFilter::try_from_env("POSTRIDER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("POSTRIDER_LOG_FORMAT").is_ok_and(|format| format == "json");
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // A second start in one process (tests) keeps the first: that is all that can go wrong here.
    let _ = if json { lines.json().try_init() } else { lines.try_init() };
}
