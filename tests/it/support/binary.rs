//! The engine as the real binary.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A running process, killed when the test ends.
pub struct Process {
    child: Child,
    log: PathBuf,
    pub ready_line: String,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

/// The command, with nothing of the test's environment that could change it.
pub fn postrider(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(args).current_dir(folder).env_clear().env("TZ", "Europe/Berlin");
    command
}

/// Runs a command to its end.
pub fn run(folder: &Path, args: &[&str]) -> Output {
    postrider(folder, args).output().unwrap()
}

/// Runs a command that must succeed; gives what it prints.
pub fn said(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out.into_owned()
}

/// Runs a command with `--json` that must succeed.
pub fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&said(folder, &[args, &["--json"]].concat())).unwrap()
}

impl Process {
    /// Starts on free ports and waits for the ready line.
    pub fn start(folder: &Path) -> Self {
        Self::of(postrider(folder, &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]), folder)
    }

    /// Starts a command that runs the engine; its log goes to `engine.log` in the folder.
    pub fn of(mut command: Command, folder: &Path) -> Self {
        let log = folder.join("engine.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut ready_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready_line).unwrap();
        let mut addresses = ready_line.split("http://").skip(1).map(|rest| rest.split('/').next().unwrap().parse());
        match (addresses.next(), addresses.next()) {
            (Some(Ok(public)), Some(Ok(admin))) => Self { child, log, ready_line, public, admin },
            _ => panic!("no ready line: {ready_line}{}", std::fs::read_to_string(log).unwrap()),
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code of one that has ended by itself.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        Some(self.child.try_wait().unwrap()?.code())
    }

    /// SIGTERM; gives the exit code and the log.
    pub fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
        (code, std::fs::read_to_string(&self.log).unwrap())
    }
}

impl Process {
    /// A size from its status, in bytes: `VmRSS`, `VmHWM`.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
