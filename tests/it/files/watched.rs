//! Watched folders with files that are too large to be read at once.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use crate::support::engine::House;
use crate::support::until;

const FLOW: &str = "triggers:\n  - watch: \"inbox/*\"\nrun: '`${event.kind} ${event.path}`'\n";
const SECOND: Duration = Duration::from_secs(1);

async fn seen(house: &House, wanted: &[&str]) {
    until(&format!("{wanted:?}"), async || {
        house.pass(SECOND);
        let mut seen = Vec::new();
        for run in house.runs_of("in").await {
            let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
            seen.push(run["result"].as_str()?.to_owned());
        }
        assert!(seen.iter().all(|seen| wanted.contains(&seen.as_str())) && seen.len() <= wanted.len(), "{seen:?}");
        (seen.len() == wanted.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_file_holds_up_nobody() {
    let house = House::open(&[("flows/in.yaml", FLOW), ("inbox/.keep", "")]).await;
    let inbox = house.folder.path().join("inbox");
    // A byte in each mebibyte: 32 GiB to read, 128 MiB on disk.
    let huge = File::create(inbox.join("a-huge")).unwrap();
    huge.set_len(32 << 30).unwrap();
    for place in 0..(32 << 10) {
        huge.write_at(b"x", place << 20).unwrap();
    }
    drop(huge);
    house.write("inbox/b-small", "b");
    seen(&house, &["created inbox/b-small"]).await;
    house.write("inbox/c-small", "c");
    seen(&house, &["created inbox/b-small", "created inbox/c-small"]).await;
    // It vanishes while it is read, which is no error and no event.
    house.remove("inbox/a-huge");
    house.write("inbox/d-small", "d");
    seen(&house, &["created inbox/b-small", "created inbox/c-small", "created inbox/d-small"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_content_of_a_large_file_counts_once() {
    let house = House::open(&[("flows/in.yaml", FLOW), ("inbox/.keep", "")]).await;
    let path = house.folder.path().join("inbox/large");
    // Nothing but a hole, as long as half a disk.
    let mut large = File::create(&path).unwrap();
    large.set_len(1 << 40).unwrap();
    large.seek(SeekFrom::Start(700 << 30)).unwrap();
    large.write_all(b"one").unwrap();
    drop(large);
    let mut wanted = vec!["created inbox/large"];
    seen(&house, &wanted).await;
    let open = || File::options().write(true).open(&path).unwrap();
    // Touched, and written with what is there already, also where nothing was but a hole.
    open().set_modified(SystemTime::now()).unwrap();
    open().write_at(&[0; 4096], 300 << 30).unwrap();
    house.write("inbox/small", "x");
    wanted.push("created inbox/small");
    seen(&house, &wanted).await;
    // Another byte in the middle, the size as before.
    open().write_at(b"two", 700 << 30).unwrap();
    wanted.push("modified inbox/large");
    seen(&house, &wanted).await;
    // The same bytes at another place, and a byte less at the end.
    open().write_at(b"two", (700 << 30) + (1 << 21)).unwrap();
    open().write_at(&[0; 3], 700 << 30).unwrap();
    wanted.push("modified inbox/large");
    seen(&house, &wanted).await;
    open().set_len((1 << 40) - 1).unwrap();
    wanted.push("modified inbox/large");
    seen(&house, &wanted).await;
}
