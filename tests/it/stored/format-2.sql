BEGIN TRANSACTION;
CREATE TABLE armed (
    flow TEXT NOT NULL,
    trigger TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (flow, trigger)
) WITHOUT ROWID;
CREATE TABLE good (
    file TEXT PRIMARY KEY,
    version TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "good" VALUES('flows/later.yaml','979c1d238e3f419e6e019379ad43885b');
CREATE TABLE journal (
    run BLOB NOT NULL,
    part INTEGER NOT NULL,
    live INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;
INSERT INTO "journal" VALUES(X'01A1F94CB02E7C06879AA50FEAC8E587',1,1,1,'[{"position":0,"kind":"kv_set","digest":7676383624581676511,"line":4,"at":1795183915055,"request":{"key":"who","life":null,"value":"Ada"},"result":null},{"position":1,"kind":"send","digest":6612079029689726852,"line":5,"at":1795183915055,"request":{"account":null,"at":"2026-11-20T16:11:55.055Z","body":{"kind":"text","text":"Hello Ada"},"key":null,"to":["+15417543010"],"valid_for":null},"result":[{"account":"sandbox","id":"01a1f94c-b02e-7001-84a1-cbf5977182fb","to":"+15417543010"}]}]');
CREATE TABLE kv (
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (flow, key)
) WITHOUT ROWID;
INSERT INTO "kv" VALUES('later','who','"Ada"',NULL);
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
INSERT INTO "messages" VALUES(X'01A1F94CB02E700184A1CBF5977182FB',X'01A1F94CB02E7C06879AA50FEAC8E587','later','sandbox','+15417543010',0,NULL,1795191115055,NULL,0,0,1795183915055,1795183915055,NULL,'{"kind":"text","text":"Hello Ada"}','[]',NULL,NULL,NULL);
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
CREATE TABLE phones (
    id BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
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
INSERT INTO "runs" VALUES(X'01A1F94CB02E7C06879AA50FEAC8E587','later','979c1d238e3f419e6e019379ad43885b','webhook',2,NULL,1795187515055,1,92214,1795183915055,1795183915054,1795183915055,NULL,X'52C53C4C624C74ADB15853987A33B0D2','{"trigger":"webhook","at":"2026-11-20T14:11:55.054Z","flow":"later","run":"01a1f94c-b02e-7c06-879a-a50feac8e587","body":{"to":"+15417543010","name":"Ada"},"method":"POST","path":"/in","params":{},"query":{},"headers":{"accept":"*/*","content-length":"34","content-type":"application/json","host":"127.0.0.1:18700","user-agent":"curl/7.88.1"},"raw":"{\"to\":\"+15417543010\",\"name\":\"Ada\"}","ip":"127.0.0.1"}','{"position":2,"kind":"sleep","digest":15663676372908307195,"line":6,"request":{"for":"1h"},"question":{"ask":"sleep","until":1795187515055}}','{"kind":"time","until":1795187515055,"detail":"sleeps until 2026-11-20T15:11:55.055Z"}',NULL,NULL);
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "versions" VALUES('979c1d238e3f419e6e019379ad43885b','later','{"file":"flows/later.yaml","yaml":"triggers:\n  - webhook: /in\nrun: |\n  kv::set(\"who\", event.body.name);\n  send_text(event.body.to, \"Hello \" + event.body.name, #{ at: \"2h\" });\n  sleep(\"1h\");\n  send_text(event.body.to, \"Are you still there?\");\n","scripts":{},"params":{},"zone":"Etc/UTC"}');
CREATE TABLE waits (
    message BLOB NOT NULL,
    run BLOB NOT NULL,
    goal TEXT NOT NULL,
    PRIMARY KEY (message, run)
) WITHOUT ROWID;
CREATE INDEX runs_ready ON runs (flow, ready) WHERE ready IS NOT NULL;
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX messages_lane ON messages (account, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_scheduled ON messages (due_at) WHERE state = 0;
CREATE INDEX messages_unknown ON messages (account, changed_at) WHERE state = 7;
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL AND state IN (0, 1);
CREATE INDEX messages_of_run ON messages (run) WHERE run IS NOT NULL;
CREATE UNIQUE INDEX messages_keyed ON messages (flow, key, recipient) WHERE key IS NOT NULL;
CREATE INDEX occurrences_at ON occurrences (at);
COMMIT;
