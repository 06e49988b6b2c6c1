//! From files to a set of flows, again and again: only what changed is read again, and a file that
//! is broken keeps its last good version.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Flow;
use super::catalog::{Candidate, Catalog, Ground, Standing};
use super::file::{self, Surroundings};
use super::sources::Sources;
use crate::clock::{after, rfc3339};
use crate::cores::shared_out;
use crate::few::compact;
use crate::files::Files;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::panics;
use crate::store::records::FolderId;

/// A file is let go when it has been away for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many flows, read in some 50 ms, are worth a thread of their own; each leaves some memory behind.
const WORTHWHILE: usize = 1_000;

/// All flow files of a workspace, read.
pub struct Library {
    sources: Sources,
    ground: Arc<Ground>,
    readings: BTreeMap<Arc<str>, Reading>,
    problems: Vec<Diagnostic>,
    /// The last good version of each file, compiled.
    good: BTreeMap<Arc<str>, Arc<Flow>>,
    /// The same by id; at first, what the store has kept.
    kept: BTreeMap<Arc<str>, Arc<str>>,
    /// The folder that flows lie in, as it is kept.
    home: Option<FolderId>,
    /// Flows, by file, whose last good version cannot be built today.
    withheld: BTreeMap<Arc<str>, Arc<str>>,
    /// Files that had a good version and are away since then.
    away: BTreeMap<Arc<str>, Timestamp>,
}

/// What a flow file was found to be.
struct Reading {
    outcome: Result<Arc<Flow>, Vec<Diagnostic>>,
    /// Script files that it was read against, those that are missing included.
    needs: Box<[String]>,
}

/// What a look found.
pub struct Changes {
    /// Whether `postrider.yaml` or `.env` is another one now.
    pub settings: bool,
    /// Whether anything else is.
    pub flows: bool,
    /// Something was changed just now: look again in a moment.
    pub fresh: bool,
}

impl Changes {
    /// What a later look found besides.
    pub fn add(&mut self, later: Self) {
        self.settings |= later.settings;
        self.flows |= later.flows;
        self.fresh = later.fresh;
    }
}

impl Library {
    /// Nothing read yet. `kept` are the last good versions by file, as the store has them, and `home` is the
    /// folder that they lay in.
    pub fn new(root: &Path, ground: Arc<Ground>, kept: BTreeMap<String, String>, home: Option<FolderId>) -> Self {
        Self {
            sources: Sources::new(root, !kept.is_empty(), home),
            home,
            ground,
            readings: BTreeMap::new(),
            problems: Vec::new(),
            good: BTreeMap::new(),
            kept: kept.into_iter().map(|(file, version)| (file.into(), version.into())).collect(),
            withheld: BTreeMap::new(),
            away: BTreeMap::new(),
        }
    }

    /// Reads the files again even if they look as before.
    pub fn doubt(&mut self) {
        self.sources.doubt();
    }

    /// Looks at the files, and reads the flows that are made of changed ones.
    pub fn look(&mut self) -> Changes {
        let scan = self.sources.look();
        let settings = scan.changed.contains("postrider.yaml") || scan.changed.contains(".env");
        let had_problems = std::mem::replace(&mut self.problems, scan.problems);
        let mut flows = had_problems != self.problems;
        self.readings.retain(|path, _| !(scan.changed.contains(&**path) && self.sources.text(path).is_none()));
        let stale = |path: &str| {
            scan.changed.contains(path)
                || self
                    .readings
                    .get(path)
                    .is_none_or(|known| known.needs.iter().any(|need| scan.changed.contains(need)))
        };
        let paths: Vec<Arc<str>> = self.sources.flows().filter(|path| stale(path)).cloned().collect();
        flows |= !paths.is_empty() || scan.changed.iter().any(|path| path.starts_with("flows/"));
        self.read(&paths);
        if paths.len() > self.readings.len() / 2 {
            compact(&mut self.readings);
        }
        Changes { settings, flows, fresh: scan.fresh }
    }

