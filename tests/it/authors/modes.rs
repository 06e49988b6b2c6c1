//! Files that others on the same computer may write or read.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::lines;
use crate::support::engine::House;

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_may_write_or_read_is_told_and_no_more_when_it_is_mended() {
    let house = House::open(&[
        ("flows/a.yaml", "script: a.rhai\n"),
        ("flows/deep/b.yaml", "run: 1\n"),
        ("scripts/a.rhai", "1"),
        ("postrider.yaml", "timezone: UTC\n"),
        (".env", "A=1\n"),
    ])
    .await;
    let root = house.folder.path();
    assert_eq!(house.get("/flows").await["diagnostics"], json!([]));
    let mode = |path: &str, mode: u32| set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
    let says = async |what: &str, wanted: &dyn Fn(&[String]) -> bool| {
        house.engine.reload();
        house.flows_are(what, |flows: &Value| wanted(&lines(&flows["diagnostics"]))).await;
    };
    for (path, open, good) in [
        ("flows", 0o777, 0o755),
        ("flows/deep", 0o1777, 0o755),
        ("flows/a.yaml", 0o646, 0o644),
        ("scripts", 0o757, 0o755),
        ("scripts/a.rhai", 0o666, 0o644),
        ("postrider.yaml", 0o666, 0o644),
        (".env", 0o602, 0o600),
    ] {
        mode(path, open);
        let wanted = format!("warning {path}:0 everybody on this computer may write this, ");
        says(path, &|said| said.len() == 1 && said[0].starts_with(&wanted) && said[0].contains("chmod")).await;
        mode(path, good);
        says("nothing", &|said| said.is_empty()).await;
    }
    mode(".env", 0o644);
    let wanted = "warning .env:0 everybody on this computer may read the secrets here (run `chmod 600 .env`)";
    says(".env", &|said| said == [wanted]).await;
    mode(".env", 0o640);
    says("nothing", &|said| said.is_empty()).await;
    // All of it is one finding, not one for each file.
    for path in ["flows", "flows/a.yaml", "scripts"] {
        mode(path, 0o777);
    }
    says("three", &|said| said.len() == 1 && said[0].contains("may write this, and 2 more here, ")).await;
}
