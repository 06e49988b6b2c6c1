//! The store's statements, as they stand in its source: each is understood by SQLite and by PostgreSQL, and SQLite
//! goes about each as it did before.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use postrider::ledger::Ledger;
use postrider::store::Signals;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::support::until;

/// The texts between quotes in a source, each with what stands before it.
fn texts(source: &str) -> Vec<(&str, String)> {
    let source = source.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = source[at..].chars().next() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("'\"'") {
            at += 3;
        } else if letter == '"' {
            let mut text = String::new();
            let mut letters = rest.char_indices().skip(1);
            let end = loop {
                match letters.next().unwrap() {
                    (end, '"') => break end,
                    (_, '\\') => text.extend(letters.next().map(|(_, next)| if next == 'n' { '\n' } else { next })),
                    (_, letter) => text.push(letter),
                }
            };
            found.push((source[..at].trim_end(), text.split_whitespace().collect::<Vec<_>>().join(" ")));
            at += end + 1;
        } else {
            at += letter.len_utf8();
        }
    }
    found
}

/// All statements, each with its file. Those that are put together of pieces are looked at where that is done.
fn statements() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/rows");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.to_str().unwrap().ends_with("tests.rs"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        for (before, text) in texts(&std::fs::read_to_string(&file).unwrap()) {
            let verb = text.split(' ').next().unwrap_or_default();
            let is_statement = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb);
            if is_statement && !before.ends_with("format!(") {
                all.push((name.clone(), text));
            }
        }
    }
    assert!(all.len() > 200, "only {} statements were found", all.len());
    all
}

/// A store, made and closed.
fn made(folder: &Path) -> Connection {
    let file = folder.join("state.db");
    drop(Ledger::open(&file, 100, Signals::default()).unwrap());
    let connection = Connection::open(&file).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    connection
}

#[test]
fn no_statement_goes_another_way_than_before() {
    let folder = tempfile::tempdir().unwrap();
    let connection = made(folder.path());
    let mut listing = String::new();
    for (file, sql) in statements() {
        let mut find = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|error| {
            panic!("{file}: {sql}: {error}");
        });
        let steps = find.raw_query();
        let plan: Vec<String> = steps.mapped(|row| row.get::<_, String>(3)).map(Result::unwrap).collect();
        writeln!(listing, "{file}: {sql}\n    {}", plan.join("\n    ")).unwrap();
    }
    insta::assert_snapshot!(listing);
}

/// SQLite makes a table for the values of each `IN` with three of them or more, in the condition of an index too: at each
/// write, for each row. One with a few alternatives costs nothing.
#[test]
fn no_write_needs_a_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let connection = made(folder.path());
    let needs_one = |sql: &str| {
        // What gives rows back, or is told by a question which rows it is about.
        let asks = [" RETURNING ", "SELECT ", " IN (?"].iter().any(|part| sql.contains(part));
        // Rows that move in the index by which they are found.
        asks || ["UPDATE aliases SET person", "UPDATE listening SET account"].iter().any(|verb| sql.starts_with(verb))
    };
    let mut looked_at = 0;
    for (file, sql) in statements().into_iter().filter(|(_, sql)| !needs_one(sql)) {
        let mut find = connection.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let steps = find.raw_query();
        let steps: Vec<String> = steps.mapped(|row| row.get(1)).map(Result::unwrap).collect();
        assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{file}: {sql}");
        looked_at += 1;
    }
    assert!(looked_at > 80, "only {looked_at} statements were looked at");
}

/// A PostgreSQL of the test's own.
struct Postgres {
    server: Child,
    bin: PathBuf,
    user: Option<u32>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Where its programs are; none on a machine that has none.
    fn bin() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        found.sort();
        let bin = found.pop().filter(|bin| bin.join("initdb").exists());
        assert!(bin.is_some() || std::env::var_os("CI").is_none(), "PostgreSQL is missing");
        if bin.is_none() {
            eprintln!("skipped: there is no PostgreSQL on this machine");
        }
        bin
    }

    /// A command of it. It refuses to be run by root, for whom its own user does.
    fn command(program: &Path, user: Option<u32>) -> Command {
        match user {
            None => Command::new(program),
            Some(_) => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
        }
    }

    async fn start(bin: PathBuf) -> Self {
        let id = |args: &[&str]| -> u32 {
            let said = Command::new("id").args(args).output().unwrap().stdout;
            String::from_utf8(said).unwrap().trim().parse().unwrap()
        };
        let user = (id(&["-u"]) == 0).then(|| id(&["-u", "postgres"]));
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if let Some(user) = user {
            chown(&data, Some(user), None).unwrap();
        }
        let made = Self::command(&bin.join("initdb"), user)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self::command(&bin.join("postgres"), user)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "unix_socket_directories="])
            .args(["-p", &port.to_string(), "-D"])
            .arg(&data)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self { server, bin, user, port, folder };
        until("PostgreSQL", async || postgres.says("SELECT 1;").contains("(1 row)").then_some(())).await;
        postgres
    }

    /// What it says to a script, errors among the rest.
    fn says(&self, script: &str) -> String {
        let mut client = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(self.bin.join("psql"))
            .args(["-X", "-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut inlet, script) = (client.stdin.take().unwrap(), script.to_owned());
        let writer = std::thread::spawn(move || {
            // Whoever cannot be reached reads nothing.
            let _ = inlet.write_all(script.as_bytes());
        });
        let said = client.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        String::from_utf8(said).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = Self::command(&self.bin.join("pg_ctl"), self.user);
        let stop = stop.args(["stop", "-m", "immediate", "-D"]).arg(self.folder.path().join("data")).current_dir("/");
        if !stop.stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// The same statement with the marks of PostgreSQL: `?` is the next value, `?2` the second.
fn numbered(sql: &str) -> String {
    let mut pieces = sql.split('?');
    let mut text = pieces.next().unwrap().to_owned();
    for (place, piece) in pieces.enumerate() {
        let has_number = piece.starts_with(|c: char| c.is_ascii_digit());
        text += &if has_number { "$".to_owned() } else { format!("${}", place + 1) };
        text += piece;
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_is_understood_by_postgresql() {
    let Some(bin) = Postgres::bin() else { return };
    let folder = tempfile::tempdir().unwrap();
    let connection = made(folder.path());
    let mut find =
        connection.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'").unwrap();
    let tables: Vec<String> = find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut script = String::new();
    for sql in tables {
        let sql = sql.replace("WITHOUT ROWID", "").replace("BLOB", "BYTEA").replace("INTEGER", "BIGINT");
        let own = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY";
        writeln!(script, "{};", sql.replace("BIGINT PRIMARY KEY AUTOINCREMENT", own)).unwrap();
    }
    let all = statements();
    for (place, (_, sql)) in all.iter().enumerate() {
        writeln!(script, "\\echo @@{place}\nPREPARE s{place} AS {};", numbered(sql)).unwrap();
    }
    let postgres = Postgres::start(bin).await;
    let said = postgres.says(&script);
    let mut parts = said.split("@@");
    let schema = parts.next().unwrap();
    assert!(!schema.contains("ERROR"), "{schema}");
    let mut wrong = String::new();
    let mut heard = 0;
    for part in parts {
        heard += 1;
        if let Some((place, error)) = part.split_once("ERROR") {
            let (file, sql) = &all[place.split_whitespace().next().unwrap().parse::<usize>().unwrap()];
            writeln!(wrong, "{file}: {sql}\n    ERROR{error}").unwrap();
        }
    }
    assert_eq!(heard, all.len());
    assert!(wrong.is_empty(), "{wrong}");
}
