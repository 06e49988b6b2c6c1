//! What is no regular file: nothing waits for it, and nothing reads it.

use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::support::engine::House;

const TRY: &str = r#"
triggers:
  - message: {}
  - watch: { paths: "box/*", settle: 1s, backlog: all }
run: |
  if event.trigger == "watch" { return event.path; }
  let did = [];
  for path in ["box/pipe", "box/socket", "box/device", "box/to-pipe", "box/sub"] {
    try { files::read(path); did.push("read " + path); } catch (e) { }
    try { send_file("+15417543010", path); did.push("sent " + path); } catch (e) { }
    try { files::move(path, "taken/a"); did.push("moved " + path); } catch (e) { }
    try { files::move("files/a.txt", path); did.push("put " + path); } catch (e) { }
    try { event.media.save(path); did.push("saved " + path); } catch (e) { }
  }
  did.push(files::list("box"));
  did
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pipes_sockets_devices_and_folders_are_refused() {
    let house = House::open(&[("flows/try.yaml", TRY), ("files/a.txt", "a"), ("box/sub/.keep", "")]).await;
    let folder = house.folder.path().join("box");
    assert!(Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
    let _socket = UnixListener::bind(folder.join("socket")).unwrap();
    // Only the system's own user may make one.
    let _ = Command::new("mknod").arg(folder.join("device")).args(["c", "1", "5"]).status();
    std::os::unix::fs::symlink("pipe", folder.join("to-pipe")).unwrap();
    let message = json!({ "from": "+15417543010", "media": "files/a.txt" });
    house.post("/sandbox/messages", message).await;
    let run = house.runs_of("try").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(house.run_is(&run, "succeeded").await["result"], json!([[]]));
}
