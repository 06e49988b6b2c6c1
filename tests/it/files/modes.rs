//! What the engine keeps is its owner's alone, whatever the umask.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::binary::{self, Process};
use crate::support::engine::House;
use crate::support::{folder, until};

const FLOW: &str = "run: |\n  send_file(\"+15417543010\", \"files/a.txt\")\n";

fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(all_below(&path)),
            false => all.push(path),
        }
    }
    all
}

/// What others may do something with.
fn open_to_others(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: PathBuf| {
        // Some come and go.
        let mode = std::fs::symlink_metadata(&path).map_or(0, |about| about.permissions().mode() & 0o777);
        (path, mode)
    };
    all_below(folder).into_iter().map(mode).filter(|(_, mode)| mode & 0o077 != 0).collect()
}

#[test]
fn a_loose_umask_opens_nothing() {
    let folder = folder(&[
        ("postrider.yaml", "store: data/state.db\n"),
        ("flows/f.yaml", FLOW),
        ("files/a.txt", "a"),
        ("data/.keep", ""),
    ]);
    let root = folder.path();
    let mut command = Command::new("sh");
    let engine = env!("CARGO_BIN_EXE_postrider");
    let run = format!("umask 000; exec '{engine}' run --listen 127.0.0.1:0 --admin 127.0.0.1:0");
    command.args(["-c", &run]).current_dir(root).env_clear().env("PATH", "/usr/bin:/bin").env("TZ", "Europe/Berlin");
    let _process = Process::of(command, root);
    binary::said(root, &["trigger", "f", "--wait"]);
    assert_eq!(open_to_others(&root.join(".postrider")), []);
    assert_eq!(std::fs::read_dir(root.join(".postrider/blobs")).unwrap().count(), 1);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = std::fs::metadata(root.join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_restored_at_the_start() {
    let house = House::open(&[("flows/f.yaml", FLOW), ("files/a.txt", "a")]).await;
    let run = house.trigger("f", json!(null)).await;
    house.run_is(&run, "succeeded").await;
    let (folder, clock) = house.stop().await;
    let state = folder.path().join(".postrider");
    for path in all_below(&state) {
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        // The store may still be closing: its log goes with that.
        if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
    // A link is left alone, and so is what it leads to.
    let apart = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(apart.path(), Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(apart.path(), state.join("link")).unwrap();
    let house = House::again(folder, clock).await;
    until("the modes to be restored", async || {
        let open = open_to_others(&state);
        open.iter().all(|(path, _)| path.ends_with("link")).then_some(())
    })
    .await;
    assert_eq!(apart.path().metadata().unwrap().permissions().mode() & 0o777, 0o644);
    drop(house);
}
