//! One watch trigger: what its files are, which of them are finished, which are new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::reading::{Beside, Content, Outcome, Room, TURN, aside, content};
use super::scan::{Found, Look, device_at, scan};
use super::writers::Writers;
use crate::changes::{Changes, Ear};
use crate::clock::{SharedClock, after, from_millis, rfc3339};
use crate::files::Files;
use crate::flow::pattern::Pattern;
use crate::flow::prepare;
use crate::flow::{Flow, Watch};
use crate::model::run::NewRun;
use crate::store::records::{Seen, SeenFile, TriggerKey};
use crate::store::{STORE_REST, Store, StoreError};
use crate::wake::Bell;

/// After a hint, so much time for more of them to come.
const GATHER: Duration = Duration::from_millis(50);
/// Without any hint the files are looked at this often; more seldom where a look takes long.
const LOOK: Duration = Duration::from_secs(10);
/// A file that is gone is remembered for so long: a drive may come back with it.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// Word that a file is being written counts for so long.
const BELIEVED: Duration = Duration::from_secs(600);
/// What was said is remembered up to here.
const MOST_SAID: usize = 1_000;
/// Files recorded in one transaction.
const CHUNK: usize = 256;

/// What watch triggers work with.
#[derive(Clone)]
pub struct Surroundings {
    /// Where seen files are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// The workspace's files.
    pub files: Files,
    /// Hints.
    pub changes: Changes,
    /// How many folders are looked into at once.
    pub looks: Arc<Semaphore>,
    /// How many files are read at once.
    pub reads: Room,
}

impl Surroundings {
    /// With bounds on what is done at once, so that a thousand triggers need no thousand threads.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, files: Files, changes: Changes) -> Self {
        let (looks, reads) = (Arc::new(Semaphore::new(8)), Room::default());
        Self { store, clock, files, changes, looks, reads }
    }
}

/// One watch trigger.
pub struct FileWatch {
    key: TriggerKey,
    around: Surroundings,
    rule: watch::Receiver<(Arc<Flow>, Arc<Watch>)>,
    bell: Bell,
    ears: Vec<Ear>,
    /// The folders that they hear of.
    bases: Vec<String>,
    seen: HashMap<String, SeenFile>,
    /// Files that are being written, as they looked and since when.
    unsettled: BTreeMap<String, (Look, Timestamp)>,
    /// Files that are gone, since when.
    missing: BTreeMap<String, Timestamp>,
    /// What cannot be read was said once.
    said: BTreeSet<String>,
    /// Files that somebody was writing when they would have been finished, since when.
    written: BTreeMap<String, Timestamp>,
    /// Files that were there at first and are to be read, so that a touch of them will not count.
    unread: Vec<SeenFile>,
    /// Reads some of them.
    reading: JoinSet<Vec<SeenFile>>,
    /// Reads finished files that are large.
    beside: Beside,
}

/// The files that are there already, as if they had been seen. They are not read yet: nobody waits for that.
pub fn present(files: &Files, watch: &Watch) -> Vec<SeenFile> {
    let found = scan(files, &watch.patterns);
    found.files.into_iter().map(|(path, look)| look.seen(path, None)).collect()
}

/// How what was seen differs from what is there now.
pub fn differences(seen: &[SeenFile], now_there: &[SeenFile], now: Timestamp) -> Vec<SeenFile> {
    let known: HashMap<&str, &SeenFile> = seen.iter().map(|row| (row.path.as_str(), row)).collect();
    let there: BTreeSet<&str> = now_there.iter().map(|row| row.path.as_str()).collect();
    let as_known = |row: &&SeenFile| {
        known.get(row.path.as_str()).is_some_and(|known| known.gone_at.is_none() && is_alike(known, row))
    };
    let changed = now_there.iter().filter(|row| !as_known(row)).cloned();
    let gone = seen.iter().filter(|row| row.gone_at.is_none() && !there.contains(row.path.as_str()));
    changed.chain(gone.map(|row| SeenFile { gone_at: Some(now), ..row.clone() })).collect()
}

/// Whether a file looks as it did.
fn is_alike(known: &SeenFile, row: &SeenFile) -> bool {
    (known.size, known.modified) == (row.size, row.modified)
        && (known.changed.is_none() || known.changed == row.changed)
}

