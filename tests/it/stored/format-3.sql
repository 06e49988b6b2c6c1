BEGIN TRANSACTION;
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO versions VALUES('fe387e622f899a6c1f463cb06348f5cd','later','{"file":"flows/later.yaml","yaml":"name: later\nrun: |\n  kv::set(\"who\", event.data.name);\n  kv::set(\"gone\", 1);\n  kv::delete(\"gone\");\n  let who = kv::get(\"who\");\n  let lines = files::lines(\"files/a.txt\");\n  let table = files::csv(\"files/t.csv\");\n  let there = files::exists(\"files/none\") || files::exists(\"files/a.txt\");\n  let list = files::list(\"files\");\n  let id = uuid();\n  let dice = random();\n  log::info(`dice ${dice}`);\n  let begun = now();\n  let first = send_text(\"+15417543010\", `Hello ${who} ${lines[0]} ${table[0].b} ${there} ${list.len()}`, #{ key: \"hello\" });\n  let state = first.wait();\n  let later = send_text(\"+15417543010\", \"never\", #{ at: \"5h\" });\n  let back = later.cancel();\n  send_image(\"+15417543010\", \"files/p.png\", #{ caption: id });\n  sleep(\"1h\");\n  let again = send_text(\"+15417543010\", \"Hello again\", #{ key: \"hello\" });\n  send_text(\"+15417543010\", `${state.status} ${back} ${id} ${dice} ${begun} ${again.id == first.id}`);\n  first.wait(\"delivered\", \"1h\");\n  sleep(\"1h\");\n  send_text(\"+15417543010\", `the end of ${kv::get(\"who\")}`);\n","scripts":{},"params":{},"zone":"Etc/UTC"}');
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
INSERT INTO runs VALUES(X'01a1f9b05cb676bca042c80b8d120e87','later','fe387e622f899a6c1f463cb06348f5cd','manual',2,NULL,1795194047296,1,2736,1795190447289,1795190447286,1795190447289,NULL,X'27b7c0e7793ff1569d729cef7c8cd406','{"trigger":"manual","at":"2026-11-20T16:00:47.286Z","flow":"later","run":"01a1f9b0-5cb6-76bc-a042-c80b8d120e87","data":{"name":"Ada"}}','{"position":17,"kind":"sleep","digest":15663676372908307195,"line":20,"request":{"for":"1h"},"question":{"ask":"sleep","until":1795194047296}}','{"kind":"time","until":1795194047296,"detail":"sleeps until 2026-11-20T17:00:47.296Z"}',NULL,NULL);
CREATE TABLE journal (
    run BLOB NOT NULL,
    part INTEGER NOT NULL,
    live INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;
INSERT INTO journal VALUES(X'01a1f9b05cb676bca042c80b8d120e87',1,1,1,'[{"position":0,"kind":"kv_set","digest":7676383624581676511,"line":3,"at":1795190447289,"request":{"key":"who","life":null,"value":"Ada"},"result":null},{"position":1,"kind":"kv_set","digest":8583194165501249217,"line":4,"at":1795190447289,"request":{"key":"gone","life":null,"value":1},"result":null},{"position":2,"kind":"kv_delete","digest":13886372989783845749,"line":5,"at":1795190447289,"request":{"key":"gone","life":null,"value":null},"result":null},{"position":3,"kind":"kv_get","digest":1092396601445988310,"line":6,"at":1795190447289,"request":{"read":"kv","key":"who"},"result":"Ada"},{"position":4,"kind":"file_read","digest":10613678431316874072,"line":7,"at":1795190447289,"request":{"read":"file","path":"files/a.txt"},"result":"one\n"},{"position":5,"kind":"file_read","digest":16397931411677054834,"line":8,"at":1795190447289,"request":{"read":"file","path":"files/t.csv"},"result":"a,b\n1,2\n"},{"position":6,"kind":"file_exists","digest":8882614851272993976,"line":9,"at":1795190447289,"request":{"read":"exists","path":"files/none"},"result":false},{"position":7,"kind":"file_exists","digest":16852404148216715403,"line":9,"at":1795190447289,"request":{"read":"exists","path":"files/a.txt"},"result":true},{"position":8,"kind":"file_list","digest":6463912736300184454,"line":10,"at":1795190447289,"request":{"read":"list","path":"files"},"result":["files/a.txt","files/p.png","files/t.csv"]},{"position":9,"kind":"log","digest":7596956883282285002,"line":13,"at":1795190447289,"request":{"level":"info","message":"dice 0.630861518795949"},"result":null},{"position":10,"kind":"keyed","digest":6809423733931128647,"line":15,"at":1795190447289,"request":{"read":"keyed","key":"hello","to":"+15417543010"},"result":null},{"position":11,"kind":"send","digest":15235910858531470378,"line":15,"at":1795190447289,"request":{"account":null,"at":null,"body":{"kind":"text","text":"Hello Ada one 2 true 3"},"key":"hello","to":["+15417543010"],"valid_for":null},"result":[{"account":"sandbox","id":"01a1f9b0-5cb6-700b-a2a2-742444e8a02e","to":"+15417543010"}]}]');
INSERT INTO journal VALUES(X'01a1f9b05cb676bca042c80b8d120e87',2,1,1,'[{"position":12,"kind":"wait","digest":473820301312537330,"line":16,"at":1795190447295,"request":{"goal":"settled","message":"01a1f9b0-5cb6-700b-a2a2-742444e8a02e","timeout":null},"result":{"error":null,"provider_id":"SANDBOX-01a1f9b0-5cb6-700b-a2a2-742444e8a02e","status":"delivered"}},{"position":13,"kind":"send","digest":4944267377687646280,"line":17,"at":1795190447295,"request":{"account":null,"at":"2026-11-20T21:00:47.295Z","body":{"kind":"text","text":"never"},"key":null,"to":["+15417543010"],"valid_for":null},"result":[{"account":"sandbox","id":"01a1f9b0-5cb6-700d-b638-2175863af221","to":"+15417543010"}]}]');
INSERT INTO journal VALUES(X'01a1f9b05cb676bca042c80b8d120e87',3,1,1,'[{"position":14,"kind":"cancel","digest":9117669700802528396,"line":18,"at":1795190447295,"request":{"message":"01a1f9b0-5cb6-700d-b638-2175863af221"},"result":true}]');
INSERT INTO journal VALUES(X'01a1f9b05cb676bca042c80b8d120e87',4,1,1,'[{"position":15,"kind":"snapshot","digest":16274706596069352358,"line":19,"at":1795190447296,"request":{"read":"snapshot","path":"files/p.png"},"result":{"blob":"7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11","file_name":"p.png","size":12}},{"position":16,"kind":"send","digest":16347151079020448824,"line":19,"at":1795190447296,"request":{"account":null,"at":null,"body":{"caption":"6c396274-fdec-421b-b939-91be4d3724d0","kind":"image","source":{"blob":"7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11","file_name":"p.png","size":12}},"key":null,"to":["+15417543010"],"valid_for":null},"result":[{"account":"sandbox","id":"01a1f9b0-5cb6-7010-a4cb-b66489fdacf6","to":"+15417543010"}]}]');
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
, parts TEXT) WITHOUT ROWID;
INSERT INTO messages VALUES(X'01a1f9b05cb6700ba2a2742444e8a02e',X'01a1f9b05cb676bca042c80b8d120e87','later','sandbox','+15417543010',5,NULL,NULL,NULL,1,1,1795190447289,1795190447294,'hello','{"kind":"text","text":"Hello Ada one 2 true 3"}','[{"number":1,"at":1795190447292,"outcome":"delivered"}]','SANDBOX-01a1f9b0-5cb6-700b-a2a2-742444e8a02e',NULL,NULL,NULL);
INSERT INTO messages VALUES(X'01a1f9b05cb6700db6382175863af221',X'01a1f9b05cb676bca042c80b8d120e87','later','sandbox','+15417543010',11,NULL,NULL,NULL,0,0,1795190447295,1795190447295,NULL,'{"kind":"text","text":"never"}','[]',NULL,NULL,NULL,NULL);
INSERT INTO messages VALUES(X'01a1f9b05cb67010a4cbb66489fdacf6',X'01a1f9b05cb676bca042c80b8d120e87','later','sandbox','+15417543010',5,NULL,NULL,NULL,1,0,1795190447296,1795190447299,NULL,'{"kind":"image","source":{"blob":"7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11","size":12,"file_name":"p.png"},"caption":"6c396274-fdec-421b-b939-91be4d3724d0"}','[{"number":1,"at":1795190447298,"outcome":"delivered"}]','SANDBOX-01a1f9b0-5cb6-7010-a4cb-b66489fdacf6',NULL,NULL,NULL);
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
INSERT INTO kv VALUES('later','who','"Ada"',NULL);
CREATE TABLE phones (
    id BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO phones VALUES(X'01a1f9b05cb6700ba2a2742444e8a02e','sandbox','+15417543010','{"kind":"text","text":"Hello Ada one 2 true 3"}',1795190447293);
INSERT INTO phones VALUES(X'01a1f9b05cb67010a4cbb66489fdacf6','sandbox','+15417543010','{"kind":"image","source":{"blob":"7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11","size":12,"file_name":"p.png"},"caption":"6c396274-fdec-421b-b939-91be4d3724d0"}',1795190447299);
CREATE TABLE good (
    file TEXT PRIMARY KEY,
    version TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO good VALUES('flows/later.yaml','fe387e622f899a6c1f463cb06348f5cd');
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
    gone_at INTEGER,
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
