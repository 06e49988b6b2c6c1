//! Each list goes by an index: SQLite's plans of the statements as they are asked.

use std::sync::mpsc::{Receiver, channel};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::store::sqlite::schema::migrate;

/// A store of the newest format, and the queries that are asked of it, with their values.
fn store() -> (Connection, Receiver<String>) {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    let (asked, all) = channel();
    let trace = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            let _ = asked.send(statement.expanded_sql().unwrap());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(trace)).unwrap();
    (connection, all)
}

/// How SQLite answers what was asked until now: no list is sorted, and none is looked for row by row where an
/// index has it.
fn goes_by(connection: &Connection, asked: &Receiver<String>, index: &str) {
    let queries: Vec<String> = asked.try_iter().filter(|sql| sql.starts_with("SELECT")).collect();
    assert!(!queries.is_empty());
    for sql in queries {
        let mut find = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan = find.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan = plan.map(Result::unwrap).collect::<Vec<_>>().join("; ");
        // The index of a table's key has no name of ours.
        let plan = plan.replace("INDEX sqlite_autoindex_runs_1", "PRIMARY KEY");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        asked.try_iter().for_each(drop);
    }
}

#[test]
fn each_list_of_runs_is_a_seek() {
    let (connection, asked) = store();
    let usual = RunFilter { limit: 50, ..RunFilter::default() };
    let some = RunId::from_bytes([7; 16]);
    for (filter, index) in [
        (RunFilter { flow: Some("f".into()), ..usual.clone() }, "SEARCH runs USING INDEX runs_of_flow"),
        (RunFilter { after: Some(some), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id<?)"),
        (RunFilter { before: Some(some), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id>?)"),
        (RunFilter { until: Some(Timestamp::UNIX_EPOCH), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id<?)"),
    ] {
        runs(&connection, &filter).unwrap();
        goes_by(&connection, &asked, index);
    }
    for state in RUNS_APART {
        runs(&connection, &RunFilter { states: vec![state], ..usual.clone() }).unwrap();
        goes_by(&connection, &asked, "SEARCH runs USING INDEX runs_apart (state=?");
    }
    last_runs(&connection, &["f".into()], 12).unwrap();
    goes_by(&connection, &asked, "SEARCH runs USING INDEX runs_of_flow");
    // All of them, in the order of the table: the walk ends when there are enough.
    runs(&connection, &usual).unwrap();
    goes_by(&connection, &asked, "SCAN runs USING PRIMARY KEY");
}

#[test]
fn each_list_of_messages_is_a_seek() {
    let (connection, asked) = store();
    let usual = MessageFilter { limit: 50, ..MessageFilter::default() };
    let some = MessageId::from_bytes([7; 16]);
    for (filter, index) in [
        (MessageFilter { flow: Some("f".into()), ..usual.clone() }, "SEARCH messages USING INDEX messages_of_flow"),
        (MessageFilter { to: vec!["+1".into()], ..usual.clone() }, "SEARCH messages USING INDEX messages_to"),
        (
            MessageFilter { until: Some(Timestamp::UNIX_EPOCH), ..usual.clone() },
            "SEARCH messages USING INDEX messages_created",
        ),
        (usual.clone(), "SCAN messages USING INDEX messages_created"),
    ] {
        messages(&connection, &filter).unwrap();
        goes_by(&connection, &asked, index);
    }
    for state in MESSAGES_APART {
        for after in [None, Some(some)] {
            messages(&connection, &MessageFilter { states: vec![state], after, ..usual.clone() }).unwrap();
            let queries: Vec<String> = asked.try_iter().filter(|sql| sql.contains("LEFT JOIN")).collect();
            let (again, asked) = channel();
            queries.into_iter().for_each(|sql| again.send(sql).unwrap());
            goes_by(&connection, &asked, "SEARCH messages USING INDEX messages_apart (state=?");
        }
    }
}

#[test]
fn counting_walks_over_no_table() {
    let (connection, asked) = store();
    run_counts(&connection).unwrap();
    goes_by(&connection, &asked, "INDEX runs_");
    message_counts(&connection).unwrap();
    goes_by(&connection, &asked, "INDEX messages_");
}