impl FileWatch {
    /// A trigger that has seen these files.
    pub fn new(
        key: TriggerKey,
        around: Surroundings,
        rule: watch::Receiver<(Arc<Flow>, Arc<Watch>)>,
        seen: Vec<SeenFile>,
    ) -> Self {
        let mut unread: Vec<SeenFile> =
            seen.iter().filter(|row| row.hash.is_none() && row.gone_at.is_none()).cloned().collect();
        // They are taken from the end: small ones do not wait for large ones.
        unread.sort_by_key(|row| std::cmp::Reverse(row.size));
        Self {
            key,
            rule,
            bell: Bell::default(),
            ears: Vec::new(),
            bases: Vec::new(),
            seen: seen.into_iter().map(|row| (row.path.clone(), row)).collect(),
            unsettled: BTreeMap::new(),
            missing: BTreeMap::new(),
            said: BTreeSet::new(),
            written: BTreeMap::new(),
            unread,
            reading: JoinSet::new(),
            beside: Beside::default(),
            around,
        }
    }

    /// Begins to hear of changes. Blocks while a large tree is gone through, and that may take
    /// long, so nobody waits for it but this trigger.
    async fn listen(&mut self) {
        let (patterns, files) = (self.rule.borrow().1.patterns.clone(), self.around.files.clone());
        let (changes, bell) = (self.around.changes.clone(), self.bell.clone());
        let listen = move || {
            let bases = |pattern: &Pattern| files.spellings(pattern.base());
            let ears = |pattern: &Pattern| {
                let ear = |base: String| changes.listen(&base, pattern.depth() != Some(1), &bell);
                bases(pattern).into_iter().map(ear).collect::<Vec<_>>()
            };
            (patterns.iter().flat_map(bases).collect(), patterns.iter().flat_map(ears).collect())
        };
        (self.bases, self.ears) = aside(&self.around.looks, listen).await.unwrap_or_default();
    }

    /// Looks until it is dropped.
    pub async fn run(mut self) {
        self.listen().await;
        loop {
            let (begun, since) = (Instant::now(), self.around.clock.now());
            let next = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(flow = %self.key.flow, trigger = %self.key.trigger, %error, "files cannot be recorded yet");
                    Some(after(self.around.clock.now(), STORE_REST))
                }
            };
            let took = begun.elapsed();
            let rest = self.rule.borrow().1.poll.unwrap_or(LOOK.max(took.saturating_mul(100)));
            let look = after(self.around.clock.now(), rest);
            let at = next.map_or(look, |next| next.min(look));
            tokio::select! {
                () = self.bell.rung() => tokio::time::sleep(GATHER.max(took.saturating_mul(5))).await,
                () = self.around.clock.sleep_until(at, since) => {}
                () = self.beside.next() => {}
                Some(read) = self.reading.join_next() => if let Err(error) = self.take_read(read.unwrap_or_default()).await {
                    tracing::error!(flow = %self.key.flow, %error, "what was read of files cannot be recorded");
                },
                changed = self.rule.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look; gives when a file may be finished.
    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.ears.iter().for_each(Ear::hold);
        let (flow, watch) = self.rule.borrow_and_update().clone();
        let (files, patterns) = (self.around.files.clone(), watch.patterns.clone());
        let found = aside(&self.around.looks, move || scan(&files, &patterns)).await;
        let found = found.ok_or_else(|| StoreError::Other("the look at the folder broke down".into()))?;
        let now = self.around.clock.now();
        if found.bases != self.bases {
            self.listen().await;
        }
        for why in &found.refused {
            self.say(why);
        }
        self.note(&found, now);
        self.keep_drives(&found).await?;
        let over = |since: &Timestamp| after(*since, watch.settle) <= now;
        let finished = self.unsettled.iter().filter(|(_, (_, since))| over(since));
        let finished: Vec<(String, Look)> = finished.map(|(path, (look, _))| (path.clone(), *look)).collect();
        let finished = self.closed(finished, now).await;
        let mut seen = Vec::new();
        for (path, look) in finished {
            if let Some(read) = self.content(&path, look).await {
                seen.extend(self.finished(path, read, &flow, &watch, now));
            }
        }
        let gone: Vec<String> =
            self.missing.iter().filter(|(_, since)| over(since)).map(|(path, _)| path.clone()).collect();
        seen.extend(gone.into_iter().filter_map(|path| self.gone(&path, &flow, &watch, now)));
        let forget = now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let mut seen = seen.into_iter();
        loop {
            let chunk: Vec<Seen> = seen.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let rows: Vec<SeenFile> = chunk.iter().map(|seen| seen.row.clone()).collect();
            self.around.store.see_files(&self.key, chunk, forget).await?;
            for row in rows {
                self.unsettled.remove(&row.path);
                self.missing.remove(&row.path);
                self.seen.insert(row.path.clone(), row);
            }
        }
        self.seen.retain(|_, row| row.gone_at.is_none_or(|at| at >= forget));
        self.read_some();
        // Large ones that are finished tell when they have been read.
        let reading = |look: &Look, since: &Timestamp| look.size > TURN && over(since);
        let unsettled = self.unsettled.values().filter(|(look, since)| !reading(look, since)).map(|(_, since)| since);
        let waiting = unsettled.chain(self.missing.values());
        Ok(waiting.map(|since| after(*since, watch.settle)).min())
    }