    /// Takes other settings: all flows are read again against them.
    pub fn settle_on(&mut self, ground: Arc<Ground>) {
        let same = self.ground.environment == ground.environment && self.ground.zone == ground.zone;
        self.ground = ground;
        // What is in force cannot wait for a flow's author: a flow that holds what is not for it any more
        // is not live until its file, or the settings, are other ones.
        let environment = &self.ground.environment;
        for (path, flow) in self.good.extract_if(.., |_, flow| flow.holds_too_much(environment)) {
            self.withheld.insert(path, flow.name.clone());
        }
        if !same {
            let paths: Vec<_> = self.sources.flows().cloned().collect();
            self.read(&paths);
        }
    }

    fn read(&mut self, paths: &[Arc<str>]) {
        let readings = shared_out(paths, WORTHWHILE, |path| self.reading(path));
        let read = paths.iter().zip(readings).filter_map(|(path, reading)| Some((path.clone(), reading?)));
        self.readings.extend(read);
    }

    /// What a flow file is; none when it is not there.
    fn reading(&self, path: &Arc<str>) -> Option<Reading> {
        let needs = RefCell::new(BTreeSet::new());
        let script = |name: &str| {
            let path = format!("scripts/{name}");
            let text = self.sources.text(&path).and_then(Result::ok);
            needs.borrow_mut().insert(path);
            text
        };
        let around = Surroundings { script: &script, home: self.ground.home(), params: None };
        let outcome = match self.sources.text(path) {
            // Should it break us down, that is a mistake of this file until it changes, and of no other.
            Some(Ok(yaml)) => catch_unwind(AssertUnwindSafe(|| file::read(path, &yaml, &around).map(Arc::new)))
                .unwrap_or_else(|panic| Err(vec![broke(path, &*panic)])),
            Some(Err(why)) => Err(vec![Diagnostic::error(path, 0, 0, why)]),
            None => return None,
        };
        let needs = needs.into_inner();
        let outcome = outcome.map_err(|mut wrong: Vec<Diagnostic>| {
            // A script that is there and cannot be read is not just missing.
            let unread = |need: &String| self.sources.text(need)?.err().map(|why| Diagnostic::error(need, 0, 0, why));
            wrong.extend(needs.iter().filter_map(unread));
            wrong
        });
        Some(Reading { outcome, needs: needs.into_iter().collect() })
    }

    /// Files that are not what the store has kept as their last good version, with the id of that
    /// version, as long as nobody has adopted it.
    pub fn orphans(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let orphan = |(path, kept): (&Arc<str>, &Arc<str>)| {
            let wanted = match self.readings.get(path) {
                Some(reading) => !reading.outcome.as_ref().is_ok_and(|flow| flow.version == *kept),
                None => self.blind(path).is_some(),
            };
            (wanted && !self.good.contains_key(path)).then(|| (path.clone(), kept.clone()))
        };
        self.kept.iter().filter_map(orphan).collect()
    }

    /// Why nobody knows whether a file is there: a folder above it cannot be read.
    fn blind(&self, path: &str) -> Option<&Diagnostic> {
        let above =
            |problem: &&Diagnostic| problem.severity == Severity::Error && Path::new(path).starts_with(&problem.file);
        self.problems.iter().find(above)
    }

    /// A last good version, built again from what was kept of it.
    pub fn adopt(&mut self, path: Arc<str>, flow: Flow) {
        self.good.insert(path, Arc::new(flow));
    }

    /// The last good version of this file's flow cannot be built: what is kept of it stays.
    pub fn withhold(&mut self, path: Arc<str>, name: String) {
        self.withheld.insert(path, name.into());
    }

