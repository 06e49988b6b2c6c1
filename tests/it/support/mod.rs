//! What the tests share: a workspace in a folder of its own, a fake gateway over HTTP, the engine
//! in this process with a clock that is set by hand, and the engine as the real binary.

pub mod binary;
pub mod browser;
pub mod engine;
pub mod gateway;
pub mod mortal;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A folder with the given files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

/// Writes a file below a folder.
pub fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    if path == ".env" {
        // As its owner should have it: there is a warning else.
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A time that only a defect can need, also on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something; gives up after [`PATIENCE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client for the tests' own requests.
pub fn client() -> reqwest::Client {
    postrider::transport::client(Duration::from_secs(60)).unwrap()
}

/// A port that belongs to somebody who does not listen.
pub struct Nobody {
    pub url: String,
    _socket: TcpSocket,
}

impl Nobody {
    /// One that is nobody's until this is dropped.
    pub fn at_a_port() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { url: format!("http://{}", socket.local_addr().unwrap()), _socket: socket }
    }
}
