//! The step to format 11: every table anew.

/// Tables of texts get rowids.
pub const TABLES_WITH_ROWIDS: &str = "
-- Rows of a table without rowids have a quarter of a page at most; what is longer has pages of its own, which are read
-- whenever another row is looked for beside it. So tables of people's texts have rowids, and each row short facts
-- before long texts. Their indexes end with the key where a list is ordered by it, or looks for nothing else.
CREATE TABLE new_versions (
    id TEXT NOT NULL PRIMARY KEY,
    flow TEXT NOT NULL,
    content TEXT NOT NULL
);
INSERT INTO new_versions SELECT id, flow, content FROM versions ORDER BY id;
DROP TABLE versions;
ALTER TABLE new_versions RENAME TO versions;

CREATE TABLE new_runs (
    id BLOB NOT NULL PRIMARY KEY,
    flow TEXT NOT NULL,
    version TEXT NOT NULL,
    trigger TEXT NOT NULL,
    state INTEGER NOT NULL,
    ready INTEGER,
    wake_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 1,
    cpu INTEGER NOT NULL DEFAULT 0,
    cuts INTEGER NOT NULL DEFAULT 0,
    base_at INTEGER,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    root BLOB,
    generation INTEGER NOT NULL DEFAULT 0,
    heard_from INTEGER NOT NULL DEFAULT 0,
    seed BLOB NOT NULL,
    waiting TEXT,
    error TEXT,
    pending TEXT,
    answer TEXT,
    result TEXT,
    event TEXT NOT NULL
);
INSERT INTO new_runs SELECT id, flow, version, trigger, state, ready, wake_at, attempt, cpu, cuts, base_at, created_at,
    started_at, finished_at, root, generation, heard_from, seed, waiting, error, pending, answer, result, event
    FROM runs ORDER BY id;
DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;
CREATE INDEX runs_ready ON runs (flow, ready, id) WHERE ready IS NOT NULL;
CREATE INDEX runs_wake ON runs (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_family ON runs (root, id) WHERE root IS NOT NULL;
CREATE INDEX runs_of_flow ON runs (flow, id);
CREATE INDEX runs_apart ON runs (state, id) WHERE state = 2 OR state = 4 OR state = 5 OR state = 6;
CREATE INDEX runs_over ON runs (finished_at, id) WHERE finished_at IS NOT NULL;

CREATE TABLE new_journal (
    run BLOB NOT NULL,
    part INTEGER NOT NULL,
    live INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (run, part)
);
INSERT INTO new_journal SELECT run, part, live, attempt, entries FROM journal ORDER BY run, part;
DROP TABLE journal;
ALTER TABLE new_journal RENAME TO journal;

CREATE TABLE new_messages (
    id BLOB NOT NULL PRIMARY KEY,
    run BLOB,
    flow TEXT NOT NULL,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    state INTEGER NOT NULL,
    seq INTEGER,
    due_at INTEGER,
    expires_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    waited INTEGER NOT NULL DEFAULT 0,
    recalled INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    key TEXT,
    provider_id TEXT,
    attempts TEXT NOT NULL DEFAULT '[]',
    degraded TEXT,
    error TEXT,
    parts TEXT,
    body TEXT NOT NULL
);
INSERT INTO new_messages SELECT id, run, flow, account, recipient, state, seq, due_at, expires_at, tries, waited,
    recalled, created_at, changed_at, key, provider_id, attempts, degraded, error, parts, body FROM messages ORDER BY id;
DROP TABLE messages;
ALTER TABLE new_messages RENAME TO messages;
CREATE INDEX messages_lane ON messages (account, seq, id) WHERE seq IS NOT NULL;
CREATE INDEX messages_scheduled ON messages (state, due_at, id) WHERE state = 0;
CREATE INDEX messages_unknown ON messages (account, changed_at, id) WHERE state = 7;
CREATE INDEX messages_expiring ON messages (expires_at, id) WHERE expires_at IS NOT NULL AND state IN (0, 1);
CREATE INDEX messages_of_run ON messages (run) WHERE run IS NOT NULL;
CREATE UNIQUE INDEX messages_keyed ON messages (flow, key, recipient) WHERE key IS NOT NULL;
CREATE INDEX messages_doubtful ON messages (account, recipient) WHERE state = 7;
CREATE INDEX messages_bad ON messages (account, flow) WHERE state IN (7, 8, 9);
CREATE INDEX messages_created ON messages (created_at, id);
CREATE INDEX messages_of_flow ON messages (flow, created_at, id);
CREATE INDEX messages_to ON messages (recipient, created_at, id);
CREATE INDEX messages_apart ON messages (state, created_at, id)
    WHERE state = 0 OR state = 7 OR state = 8 OR state = 9 OR state = 10 OR state = 11;

CREATE TABLE new_kv (
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    expires_at INTEGER,
    value TEXT NOT NULL,
    PRIMARY KEY (flow, key)
);
INSERT INTO new_kv SELECT flow, key, expires_at, value FROM kv ORDER BY flow, key;
DROP TABLE kv;
ALTER TABLE new_kv RENAME TO kv;
CREATE INDEX kv_expiring ON kv (expires_at, flow, key) WHERE expires_at IS NOT NULL;

CREATE TABLE new_phones (
    id BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    at INTEGER NOT NULL,
    incoming INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
);
INSERT INTO new_phones SELECT id, account, recipient, at, incoming, body FROM phones ORDER BY id;
DROP TABLE phones;
ALTER TABLE new_phones RENAME TO phones;
CREATE INDEX phones_at ON phones (at, id);
CREATE INDEX phones_of ON phones (recipient, at, id);

CREATE TABLE new_incoming (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    chat TEXT,
    run BLOB,
    fate TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (account, id)
);
INSERT INTO new_incoming SELECT account, id, at, sender, chat, run, fate, event FROM incoming ORDER BY account, id;
DROP TABLE incoming;
ALTER TABLE new_incoming RENAME TO incoming;
CREATE INDEX incoming_at ON incoming (at, account, id);
CREATE INDEX incoming_from ON incoming (sender, at, account, id);
CREATE INDEX incoming_to ON incoming (account, at, id);
";