    /// The set of flows as it should be now, and when to look again because a file is away.
    pub fn catalog(&mut self, now: Timestamp) -> (Catalog, Option<Timestamp>) {
        let (mut candidates, findings) = self.present();
        let next = self.missing(now, &mut candidates);
        let mut catalog = Catalog::of(candidates, findings, self.ground.clone());
        let broken = |path: &Arc<str>| match self.readings.get(path) {
            Some(reading) => reading.outcome.is_err() && !self.good.contains_key(path),
            None => self.blind(path).is_some(),
        };
        let withheld = self.withheld.iter().filter(|(path, _)| broken(path));
        catalog.withheld = withheld.map(|(_, name)| name.clone()).collect();
        (catalog, next)
    }

    /// The flows of files that are there, and what is to be said of those that have none.
    fn present(&self) -> (Vec<Candidate>, Vec<Diagnostic>) {
        let mut candidates = Vec::new();
        // What a flow says of a file of its own need not be said twice.
        let wrong = |reading: &Reading, problem: &Diagnostic| {
            reading.outcome.as_ref().is_err_and(|wrong| wrong.contains(problem))
        };
        let told = |problem: &&Diagnostic| self.readings.values().any(|reading| wrong(reading, problem));
        let mut findings = self.ground.doubts.clone();
        findings.extend(self.problems.iter().filter(|problem| !told(problem)).cloned());
        for (path, reading) in &self.readings {
            let good = self.good.get(path);
            match &reading.outcome {
                // What its file says now cannot be seen.
                Ok(_) if let (Some(flow), Some(problem)) = (good, self.blind(path)) => candidates.push(Candidate {
                    flow: flow.clone(),
                    standing: Standing::Same,
                    wrong: vec![problem.clone()],
                    before: None,
                }),
                Ok(flow) => {
                    let standing = match self.kept.get(path) {
                        Some(version) if *version == flow.version => Standing::Same,
                        Some(_) => Standing::Changed,
                        None => Standing::New,
                    };
                    candidates.push(Candidate {
                        flow: flow.clone(),
                        standing,
                        wrong: Vec::new(),
                        before: good.cloned(),
                    });
                }
                Err(wrong) => match good {
                    Some(flow) => candidates.push(Candidate {
                        flow: flow.clone(),
                        standing: Standing::Same,
                        wrong: wrong.clone(),
                        before: None,
                    }),
                    None => findings.extend(wrong.iter().cloned()),
                },
            }
        }
        (candidates, findings)
    }

    /// The flows whose files are away, for as long as these may come back; gives when to look again.
    fn missing(&mut self, now: Timestamp, candidates: &mut Vec<Candidate>) -> Option<Timestamp> {
        let readings = &self.readings;
        self.away.retain(|path, _| !readings.contains_key(path));
        let mut next = None;
        let fresh = |flow: &Flow| {
            // The same text under another path: that is where it went.
            let new = |(path, reading): (&Arc<str>, &Reading)| {
                !self.kept.contains_key(path)
                    && reading.outcome.as_ref().is_ok_and(|new| new.content.yaml == flow.content.yaml)
            };
            readings.iter().any(new)
        };
        let missing = self.good.iter().filter(|(path, flow)| !readings.contains_key(*path) && !fresh(flow));
        for (path, flow) in missing {
            if let Some(problem) = self.blind(path) {
                let (flow, wrong) = (flow.clone(), vec![problem.clone()]);
                candidates.push(Candidate { flow, standing: Standing::Same, wrong, before: None });
                continue;
            }
            let since = self.away.entry(path.clone()).or_insert(now);
            // The clock may have been set back.
            *since = (*since).min(now);
            let until = after(*since, PATIENCE);
            if until <= now {
                continue;
            }
            next = Some(next.map_or(until, |next: Timestamp| next.min(until)));
            let message = format!("the file is gone; its flow is let go at {}", rfc3339(until));
            let wrong = vec![Diagnostic::warning(path, 0, 0, message)];
            candidates.push(Candidate { flow: flow.clone(), standing: Standing::Away, wrong, before: None });
        }
        next
    }