    /// Begins to read some of the files that nobody has read yet, each of them once: one that
    /// cannot be read would be tried for ever.
    fn read_some(&mut self) {
        if !self.reading.is_empty() || self.unread.is_empty() {
            return;
        }
        let rows = self.unread.split_off(self.unread.len().saturating_sub(CHUNK));
        let (files, room) = (self.around.files.clone(), self.around.reads.clone());
        self.reading.spawn(async move {
            let mut read = Vec::new();
            for row in rows {
                // What cannot be read, or has another look by now, is looked at when it is finished.
                if let Ok(Some((look, hash))) = content(&files, &room, &row.path).await
                    && look.is_of(&row)
                {
                    read.push(SeenFile { hash: Some(hash), ..row });
                }
            }
            read
        });
    }

    /// Records what was read.
    async fn take_read(&mut self, rows: Vec<SeenFile>) -> Result<(), StoreError> {
        let unchanged = |row: &SeenFile| {
            self.seen
                .get(&row.path)
                .is_some_and(|known| known.hash.is_none() && known.gone_at.is_none() && is_alike(known, row))
        };
        let rows: Vec<SeenFile> = rows.into_iter().filter(unchanged).collect();
        let seen = rows.iter().map(|row| Seen { row: row.clone(), run: None }).collect();
        self.around.store.see_files(&self.key, seen, Timestamp::MIN).await?;
        self.seen.extend(rows.into_iter().map(|row| (row.path.clone(), row)));
        Ok(())
    }

    /// Takes in how the files look now.
    fn note(&mut self, found: &Found, now: Timestamp) {
        // The clock may have been set back.
        let sinces = self.unsettled.values_mut().map(|(_, since)| since).chain(self.missing.values_mut());
        sinces.for_each(|since| *since = (*since).min(now));
        for (path, look) in &found.files {
            let known = self.seen.get(path);
            let same = known.is_some_and(|row| row.gone_at.is_none() && look.is_of(row));
            self.missing.remove(path);
            if same {
                self.unsettled.remove(path);
            } else if self.unsettled.get(path).is_none_or(|(before, _)| before != look) {
                self.unsettled.insert(path.clone(), (*look, now));
            }
        }
        self.unsettled.retain(|path, _| found.files.contains_key(path));
        self.written.retain(|path, _| found.files.contains_key(path));
        self.beside.keep(|path| self.unsettled.contains_key(path));
        // What cannot be seen now is not known to be gone either.
        self.missing.retain(|path, _| found.would_show(path));
        let lost = |row: &&SeenFile| row.gone_at.is_none() && !found.files.contains_key(&row.path);
        for row in self.seen.values().filter(lost).filter(|row| found.would_show(&row.path)) {
            // Where another drive lies now, or none any more, what is missing has not gone.
            let here = || device_at(&self.around.files, &row.path);
            if row.device.is_none_or(|device| here() == Some(device)) {
                self.missing.entry(row.path.clone()).or_insert(now);
            }
        }
    }

