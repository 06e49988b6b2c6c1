//! Names that become something else while they are being used.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use postrider::blobs::Blobs;
use postrider::files::{Files, Own};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::engine::House;
use crate::support::folder;

const SECRET: &str = "vIlEsEcReT";
const GOOD: &str = "good";

/// What a name in the inbox may become.
fn become_something(root: &Path, outside: &Path, round: usize) {
    let new = root.join("inbox/.new");
    let link = |to: &Path| symlink(to, &new).unwrap();
    match round % 8 {
        0 | 1 => fs::write(&new, GOOD).unwrap(),
        2 => link(Path::new("../.env")),
        3 => link(&outside.join("x.csv")),
        4 => link(Path::new("../postrider.yaml")),
        5 => fs::hard_link(root.join(".env"), &new).unwrap(),
        6 => link(Path::new("../.postrider/token")),
        _ => rustix::fs::mkfifoat(CWD, &new, rustix::fs::Mode::from_raw_mode(0o600)).unwrap(),
    }
    // A folder and a link that leads out change places.
    renameat_with(CWD, root.join("box"), CWD, root.join("other"), RenameFlags::EXCHANGE).unwrap();
    fs::rename(&new, root.join("inbox/x.csv")).unwrap();
}

fn place() -> (TempDir, TempDir) {
    let inside = folder(&[
        (".env", SECRET),
        ("postrider.yaml", &format!("timezone: UTC # {SECRET}\n")),
        ("inbox/x.csv", GOOD),
        ("box/x.csv", GOOD),
        ("box/.keep", ""),
    ]);
    let outside = folder(&[("x.csv", SECRET), ("inner.csv", SECRET)]);
    symlink(outside.path(), inside.path().join("other")).unwrap();
    (inside, outside)
}

