//! What came in, and what became of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Seen, Time, View};
use crate::clock::after;
use crate::id::RunId;
use crate::model::event::seen;
use crate::store::records::{IncomingFilter, RefusedRow, RunFilter, RunRecord};
use crate::wake::Bell;

/// Turned-away requests that are remembered.
const REMEMBERED: usize = 500;
/// Requests that are alike count as one for so long.
const TOGETHER: std::time::Duration = std::time::Duration::from_secs(3_600);

/// A request that was turned away.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Turned {
    /// The last time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The first time.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Method and path.
    pub what: String,
    /// The status of the answer.
    pub status: u16,
    /// Why.
    pub reason: String,
    /// From where it came.
    pub from: String,
    /// How often, by then.
    pub count: u64,
}

/// Requests that were turned away lately; those that are alike are told of together.
#[derive(Clone, Default)]
pub struct TurnedAway {
    list: Arc<Mutex<List>>,
    bell: Bell,
}

#[derive(Default)]
struct List {
    /// Newest first.
    rows: VecDeque<RefusedRow>,
    /// Those that are not on record as they are now.
    unwritten: BTreeSet<i64>,
    /// Those that are on record and not remembered any more.
    gone: Vec<i64>,
    /// The last number given out.
    last: i64,
}

impl List {
    /// The oldest of those that are most: a thousand addresses that somebody tries do not push out the one request
    /// whose signature was wrong.
    fn forget_one(&mut self) {
        let mut counts = BTreeMap::<u16, usize>::new();
        self.rows.iter().for_each(|row| *counts.entry(row.status).or_default() += 1);
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        if let Some(place) = self.rows.iter().rposition(|row| row.status == most)
            && let Some(row) = self.rows.remove(place)
        {
            self.unwritten.remove(&row.id);
            self.gone.push(row.id);
        }
    }
}

impl TurnedAway {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with what is on record, oldest first.
    pub fn fill(&self, rows: Vec<RefusedRow>) {
        let mut list = self.list();
        list.last = rows.last().map_or(0, |row| row.id);
        let older = rows.len().saturating_sub(REMEMBERED);
        list.gone.extend(rows.iter().take(older).map(|row| row.id));
        list.rows = rows.into_iter().skip(older).rev().collect();
    }

    /// One more.
    pub fn note(&self, at: Timestamp, what: &str, status: u16, reason: &str, from: &str) {
        let mut list = self.list();
        let alike = |known: &RefusedRow| {
            known.what == what
                && known.status == status
                && known.reason == reason
                && known.from == from
                && after(known.since, TOGETHER) > at
        };
        let mut one = match list.rows.iter().position(alike).and_then(|place| list.rows.remove(place)) {
            Some(known) => known,
            None => {
                list.last += 1;
                RefusedRow {
                    id: list.last,
                    since: at,
                    at,
                    what: what.to_owned(),
                    status,
                    reason: reason.to_owned(),
                    from: from.to_owned(),
                    count: 0,
                }
            }
        };
        (one.at, one.count) = (at, one.count.saturating_add(1));
        list.unwritten.insert(one.id);
        list.rows.push_front(one);
        if list.rows.len() > REMEMBERED {
            list.forget_one();
        }
        drop(list);
        self.bell.nudge();
    }

    /// What is not on record yet, and what is to go from there.
    pub fn unwritten(&self) -> (Vec<RefusedRow>, Vec<i64>) {
        let mut list = self.list();
        let unwritten = std::mem::take(&mut list.unwritten);
        let rows = list.rows.iter().filter(|row| unwritten.contains(&row.id)).cloned().collect();
        (rows, std::mem::take(&mut list.gone))
    }

    /// That could not be put on record.
    pub fn write_again(&self, numbers: &[i64], gone: &[i64]) {
        let mut list = self.list();
        list.unwritten.extend(numbers);
        list.gone.extend(gone);
    }

    /// Resolves when there is something to put on record.
    pub async fn changed(&self) {
        self.bell.rung().await;
    }

    /// All of them, newest first.
    pub fn all(&self) -> Vec<Turned> {
        let row = |row: &RefusedRow| Turned {
            at: Time(row.at),
            since: Time(row.since),
            what: row.what.clone(),
            status: row.status,
            reason: row.reason.clone(),
            from: row.from.clone(),
            count: row.count,
        };
        self.list().rows.iter().map(row).collect()
    }
}

/// Something that came in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArrivalRow {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// `webhook`, `message` or `file`.
    pub kind: &'static str,
    /// The path, the file, or the person's address.
    pub what: String,
    /// What the person is called.
    pub name: Option<String>,
    /// What was written.
    pub text: Option<String>,
    /// The account that it came to.
    pub account: Option<String>,
    /// `began`, `answered`, `repeated`, `opted`, `known`, `unwanted`, `reaction` or `refused`.
    pub outcome: &'static str,
    /// Why it was turned away.
    pub reason: Option<String>,
    /// The status of the answer, where it was turned away.
    pub status: Option<u16>,
    /// From where a request came.
    pub from: Option<String>,
    /// How many alike, the last of which this is.
    pub count: u64,
    /// The run that it started or answered.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// The flow of that run.
    pub flow: Option<String>,
}