    /// Keeps on which drives files lie, where that is new: a drive has another number when it comes back.
    async fn keep_drives(&mut self, found: &Found) -> Result<(), StoreError> {
        let moved = |row: &&SeenFile| {
            let look = found.files.get(&row.path).filter(|look| row.gone_at.is_none() && look.is_of(row));
            look.is_some_and(|look| (row.device, row.changed) != (Some(look.device), Some(look.changed)))
        };
        let moved: Vec<SeenFile> = self.seen.values().filter(moved).cloned().collect();
        for some in moved.chunks(CHUNK) {
            let row = |row: &SeenFile| Some(found.files.get(&row.path)?.seen(row.path.clone(), row.hash));
            let rows: Vec<SeenFile> = some.iter().filter_map(row).collect();
            let seen = rows.iter().map(|row| Seen { row: row.clone(), run: None }).collect();
            self.around.store.see_files(&self.key, seen, Timestamp::MIN).await?;
            self.seen.extend(rows.into_iter().map(|row| (row.path.clone(), row)));
        }
        Ok(())
    }

    /// Those of the finished files that nobody has open for writing any more.
    async fn closed(&mut self, finished: Vec<(String, Look)>, now: Timestamp) -> Vec<(String, Look)> {
        if finished.is_empty() {
            return finished;
        }
        let writers = aside(&self.around.looks, Writers::look).await.unwrap_or_default();
        let mut closed = Vec::new();
        for (path, look) in finished {
            // What others write is told by the system alone. A word of theirs that was lost must not hold a file for
            // ever.
            let told = || {
                let since = self.written.get(&path).copied().unwrap_or(now);
                let name = self.around.files.root().join(&path);
                !writers.is_complete
                    && after(since, BELIEVED) > now
                    && self.ears.iter().any(|ear| ear.is_writing(&name))
            };
            if writers.have(look.device, look.inode) || told() {
                self.written.entry(path.clone()).or_insert(now);
                self.unsettled.insert(path, (look, now));
            } else {
                self.written.remove(&path);
                closed.push((path, look));
            }
        }
        closed
    }

    /// What is in a file that looks like this; none while a large one is being read.
    async fn content(&mut self, path: &str, look: Look) -> Option<Outcome> {
        if look.size <= TURN {
            return Some(content(&self.around.files, &self.around.reads, path).await);
        }
        let read = self.beside.take(path, look);
        if read.is_none() {
            self.beside.begin(path, &self.around.files, &self.around.reads);
        }
        read
    }

    /// A file has not changed for long enough: is it new, and does that matter?
    fn finished(
        &mut self,
        path: String,
        read: Outcome,
        flow: &Arc<Flow>,
        watch: &Watch,
        now: Timestamp,
    ) -> Option<Seen> {
        let before = self.unsettled.get(&path)?.0;
        let (look, hash): Content = match read {
            Ok(Some(read)) => read,
            // It is gone, and that is no error.
            Ok(None) => {
                self.unsettled.remove(&path);
                return None;
            }
            Err(why) => {
                self.say(&why);
                // It is tried again when it is looked at again.
                self.unsettled.remove(&path);
                return None;
            }
        };
        if look != before {
            self.unsettled.insert(path, (look, now));
            return None;
        }
        let known = self.seen.get(&path);
        // The same content is the same file, also when it comes back with the time that it had.
        let same =
            known.is_some_and(|row| row.hash == Some(hash) && (row.gone_at.is_none() || row.modified == look.modified));
        let (kind, wanted) = match known {
            Some(row) if row.gone_at.is_none() => ("modified", watch.modified),
            _ => ("created", watch.created),
        };
        let row = look.seen(path, Some(hash));
        let run = (wanted && !same).then(|| event(flow, kind, &row, now));
        Some(Seen { row, run })
    }

    fn gone(&mut self, path: &str, flow: &Arc<Flow>, watch: &Watch, now: Timestamp) -> Option<Seen> {
        let row = SeenFile { gone_at: Some(now), ..self.seen.get(path)?.clone() };
        let run = watch.deleted.then(|| event(flow, "deleted", &row, now));
        Some(Seen { row, run })
    }

    fn say(&mut self, why: &str) {
        if self.said.len() >= MOST_SAID {
            self.said.clear();
        }
        if self.said.insert(why.to_owned()) {
            tracing::warn!(flow = %self.key.flow, "{why}");
        }
    }
}

fn event(flow: &Flow, kind: &str, row: &SeenFile, now: Timestamp) -> NewRun {
    let event = json!({
        "path": row.path,
        "name": row.path.rsplit('/').next().unwrap_or(&row.path),
        "kind": kind,
        "size": row.size,
        "modified_at": rfc3339(from_millis(row.modified.div_euclid(1_000_000))),
    });
    prepare(flow, "watch", &event, now)
}