/// Changes names all the time while `work` is done; gives how often.
fn while_names_change(root: &Path, outside: &Path, work: impl FnOnce(&AtomicUsize)) -> usize {
    let (over, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                become_something(root, outside, swaps.fetch_add(1, Ordering::Relaxed));
            }
        });
        // Also when it panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        work(&swaps);
    });
    swaps.into_inner()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn no_race_leads_to_what_is_secret_or_outside() {
    let (inside, outside) = place();
    let (root, out) = (inside.path(), outside.path());
    fs::create_dir(root.join(".postrider")).unwrap();
    fs::write(root.join(".postrider/token"), SECRET).unwrap();
    let settings = [".env", "postrider.yaml"].map(|name| root.join(name)).to_vec();
    let files = Files::new(root.to_owned(), Own::new(vec![root.join(".postrider")], settings));
    let blobs = Blobs::new(root.join(".postrider/blobs"));
    let (mut read, mut refused) = (0, 0);
    let swaps = while_names_change(root, out, |swaps| {
        let rounds = (0..).take_while(|round| *round < 5_000 || swaps.load(Ordering::Relaxed) < 12_000);
        for round in rounds {
            for path in ["inbox/x.csv", "box/x.csv"] {
                match files.text(path) {
                    Ok(text) => {
                        assert_eq!(text, GOOD, "{path}");
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            let list = files.list("box").unwrap_or_default();
            assert!(list.iter().all(|path| path != "box/inner.csv"), "{list:?}");
            files.exists("box/x.csv");
            // These wait for the disk.
            if round % 100 == 0 {
                if let Ok(mut file) = files.open("inbox/x.csv") {
                    let mut text = String::new();
                    let (hash, _) = blobs.keep(&mut file).unwrap();
                    fs::File::open(blobs.path(&hash)).unwrap().read_to_string(&mut text).unwrap();
                    assert_eq!(text, GOOD);
                }
                let _ = files.write(&format!("box/deep/{round}.txt"), b"mine");
                let _ = files.write("box/x.csv", GOOD.as_bytes());
                let moved = format!("done/{round}.csv");
                if files.shift("inbox/x.csv", &moved, None).is_ok() {
                    assert!(files.text(&moved).is_ok_and(|text| text == GOOD) || files.text(&moved).is_err());
                }
                let _ = files.shift("box/x.csv", &format!("box/moved/{round}.csv"), None);
            }
        }
    });
    assert!(swaps > 10_000 && read > 1_000 && refused > 1_000, "{swaps} swaps, {read} read, {refused} refused");
    assert_eq!(names(out), ["inner.csv", "x.csv"], "nothing is made or taken outside");
    assert_eq!(names(&root.join(".postrider")), ["blobs", "token"]);
    assert!(fs::read_to_string(out.join("x.csv")).unwrap() == SECRET);
    assert!(fs::read_to_string(root.join(".env")).unwrap() == SECRET);
    assert!(root.join("postrider.yaml").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_wins_a_race() {
    let flow = r#"run: |
  let said = [];
  for round in 0..150 {
    for path in ["inbox/x.csv", "box/x.csv"] {
      try { said.push(files::read(path)); } catch (e) { said.push("no"); }
    }
    if round % 5 == 0 {
      try { send_file("+15417543010", "inbox/x.csv"); } catch (e) { }
      try { files::move("inbox/x.csv", "done/" + round); said.push(files::read("done/" + round)); } catch (e) { }
    }
  }
  said
"#;
    let (inside, outside) = place();
    fs::create_dir(inside.path().join("flows")).unwrap();
    fs::write(inside.path().join("flows/f.yaml"), flow).unwrap();
    fs::write(inside.path().join(".env"), format!("A={SECRET}\n")).unwrap();
    let clock = std::sync::Arc::new(postrider::clock::HandClock::new(crate::support::engine::start()));
    let house = House::again(inside, clock).await;
    let (root, over) = (house.folder.path().to_owned(), std::sync::Arc::new(AtomicBool::new(false)));
    let (from, end) = (root.clone(), over.clone());
    let swapper = std::thread::spawn(move || {
        let mut round = 0;
        while !end.load(Ordering::Relaxed) {
            become_something(&from, outside.path(), round);
            round += 1;
        }
        outside
    });
    let run = house.trigger("f", Value::Null).await;
    let run = house.run_is(&run, "succeeded").await;
    over.store(true, Ordering::Relaxed);
    let outside = swapper.join().unwrap();
    let said: Vec<&str> = run["result"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(said.contains(&GOOD) && said.contains(&"no"), "{said:?}");
    assert!(said.iter().all(|text| [GOOD, "no"].contains(text)), "{said:?}");
    let found = Command::new("grep").arg("-rlae").arg(SECRET).arg(root.join(".postrider")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the state has it");
    assert_eq!(names(outside.path()), ["inner.csv", "x.csv"]);
}

#[test]
fn a_hard_link_to_another_users_file_is_refused() {
    let (inside, _outside) = place();
    let root = inside.path();
    let files = Files::new(root.to_owned(), Own::new(Vec::new(), Vec::new()));
    fs::write(root.join("theirs.txt"), "theirs").unwrap();
    fs::write(root.join("ours.txt"), "ours").unwrap();
    // Only the system's own user may give a file away.
    if std::os::unix::fs::chown(root.join("theirs.txt"), Some(12_345), None).is_err() {
        return;
    }
    assert_eq!(files.text("theirs.txt").unwrap(), "theirs", "one name alone is fine");
    fs::hard_link(root.join("theirs.txt"), root.join("box/theirs.txt")).unwrap();
    fs::hard_link(root.join("ours.txt"), root.join("box/ours.txt")).unwrap();
    assert!(files.text("box/theirs.txt").unwrap_err().contains("another user"));
    assert!(files.shift("box/theirs.txt", "box/moved.txt", None).unwrap_err().contains("another user"));
    assert!(!files.exists("box/theirs.txt"));
    assert_eq!(files.text("box/ours.txt").unwrap(), "ours");
    assert_eq!(files.list("box").unwrap(), ["box/ours.txt", "box/x.csv"]);
}
