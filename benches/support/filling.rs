//! A state that has grown for a long time: rows of real runs, many times over.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Days over which what is copied lies.
const DAYS: i64 = 30;
/// People to whom it goes.
const PEOPLE: usize = 10_000;

/// One table, and which of its columns mean what.
struct Table {
    name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn read(connection: &Connection, name: &'static str) -> Self {
        let mut find = connection.prepare(&format!("SELECT * FROM {name}")).expect("a table");
        let columns: Vec<String> = find.column_names().map(str::to_owned).collect();
        let count = columns.len();
        let row = |row: &rusqlite::Row<'_>| (0..count).map(|place| row.get(place)).collect();
        let rows = find.query_map([], row).expect("rows").collect::<Result<_, _>>().expect("rows");
        Self { name, columns, rows }
    }

    fn place(&self, column: &str) -> usize {
        self.columns.iter().position(|known| known == column).expect("the column")
    }

    fn of(&self, column: &str, value: &Value) -> Vec<&Vec<Value>> {
        let place = self.place(column);
        self.rows.iter().filter(|row| row[place] == *value).collect()
    }

    fn put(&self, connection: &Connection, mut row: Vec<Value>, changes: &[(&str, Value)]) {
        for (column, value) in changes {
            row[self.place(column)] = value.clone();
        }
        let marks = vec!["?"; row.len()].join(", ");
        let sql = format!("INSERT INTO {} VALUES ({marks})", self.name);
        connection.prepare_cached(&sql).expect("the statement").execute(params_from_iter(row)).expect("a row");
    }
}

/// An id of a time, as the engine makes them.
fn id(at: i64, number: usize) -> Value {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&at.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[9..].copy_from_slice(&(number as u64).to_be_bytes()[1..]);
    Value::Blob(bytes.to_vec())
}

/// Copies the runs of a state at rest, with their journals and messages, until there are so many runs.
pub fn fill(state: &Path, runs: usize) {
    let connection = Connection::open(state).expect("the state");
    let [all_runs, journal, messages] = ["runs", "journal", "messages"].map(|name| Table::read(&connection, name));
    let now = Timestamp::now().as_millisecond();
    let (mut number, mut written) = (0, 0);
    connection.execute_batch("BEGIN").expect("a transaction");
    while number < runs.saturating_sub(all_runs.rows.len()) {
        let original = &all_runs.rows[number % all_runs.rows.len()];
        let original_id = &original[all_runs.place("id")];
        // The oldest first, as they come.
        let at = now - DAYS * 86_400_000 * (runs - number) as i64 / runs as i64;
        let run = id(at, number);
        let time = |name: &'static str| (name, Value::Integer(at));
        all_runs.put(&connection, original.clone(), &[("id", run.clone()), time("created_at"), time("finished_at")]);
        for part in journal.of("run", original_id) {
            journal.put(&connection, part.clone(), &[("run", run.clone())]);
        }
        for message in messages.of("run", original_id) {
            written += 1;
            let to = Value::Text(format!("+1541{:07}", 2_000_000 + written % PEOPLE));
            let changes = [("id", id(at, written)), ("run", run.clone()), ("recipient", to), time("created_at")];
            messages.put(&connection, message.clone(), &changes);
        }
        number += 1;
    }
    connection.execute_batch("COMMIT").expect("the rows");
}