    /// How a set differs from the one that is live.
    pub fn differs(&self, catalog: &Catalog) -> Published {
        let live: BTreeMap<&str, &Arc<Flow>> = catalog.flows.values().map(|flow| (&*flow.file, flow)).collect();
        let new = |flow: &&&Arc<Flow>| self.kept.get(&flow.file) != Some(&flow.version);
        // A file that is broken and whose last good version could not be built keeps its claim.
        let claims =
            |path: &str| live.contains_key(path) || self.readings.contains_key(path) || self.blind(path).is_some();
        let replaced =
            |(path, old): &(&Arc<str>, &Arc<Flow>)| live.get(&***path).is_none_or(|new| new.version != old.version);
        Published {
            new: live.values().filter(new).map(|flow| (*flow).clone()).collect(),
            gone: self.kept.keys().filter(|path| !claims(path)).cloned().collect(),
            replaced: self.good.iter().filter(replaced).map(|(_, old)| old.clone()).collect(),
            home: self.sources.home().filter(|home| self.home != Some(*home)),
        }
    }

    /// The set is live and kept: what it has is the last good version of each file.
    pub fn published(&mut self, catalog: &Catalog, difference: &Published) {
        difference.gone.iter().for_each(|path| drop(self.kept.remove(path)));
        self.home = difference.home.or(self.home);
        self.kept.extend(difference.new.iter().map(|flow| (flow.file.clone(), flow.version.clone())));
        self.good = catalog.flows.values().map(|flow| (flow.file.clone(), flow.clone())).collect();
        // What the store told has its texts in common with what is live.
        let shared = |(file, version): (Arc<str>, Arc<str>)| match self.good.get(&file) {
            Some(flow) if flow.version == version => (flow.file.clone(), flow.version.clone()),
            _ => (file, version),
        };
        self.kept = std::mem::take(&mut self.kept).into_iter().map(shared).collect();
        self.away.retain(|path, _| self.good.contains_key(path));
    }
}

fn broke(path: &str, panic: &(dyn Any + Send)) -> Diagnostic {
    let why = panics::words(panic);
    let message = format!("reading this file broke down ({why}); this is a defect of Postrider, please report it");
    Diagnostic::error(path, 0, 0, message)
}

/// How a set of flows differs from the one before.
pub struct Published {
    /// Flows that are new or have another version.
    pub new: Vec<Arc<Flow>>,
    /// Files that are gone for good.
    pub gone: Vec<Arc<str>>,
    /// Versions that are not live any more.
    pub replaced: Vec<Arc<Flow>>,
    /// The folder that they lie in, if it is another one.
    pub home: Option<FolderId>,
}

/// What is to be said about a text, were it the file's: what is wrong with it, and what it does to the flows that
/// are live. Nothing is kept of it.
pub fn checked(files: &Files, catalog: &Catalog, file: &str, text: &str) -> Vec<Diagnostic> {
    let script = |name: &str| files.text(&format!("scripts/{name}")).ok().map(Arc::from);
    let around = Surroundings { script: &script, home: catalog.ground.home(), params: None };
    let flow = match file::read(&file.into(), &text.into(), &around) {
        Ok(flow) => Arc::new(flow),
        Err(wrong) => return wrong,
    };
    let others = catalog.flows.values().filter(|other| *other.file != *file).map(|other| Candidate {
        flow: other.clone(),
        standing: Standing::Same,
        wrong: Vec::new(),
        before: None,
    });
    let before = catalog.flows.values().find(|live| *live.file == *file).cloned();
    let standing = if before.is_some() { Standing::Changed } else { Standing::New };
    // What was live comes back where the text cannot come in, and is no finding of the text.
    let candidate = Candidate { flow: flow.clone(), standing, wrong: Vec::new(), before: None };
    let set = Catalog::of(others.chain([candidate]).collect(), Vec::new(), catalog.ground.clone());
    let own = |finding: &Diagnostic| finding.file == file || flow.content.scripts.get(&finding.file).is_some();
    set.findings.into_iter().filter(own).collect()
}