/// Which of what came in is wanted.
#[derive(Clone, Debug, Default)]
pub struct ArrivalWish {
    /// Of this kind: `webhook`, `message` or `file`.
    pub kind: Option<String>,
    /// Of which this became.
    pub outcome: Option<String>,
    /// From one of these people.
    pub people: Vec<String>,
    /// That hold these words.
    pub words: Option<String>,
    /// Came at or after this.
    pub since: Option<Timestamp>,
    /// Came before this.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

const OUTCOMES: [&str; 6] = ["known", "began", "answered", "repeated", "opted", "unwanted"];

impl View {
    /// What came in, newest first.
    pub async fn arrivals(&self, wish: ArrivalWish) -> Seen<Vec<ArrivalRow>> {
        let is = |kind: &str| wish.kind.as_deref().is_none_or(|wanted| wanted == kind);
        let becomes = |outcome: &str| wish.outcome.as_deref().is_none_or(|wanted| wanted == outcome);
        let mut rows = Vec::new();
        if is("message") && wish.outcome.as_deref() != Some("refused") {
            rows.extend(self.letters(&wish).await?);
        }
        if wish.people.is_empty() && (is("webhook") || is("file")) && becomes("began") {
            rows.extend(self.starts(&wish).await?);
        }
        if wish.people.is_empty() && is("webhook") && becomes("refused") {
            let words = wish.words.as_ref().map(|words| words.to_lowercase());
            let turned = self.turned_away.all().into_iter().filter(|turned| {
                wish.since.is_none_or(|since| turned.at.0 >= since)
                    && wish.until.is_none_or(|until| turned.at.0 < until)
                    && words.as_ref().is_none_or(|words| {
                        [&turned.what, &turned.reason, &turned.from]
                            .iter()
                            .any(|text| text.to_lowercase().contains(words))
                    })
            });
            rows.extend(turned.map(|turned| ArrivalRow {
                at: turned.at,
                kind: "webhook",
                what: turned.what,
                name: None,
                text: None,
                account: None,
                outcome: "refused",
                reason: Some(turned.reason),
                status: Some(turned.status),
                from: Some(turned.from),
                count: turned.count,
                run: None,
                flow: None,
            }));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.at));
        rows.truncate(wish.limit);
        Ok(rows)
    }

    /// What people wrote.
    async fn letters(&self, wish: &ArrivalWish) -> Seen<Vec<ArrivalRow>> {
        let filter = IncomingFilter {
            from: wish.people.clone(),
            fates: OUTCOMES.into_iter().filter(|name| wish.outcome.as_deref() == Some(*name)).collect(),
            words: wish.words.clone(),
            since: wish.since,
            until: wish.until,
            limit: wish.limit,
        };
        let records = self.store.incoming(filter).await?;
        let names = self.names(records.iter().map(|record| record.from.as_str())).await?;
        let row = |record: crate::store::records::IncomingRecord| {
            let said = |field: &str| record.event[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let kind = said("kind");
            let outcome = OUTCOMES.into_iter().find(|name| *name == record.fate);
            ArrivalRow {
                at: Time(record.at),
                kind: "message",
                name: names.get(&record.from).cloned().or_else(|| said("name")),
                text: said("text").or_else(|| said("emoji")).or_else(|| kind.map(|kind| format!("({kind})"))),
                what: record.from.clone(),
                account: Some(record.account.clone()),
                outcome: outcome.unwrap_or(if said("emoji").is_some() { "reaction" } else { "unwanted" }),
                reason: None,
                status: None,
                from: None,
                count: 1,
                run: record.run,
                flow: record.flow,
            }
        };
        Ok(records.into_iter().map(row).collect())
    }

    /// Webhooks and files that started runs.
    async fn starts(&self, wish: &ArrivalWish) -> Seen<Vec<ArrivalRow>> {
        let triggers = [("webhook", "webhook"), ("watch", "file")];
        let wanted = |kind: &str| wish.kind.as_deref().is_none_or(|wanted| wanted == kind);
        let filter = RunFilter {
            triggers: triggers.into_iter().filter(|(_, kind)| wanted(kind)).map(|(trigger, _)| trigger).collect(),
            since: wish.since,
            until: wish.until,
            words: wish.words.clone(),
            events: true,
            limit: wish.limit,
            ..RunFilter::default()
        };
        let row = |run: RunRecord| {
            let event = seen(&run.event);
            let said = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let is_webhook = run.trigger == "webhook";
            ArrivalRow {
                at: Time(run.created_at),
                kind: if is_webhook { "webhook" } else { "file" },
                what: if is_webhook { format!("{} {}", said("method"), said("path")) } else { said("path") },
                name: None,
                text: None,
                account: None,
                outcome: "began",
                reason: None,
                status: None,
                from: Some(said("ip")).filter(|ip| !ip.is_empty()),
                count: 1,
                run: Some(run.id),
                flow: Some(run.flow),
            }
        };
        Ok(self.store.runs(filter).await?.rows.into_iter().map(row).collect())
    }
}
