//! The tables, as each format of the file changed them.

use super::format_11::TABLES_WITH_ROWIDS;

/// One step for each format; the number of a format is its place here, from 1. A step that has
/// been released never changes.
pub const FORMATS: [&str; 12] = [
    "
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    id BLOB PRIMARY KEY,
    flow TEXT NOT NULL,
    version TEXT NOT NULL,
    trigger TEXT NOT NULL,
    state INTEGER NOT NULL,
    ready INTEGER,
    wake_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 1,
    cpu INTEGER NOT NULL DEFAULT 0,
    base_at INTEGER,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    seed BLOB NOT NULL,
    event TEXT NOT NULL,
    pending TEXT,
    waiting TEXT,
    error TEXT,
    result TEXT
) WITHOUT ROWID;
CREATE INDEX runs_ready ON runs (flow, ready) WHERE ready IS NOT NULL;
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE journal (
    run BLOB NOT NULL,
    part INTEGER NOT NULL,
    live INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
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
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    key TEXT,
    body TEXT NOT NULL,
    attempts TEXT NOT NULL DEFAULT '[]',
    provider_id TEXT,
    degraded TEXT,
    error TEXT
) WITHOUT ROWID;
CREATE INDEX messages_lane ON messages (account, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_scheduled ON messages (due_at) WHERE state = 0;
CREATE INDEX messages_unknown ON messages (account, changed_at) WHERE state = 7;
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL AND state IN (0, 1);
CREATE INDEX messages_of_run ON messages (run) WHERE run IS NOT NULL;
CREATE UNIQUE INDEX messages_keyed ON messages (flow, key, recipient) WHERE key IS NOT NULL;

CREATE TABLE waits (
    message BLOB NOT NULL,
    run BLOB NOT NULL,
    goal TEXT NOT NULL,
    PRIMARY KEY (message, run)
) WITHOUT ROWID;

CREATE TABLE kv (
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (flow, key)
) WITHOUT ROWID;

CREATE TABLE phones (
    id BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
",
    "
CREATE TABLE good (
    file TEXT PRIMARY KEY,
    version TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE armed (
    flow TEXT NOT NULL,
    trigger TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (flow, trigger)
) WITHOUT ROWID;

CREATE TABLE occurrences (
    flow TEXT NOT NULL,
    trigger TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER,
    count INTEGER,
    fate INTEGER NOT NULL,
    late_by INTEGER,
    run BLOB,
    reason TEXT,
    PRIMARY KEY (flow, trigger, at)
) WITHOUT ROWID;
CREATE INDEX occurrences_at ON occurrences (at);

CREATE TABLE ledger (
    flow TEXT NOT NULL,
    trigger TEXT NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    hash BLOB,
    gone_at INTEGER,
    PRIMARY KEY (flow, trigger, path)
) WITHOUT ROWID;
",
    "
ALTER TABLE messages ADD COLUMN parts TEXT;

CREATE TABLE clicks (
    message BLOB PRIMARY KEY,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE days (
    account TEXT NOT NULL,
    day TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    new INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, day)
) WITHOUT ROWID;

CREATE TABLE heard (
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, recipient)
) WITHOUT ROWID;

CREATE TABLE acquaintances (
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    PRIMARY KEY (account, recipient)
) WITHOUT ROWID;
",
    "
ALTER TABLE runs ADD COLUMN answer TEXT;
ALTER TABLE runs ADD COLUMN root BLOB;
ALTER TABLE runs ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
-- The last event that was emitted before the run was accepted.
ALTER TABLE runs ADD COLUMN heard_from INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_family ON runs (root) WHERE root IS NOT NULL;

-- To whom a message of which nobody knows whether it went out was to go.
CREATE INDEX messages_doubtful ON messages (account, recipient) WHERE state = 7;

-- Runs that wait for what a person writes: for an answer (asks), or for any message.
CREATE TABLE listening (
    run BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    before TEXT,
    chat TEXT NOT NULL,
    place INTEGER NOT NULL,
    asks INTEGER NOT NULL,
    open INTEGER NOT NULL,
    pattern TEXT,
    deadline INTEGER,
    doubtful INTEGER NOT NULL DEFAULT 0,
    reminded INTEGER NOT NULL DEFAULT 0,
    repeated INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX listening_chat ON listening (chat, account, place);
-- Many may wait for the end of the one question that is open.
CREATE INDEX listening_open ON listening (chat, account, asks) WHERE open = 1;

-- Runs that wait for what another one emits.
CREATE TABLE awaiting (
    run BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT
) WITHOUT ROWID;
CREATE INDEX awaiting_name ON awaiting (name, key);

CREATE TABLE emitted (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    key TEXT,
    data TEXT NOT NULL,
    run BLOB NOT NULL,
    position INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    at INTEGER NOT NULL
);
-- A run that is tried again and takes another way may emit something else in the same place.
CREATE UNIQUE INDEX emitted_once ON emitted (run, position, mark);
CREATE INDEX emitted_name ON emitted (name, number);
CREATE INDEX emitted_key ON emitted (name, key, number) WHERE key IS NOT NULL;
CREATE INDEX emitted_at ON emitted (at);

-- Addresses that lead to one person or chat have one name.
CREATE TABLE aliases (
    account TEXT NOT NULL,
    alias TEXT NOT NULL,
    person TEXT NOT NULL,
    PRIMARY KEY (account, alias)
) WITHOUT ROWID;
CREATE INDEX aliases_person ON aliases (account, person);

-- Which message of ours a gateway's id means.
CREATE TABLE posted (
    account TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    message BLOB NOT NULL,
    PRIMARY KEY (account, provider_id)
) WITHOUT ROWID;
INSERT OR IGNORE INTO posted SELECT account, provider_id, id FROM messages WHERE provider_id IS NOT NULL;
INSERT OR IGNORE INTO posted SELECT account, json_extract(value, '$.provider_id'), messages.id FROM messages, json_each(parts)
    WHERE parts IS NOT NULL AND json_extract(value, '$.provider_id') IS NOT NULL;

-- What gateways told of messages before their ids were known here.
CREATE TABLE early (
    account TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    fate TEXT,
    echo TEXT,
    PRIMARY KEY (account, provider_id)
) WITHOUT ROWID;
CREATE INDEX early_at ON early (at);

-- What people wrote. Kept for as long as a gateway may tell it again.
CREATE TABLE incoming (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    event TEXT NOT NULL,
    fate TEXT NOT NULL,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE INDEX incoming_at ON incoming (at);

CREATE TABLE opted_out (
    account TEXT NOT NULL,
    person TEXT NOT NULL,
    at INTEGER NOT NULL,
    reply BLOB,
    PRIMARY KEY (account, person)
) WITHOUT ROWID;

CREATE TABLE forgotten (
    at INTEGER NOT NULL,
    mark TEXT NOT NULL,
    counts TEXT NOT NULL
);

CREATE INDEX kv_expiring ON kv (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE phones ADD COLUMN incoming INTEGER NOT NULL DEFAULT 0;
",
    "
-- How many runs stand before it that began each other.
ALTER TABLE runs ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
",
    "
-- Messages that came to a bad end of which nobody has been told yet.
CREATE TABLE troubles (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    message BLOB NOT NULL
);
CREATE INDEX troubles_message ON troubles (message);

-- What was told of and is not over.
CREATE TABLE told (
    cause TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- Where this file belongs: a copy of it is not opened by itself.
CREATE TABLE place (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    machine TEXT,
    file INTEGER,
    path TEXT NOT NULL
);

-- Rejected, dead and unknown messages, as lists of flows and accounts count them.
CREATE INDEX messages_bad ON messages (account, flow) WHERE state IN (7, 8, 9);
",
    "
-- Lists, newest first. Runs that came to their end as they should, and messages that are on their way or
-- arrived, are nearly all: for those there is no index by state.
CREATE INDEX runs_of_flow ON runs (flow);
-- SQLite takes these for `state = 4` only because they are written with OR, and only where the 4 stands in the query.
CREATE INDEX runs_apart ON runs (state) WHERE state = 2 OR state = 4 OR state = 5 OR state = 6;
CREATE INDEX messages_created ON messages (created_at);
CREATE INDEX messages_of_flow ON messages (flow, created_at);
CREATE INDEX messages_to ON messages (recipient, created_at);
CREATE INDEX messages_apart ON messages (state, created_at)
    WHERE state = 0 OR state = 7 OR state = 8 OR state = 9 OR state = 10 OR state = 11;
CREATE INDEX aliases_of ON aliases (alias);
ALTER TABLE incoming ADD COLUMN run BLOB;
-- Taken back while nobody knew whether it had gone out: it is not tried again, unless a person says so.
ALTER TABLE messages ADD COLUMN recalled INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET recalled = 1, expires_at = NULL WHERE expires_at = 0;

-- What is looked for has a column of its own.
ALTER TABLE incoming ADD COLUMN chat TEXT;
UPDATE incoming SET chat = iif(json_valid(event), json_extract(event, '$.chat'), NULL);
ALTER TABLE early ADD COLUMN ours TEXT;
ALTER TABLE early ADD COLUMN chat TEXT;
UPDATE early SET ours = iif(json_valid(fate), json_extract(fate, '$.ours.message'), NULL),
    chat = iif(json_valid(echo), json_extract(echo, '$.chat'), NULL);
CREATE INDEX incoming_from ON incoming (sender, at);
CREATE INDEX incoming_to ON incoming (account, at);
CREATE INDEX phones_at ON phones (at);
CREATE INDEX phones_of ON phones (recipient, at);

-- What people are called, as gateways tell.
CREATE TABLE people (
    address TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- Phones of the sandbox: what somebody called them, and whether they are off.
CREATE TABLE handsets (
    phone TEXT PRIMARY KEY,
    name TEXT,
    off INTEGER NOT NULL DEFAULT 0,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- Browsers that were let in, by a digest of what each of them shows.
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) WITHOUT ROWID;
",
    "
-- Messages of our own that came back too early are looked for by their chat.
CREATE INDEX early_chat ON early (account, chat, at) WHERE chat IS NOT NULL;

-- How many runs were begun with a version of a flow and are still kept.
CREATE TABLE uses (
    version TEXT PRIMARY KEY,
    runs INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO uses SELECT version, count(*) FROM runs GROUP BY version;

-- What is over goes in the order in which it ended.
CREATE INDEX runs_over ON runs (finished_at) WHERE finished_at IS NOT NULL;

-- What hangs on the copy of a file: a message, or what a phone of the sandbox shows.
CREATE TABLE attached (
    blob TEXT NOT NULL,
    owner BLOB NOT NULL,
    phone INTEGER NOT NULL,
    PRIMARY KEY (blob, owner, phone)
) WITHOUT ROWID;
CREATE INDEX attached_to ON attached (owner);
INSERT OR IGNORE INTO attached SELECT tree.value, messages.id, 0
    FROM messages, json_tree(iif(json_valid(body), body, 'null')) tree WHERE tree.key = 'blob' AND tree.type = 'text';
INSERT OR IGNORE INTO attached SELECT tree.value, phones.id, 1
    FROM phones, json_tree(iif(json_valid(body), body, 'null')) tree WHERE tree.key = 'blob' AND tree.type = 'text';
",
    "
-- The folder that flows lie in: another and empty one in its place is no reason to let them go.
CREATE TABLE home (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL
);

-- What tells a file that was given back its size and its time, and a drive that went from files that went.
ALTER TABLE ledger ADD COLUMN changed INTEGER;
ALTER TABLE ledger ADD COLUMN device INTEGER;

-- Names of events: while one is remembered the same event begins no other run.
CREATE TABLE repeats (
    mark BLOB PRIMARY KEY,
    run BLOB NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX repeats_until ON repeats (until);

-- Open runs of flows that limit how many of them there may be at once, each with the place that it took in line.
CREATE TABLE slots (
    run BLOB PRIMARY KEY,
    flow TEXT NOT NULL,
    part TEXT NOT NULL,
    most INTEGER NOT NULL,
    place INTEGER NOT NULL,
    held INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX slots_of ON slots (flow, part, held, place);

-- Times in which nobody was there, or the clock was moved: from, to, and what it was.
CREATE TABLE gaps (
    begun INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (begun, kind)
) WITHOUT ROWID;

-- When the engine was last known to be there, and whether it went as it was told to.
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at INTEGER NOT NULL,
    stopped INTEGER NOT NULL
);

-- Requests that were turned away; those alike that come together are one row.
CREATE TABLE refused (
    id INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    sender TEXT NOT NULL,
    count INTEGER NOT NULL
);
",
    "
-- Whether bytes of what was erased may still stand in free space of the file.
ALTER TABLE forgotten ADD COLUMN on_disk INTEGER NOT NULL DEFAULT 0;
",
    TABLES_WITH_ROWIDS,
    "
-- Whether a row belongs to an index is asked at each write. For `IN` with three values SQLite makes a table of them
-- each time, once for a row that comes and twice for one that changes.
DROP INDEX messages_bad;
CREATE INDEX messages_bad ON messages (account, flow) WHERE state >= 7 AND state <= 9;
",
];
