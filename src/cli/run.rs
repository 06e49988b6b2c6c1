//! `run`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::check::report;
use crate::app::{Engine, Outside, Workspace, bind, looks_like_workspace, open_store, read_address};
use crate::clock::SystemClock;
use crate::config::Flags;
use crate::store::sqlite::place;
use crate::{memory, telemetry};

/// How long what is under way may take to end when the engine cannot go on.
const LAST_GRACE: Duration = Duration::from_secs(5);

pub fn run(root: &Path, flags: Flags) -> Result<(), Failure> {
    memory::prefer_small_pages();
    let _log = telemetry::start();
    allow_many_files();
    let workspace = Workspace::open(root, flags, std::env::vars()).map_err(|findings| {
        report(root, &findings);
        Failure::Reported
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Names are resolved and lists are read on threads of their own: a few are enough.
        .max_blocking_threads(32)
        .build()
        .map_err(|error| format!("the system gives no threads: {error}"))?;
    let result = runtime.block_on(serve(&workspace));
    // Blocking reads that nobody waits for any more are not waited for.
    runtime.shutdown_background();
    result
}

/// Each connection is an open file, and many systems begin with few of them.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What is refused stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

async fn serve(workspace: &Workspace) -> Result<(), Failure> {
    let said = |error: std::io::Error| error.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(said)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(said)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(said)?;
    // Said before the addresses are found taken, by that very engine.
    if let Some(other) = read_address(&workspace.root) {
        let pid = other.pid;
        return Err(format!(
            "another Postrider runs on this workspace (process {pid}); stop it first, or use another folder"
        )
        .into());
    }
    let public = bind(workspace.settings.listen, "listen").await.map_err(|error| error.to_string())?;
    let private = bind(workspace.settings.admin, "admin").await.map_err(|error| error.to_string())?;
    if !looks_like_workspace(&workspace.root) {
        tracing::warn!("this folder has neither flows/ nor postrider.yaml; is it the right one?");
    }
    let outside = Outside { clock: Arc::new(SystemClock), public, private, store: open_store(workspace) };
    let engine = tokio::select! {
        started = Engine::start(workspace, outside) => started.map_err(|error| error.to_string())?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    greet(&engine, workspace);
    // The flows were read on this thread, and took more than they keep.
    memory::give_back();
    let broken = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => engine.reload(),
            reason = engine.broken() => break Some(reason),
        }
    };
    if let Some(reason) = broken {
        tracing::error!("the engine ends, so that it can be started anew: {reason}");
        // Whoever supervises starts it anew; what does not end by then is taken up by that one.
        let _ = tokio::time::timeout(LAST_GRACE, engine.stop()).await;
        return Err(format!("the engine cannot go on: {reason}").into());
    }
    tracing::info!("stopping: what is under way ends first; a second signal stops at once");
    tokio::select! {
        // The sandbox's copy is thrown away, and its original is nobody's to touch.
        () = engine.stop() => if !workspace.settings.sandbox {
            let file = workspace.settings.store.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || place::fold(&file)).await {
                tracing::warn!(%error, "what was committed last is in the file `-wal` beside the state file: copy both");
            }
        },
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says where it can be reached.
fn greet(engine: &Engine, workspace: &Workspace) {
    let address = engine.address();
    let ready = match workspace.settings.sandbox {
        true => "postrider is ready in the sandbox, no message goes out and the state is a copy",
        false => "postrider is ready",
    };
    println!(
        "{ready}: webhooks on http://{}/hooks, API on http://{}/api/v1, dashboard at {}",
        address.listen,
        address.admin,
        engine.link()
    );
}
