PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO versions VALUES('b7631ee8176ecdc41b8286161d23cb78','later','{"file":"flows/later.yaml","yaml":"triggers:\n  - webhook: /later\n  - message: {}\nrun: |\n  if event.trigger == \"message\" { return event.text; }\n  kv::set(\"count\", 7);\n  send_text(\"+15417543010\", \"Hello Ada\");\n  sleep(\"1h\");\n  send_text(\"+15417543010\", `Still ${kv::get(\"count\")}`);\n","scripts":{},"params":{},"zone":"Etc/UTC"}');
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
, answer TEXT, root BLOB, cuts INTEGER NOT NULL DEFAULT 0, heard_from INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO runs VALUES(X'01a230c7222971c4bdb7c81c12c88cfa','later','b7631ee8176ecdc41b8286161d23cb78','webhook',2,NULL,1796118286505,1,169,1796114686505,1796114686505,1796114686505,NULL,X'43f35533d6ab89e849e8c14745e9e493','{"trigger":"webhook","at":"2026-12-01T08:44:46.505Z","flow":"later","run":"01a230c7-2229-71c4-bdb7-c81c12c88cfa","body":{},"method":"POST","path":"/later","params":{},"query":{},"headers":{"accept":"*/*","content-length":"2","content-type":"application/json","host":"127.0.0.1:18080","user-agent":"curl/7.88.1"},"ip":"127.0.0.1"}','{"position":2,"kind":"sleep","digest":15663676372908307195,"line":8,"request":{"for":"1h"},"asked_at":1796114686505,"question":{"ask":"sleep","until":1796118286505}}','{"kind":"time","until":1796118286505,"detail":"sleeps until 2026-12-01T09:44:46.505Z"}',NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO runs VALUES(X'01a230c7223e7bc4b57d8b3f1efb13a4','later','b7631ee8176ecdc41b8286161d23cb78','message',3,NULL,NULL,1,137,NULL,1796114686526,1796114686529,1796114686529,X'09c3e178ce7e18c32bad631372bb5410','{"trigger":"message","at":"2026-12-01T08:44:46.526Z","flow":"later","run":"01a230c7-223e-7bc4-b57d-8b3f1efb13a4","account":"sandbox","chat":"+15417543011","fields":null,"from":"+15417543011","group":false,"kind":"text","media":null,"message_id":"IN1","name":null,"reply_to":null,"sent_at":"2026-12-01T08:44:46.526Z","text":"Good morning"}',NULL,NULL,NULL,'"Good morning"',NULL,NULL,0,0,0);
CREATE TABLE journal (
    run BLOB NOT NULL,
    part INTEGER NOT NULL,
    live INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;
INSERT INTO journal VALUES(X'01a230c7222971c4bdb7c81c12c88cfa',1,1,1,'[{"position":0,"kind":"kv_set","digest":17433417355334652661,"line":6,"at":1796114686505,"request":{"key":"count","life":null,"value":7},"result":null},{"position":1,"kind":"send","digest":8208244755216354902,"line":7,"at":1796114686505,"request":{"account":null,"at":null,"body":{"kind":"text","text":"Hello Ada"},"key":null,"to":["+15417543010"],"valid_for":null},"result":[{"account":"sandbox","id":"01a230c7-2229-7001-8c2e-37e8bda69262","to":"+15417543010"}]}]');
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
, parts TEXT, recalled INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO messages VALUES(X'01a230c7222970018c2e37e8bda69262',X'01a230c7222971c4bdb7c81c12c88cfa','later','sandbox','+15417543010',5,NULL,NULL,NULL,1,0,1796114686505,1796114686578,NULL,'{"kind":"text","text":"Hello Ada"}','[{"number":1,"at":1796114686507,"outcome":"delivered","reached":[["delivered",1796114686578]]}]','SANDBOX-01a230c7-2229-7001-8c2e-37e8bda69262',NULL,NULL,NULL,0);
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
INSERT INTO kv VALUES('later','count','7',NULL);
CREATE TABLE phones (
    id BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
, incoming INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO phones VALUES(X'01a230c7222970018c2e37e8bda69262','sandbox','+15417543010','{"kind":"text","text":"Hello Ada"}',1796114686577,0);
CREATE TABLE good (
    file TEXT PRIMARY KEY,
    version TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO good VALUES('flows/later.yaml','b7631ee8176ecdc41b8286161d23cb78');
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
CREATE TABLE ledger (
    flow TEXT NOT NULL,
    trigger TEXT NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    hash BLOB,
    gone_at INTEGER, changed INTEGER, device INTEGER,
    PRIMARY KEY (flow, trigger, path)
) WITHOUT ROWID;
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
CREATE TABLE awaiting (
    run BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT
) WITHOUT ROWID;
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
CREATE TABLE aliases (
    account TEXT NOT NULL,
    alias TEXT NOT NULL,
    person TEXT NOT NULL,
    PRIMARY KEY (account, alias)
) WITHOUT ROWID;
CREATE TABLE posted (
    account TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    message BLOB NOT NULL,
    PRIMARY KEY (account, provider_id)
) WITHOUT ROWID;
INSERT INTO posted VALUES('sandbox','SANDBOX-01a230c7-2229-7001-8c2e-37e8bda69262',X'01a230c7222970018c2e37e8bda69262');
CREATE TABLE early (
    account TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    fate TEXT,
    echo TEXT, ours TEXT, chat TEXT,
    PRIMARY KEY (account, provider_id)
) WITHOUT ROWID;
CREATE TABLE incoming (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    event TEXT NOT NULL,
    fate TEXT NOT NULL, run BLOB, chat TEXT,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;
INSERT INTO incoming VALUES('sandbox','message:IN1',1796114686526,'+15417543011','{"account":"sandbox","chat":"+15417543011","fields":null,"from":"+15417543011","group":false,"kind":"text","media":null,"message_id":"IN1","name":null,"reply_to":null,"sent_at":"2026-12-01T08:44:46.526Z","text":"Good morning"}','began',X'01a230c7223e7bc4b57d8b3f1efb13a4','+15417543011');
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
, on_disk INTEGER NOT NULL DEFAULT 0);
CREATE TABLE troubles (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    message BLOB NOT NULL
);
CREATE TABLE told (
    cause TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE place (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    machine TEXT,
    file INTEGER,
    path TEXT NOT NULL
);
CREATE TABLE people (
    address TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE handsets (
    phone TEXT PRIMARY KEY,
    name TEXT,
    off INTEGER NOT NULL DEFAULT 0,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE uses (
    version TEXT PRIMARY KEY,
    runs INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO uses VALUES('b7631ee8176ecdc41b8286161d23cb78',2);
CREATE TABLE attached (
    blob TEXT NOT NULL,
    owner BLOB NOT NULL,
    phone INTEGER NOT NULL,
    PRIMARY KEY (blob, owner, phone)
) WITHOUT ROWID;
CREATE TABLE home (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL
);
INSERT INTO home VALUES(1,65024,10011081);
CREATE TABLE repeats (
    mark BLOB PRIMARY KEY,
    run BLOB NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE slots (
    run BLOB PRIMARY KEY,
    flow TEXT NOT NULL,
    part TEXT NOT NULL,
    most INTEGER NOT NULL,
    place INTEGER NOT NULL,
    held INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE gaps (
    begun INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (begun, kind)
) WITHOUT ROWID;
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at INTEGER NOT NULL,
    stopped INTEGER NOT NULL
);
INSERT INTO heartbeat VALUES(1,1796114688544,1);
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
DELETE FROM sqlite_sequence;
CREATE INDEX runs_ready ON runs (flow, ready) WHERE ready IS NOT NULL;
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX messages_lane ON messages (account, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_scheduled ON messages (due_at) WHERE state = 0;
CREATE INDEX messages_unknown ON messages (account, changed_at) WHERE state = 7;
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL AND state IN (0, 1);
CREATE INDEX messages_of_run ON messages (run) WHERE run IS NOT NULL;
CREATE UNIQUE INDEX messages_keyed ON messages (flow, key, recipient) WHERE key IS NOT NULL;
CREATE INDEX occurrences_at ON occurrences (at);
CREATE INDEX runs_family ON runs (root) WHERE root IS NOT NULL;
CREATE INDEX messages_doubtful ON messages (account, recipient) WHERE state = 7;
CREATE INDEX listening_chat ON listening (chat, account, place);
CREATE INDEX listening_open ON listening (chat, account, asks) WHERE open = 1;
CREATE INDEX awaiting_name ON awaiting (name, key);
CREATE UNIQUE INDEX emitted_once ON emitted (run, position, mark);
CREATE INDEX emitted_name ON emitted (name, number);
CREATE INDEX emitted_key ON emitted (name, key, number) WHERE key IS NOT NULL;
CREATE INDEX emitted_at ON emitted (at);
CREATE INDEX aliases_person ON aliases (account, person);
CREATE INDEX early_at ON early (at);
CREATE INDEX incoming_at ON incoming (at);
CREATE INDEX kv_expiring ON kv (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX troubles_message ON troubles (message);
CREATE INDEX messages_bad ON messages (account, flow) WHERE state IN (7, 8, 9);
CREATE INDEX runs_of_flow ON runs (flow);
CREATE INDEX runs_apart ON runs (state) WHERE state = 2 OR state = 4 OR state = 5 OR state = 6;
CREATE INDEX messages_created ON messages (created_at);
CREATE INDEX messages_of_flow ON messages (flow, created_at);
CREATE INDEX messages_to ON messages (recipient, created_at);
CREATE INDEX messages_apart ON messages (state, created_at)
    WHERE state = 0 OR state = 7 OR state = 8 OR state = 9 OR state = 10 OR state = 11;
CREATE INDEX aliases_of ON aliases (alias);
CREATE INDEX incoming_from ON incoming (sender, at);
CREATE INDEX incoming_to ON incoming (account, at);
CREATE INDEX phones_at ON phones (at);
CREATE INDEX phones_of ON phones (recipient, at);
CREATE INDEX early_chat ON early (account, chat, at) WHERE chat IS NOT NULL;
CREATE INDEX runs_over ON runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX attached_to ON attached (owner);
CREATE INDEX repeats_until ON repeats (until);
CREATE INDEX slots_of ON slots (flow, part, held, place);
COMMIT;
