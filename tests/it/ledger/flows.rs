//! The texts of flow versions: the last good one of each file, and those that runs still need.

use postrider::model::question::Question;
use postrider::store::records::*;

use super::{Ledger, at, ms, run, run_id};

fn version(id: &str, flow: &str) -> VersionRow {
    VersionRow { id: id.into(), flow: flow.into(), content: format!("{{\"script\":\"{id}\"}}") }
}

fn good(file: &str, id: &str) -> (String, VersionRow) {
    (file.into(), version(id, "flow"))
}

fn kept(good: Vec<(String, VersionRow)>, gone: &[&str]) -> KeptFlows {
    KeptFlows { good, gone: gone.iter().map(|file| (*file).to_owned()).collect(), home: None }
}

#[tokio::test]
async fn the_last_good_version_of_each_file_is_known_after_a_restart() {
    let ledger = Ledger::new();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v1"), good("flows/b.yaml", "v2")], &[])).await.unwrap();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v3")], &[])).await.unwrap();
    let ledger = ledger.again();
    let known = ledger.good_versions().await.unwrap();
    let wanted = [("flows/a.yaml", "v3"), ("flows/b.yaml", "v2")].map(|(file, id)| (file.to_owned(), id.to_owned()));
    assert_eq!(known, wanted.into());
    assert_eq!(ledger.version("v3").await.unwrap(), Some(version("v3", "flow")));
    assert_eq!(ledger.version("v9").await.unwrap(), None);
    ledger.keep_flows(kept(Vec::new(), &["flows/b.yaml", "flows/never.yaml"])).await.unwrap();
    assert_eq!(ledger.good_versions().await.unwrap().into_keys().collect::<Vec<_>>(), ["flows/a.yaml"]);
}

#[tokio::test]
async fn the_folder_that_flows_lie_in_is_known_after_a_restart() {
    let ledger = Ledger::new();
    assert_eq!(ledger.flows_home().await.unwrap(), None);
    for inode in [7, u64::MAX] {
        let home = Some(FolderId { device: u64::MAX - 1, inode });
        ledger.keep_flows(KeptFlows { home, ..KeptFlows::default() }).await.unwrap();
        assert_eq!(ledger.flows_home().await.unwrap(), home);
    }
    let ledger = ledger.again();
    assert_eq!(ledger.flows_home().await.unwrap().map(|home| home.inode), Some(u64::MAX));
}

#[tokio::test]
async fn a_version_is_kept_for_as_long_as_it_is_live_or_a_run_needs_it() {
    let ledger = Ledger::new();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v1"), good("flows/b.yaml", "v2")], &[])).await.unwrap();
    // A run that is pinned to what is not live any more.
    ledger.waits(1, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(1_000) })).await;
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v3")], &["flows/b.yaml"])).await.unwrap();
    assert_eq!(ledger.unused_versions().await.unwrap(), ["v2"]);
    assert_eq!(ledger.prune_versions(vec!["v2".into(), "v3".into()]).await.unwrap(), 1);
    assert_eq!(ledger.version("v2").await.unwrap(), None);
    for id in ["v1", "v3"] {
        assert!(ledger.version(id).await.unwrap().is_some(), "{id}");
    }
    assert!(ledger.unused_versions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_version_that_is_live_again_is_not_forgotten() {
    let ledger = Ledger::new();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v1")], &[])).await.unwrap();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v2")], &[])).await.unwrap();
    let unused = ledger.unused_versions().await.unwrap();
    assert_eq!(unused, ["v1"]);
    // Somebody undoes the change meanwhile.
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v1")], &[])).await.unwrap();
    assert_eq!(ledger.prune_versions(unused).await.unwrap(), 0);
    assert!(ledger.version("v1").await.unwrap().is_some());
    assert_eq!(ledger.unused_versions().await.unwrap(), ["v2"]);
}

#[tokio::test]
async fn a_version_is_found_by_the_run_that_is_pinned_to_it() {
    let ledger = Ledger::new();
    ledger.keep_flows(kept(vec![good("flows/a.yaml", "v1")], &[])).await.unwrap();
    ledger.intake(run(1)).await.unwrap();
    let ready = ledger.ready(1).await.unwrap();
    assert_eq!(ledger.version(&ready.version).await.unwrap().unwrap().id, "v1");
    ledger.cancel_run(run_id(1), at(1)).await.unwrap();
    assert_eq!(ledger.run(run_id(1)).await.unwrap().unwrap().version, "v1");
}
