//! Evidence of what became of messages: acks, and our own messages that come back as events. Either
//! may come before the answer that tells the gateway's id.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::outbox::{Change, apply};
use super::writer::Work;
use super::{Read, json, json_or_none, people, text};
use crate::clock::{millis, rfc3339};
use crate::id::MessageId;
use crate::model::delivery::{Attempt, Degraded, MessageState, Part, Step};
use crate::model::inbound::{Ack, Echo, Fate, OwnId};
use crate::model::message::Content;
use crate::store::rows::Inbound;

/// How long what came too early is kept.
const KEPT: Duration = Duration::from_secs(3600);

/// What came before this counts no more.
fn since(now: Timestamp) -> i64 {
    millis(now) - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)
}

/// A fate as it is kept until the message's id is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Early {
    reached: Option<MessageState>,
    error: Option<String>,
    /// Our own id of the message, where the gateway said it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ours: Option<OwnId>,
}

impl Early {
    fn of(ack: &Ack) -> Self {
        let (reached, error) = match &ack.fate {
            Fate::Reached(state) => (Some(*state), None),
            Fate::Failed { error, .. } => (None, Some(error.clone())),
        };
        Self { reached, error, ours: ack.ours }
    }

    /// The one of two that says more: a failure, or the state that is further.
    fn or(self, other: Self) -> Self {
        match self.error.is_some() || (other.error.is_none() && self.reached >= other.reached) {
            true => self,
            false => other,
        }
    }
}

/// An echo as it is kept until somebody is in doubt about a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    chat: String,
    kind: String,
    text: Option<String>,
}

/// The gateway's id of a message, or of a part of it, is known now: what was told of it before is
/// applied.
pub fn post(work: &mut Work<'_>, account: &str, provider_id: &str, id: MessageId, now: Timestamp) -> Read<()> {
    let sql = "INSERT OR IGNORE INTO posted (account, provider_id, message) VALUES (?, ?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![account, provider_id, id.as_bytes()])?;
    if !work.memory.early {
        return Ok(());
    }
    let sql = "DELETE FROM early WHERE account = ? AND provider_id = ? RETURNING fate, at";
    let row = |row: &Row<'_>| Ok((json_or_none::<Early>(row, 0)?, row.get::<_, i64>(1)?));
    match work.tx.prepare_cached(sql)?.query_row([account, provider_id], row).optional()? {
        Some((Some(early), at)) if at >= since(now) => reach(work, id, provider_id, early, now),
        _ => Ok(()),
    }
}

fn message_of(work: &Work<'_>, account: &str, provider_id: &str) -> Read<Option<MessageId>> {
    let sql = "SELECT message FROM posted WHERE account = ? AND provider_id = ?";
    let row = |row: &Row<'_>| Ok(MessageId::from_bytes(row.get(0)?));
    work.tx.prepare_cached(sql)?.query_row([account, provider_id], row).optional()
}

/// How far a message of ours is.
pub fn ack(work: &mut Work<'_>, inbound: &Inbound, ack: &Ack) -> Read<()> {
    let (account, now) = (&inbound.account, inbound.now);
    let fate = Early::of(ack);
    if let Some(id) = message_of(work, account, &ack.message_id)? {
        return reach(work, id, &ack.message_id, fate, now);
    }
    // Of a message in doubt that is named by our own id, the gateway's is learnt by that.
    if let Some(ours) = ack.ours
        && let Some(doubtful) = doubtful(work, ours.message)?
        && doubtful.account == *account
        && let Some(which) = doubtful.which(|place, _| place == ours.part as usize)
    {
        went_out(work, doubtful, which, &ack.message_id, None, now)?;
        return reach(work, ours.message, &ack.message_id, fate, now);
    }
    let sql = "SELECT fate FROM early WHERE account = ? AND provider_id = ?";
    let found = work.tx.prepare_cached(sql)?.query_row([account, &ack.message_id], |row| json_or_none::<Early>(row, 0));
    let fate = match found.optional()?.flatten() {
        Some(before) => fate.or(before),
        None => fate,
    };
    let sql = "INSERT INTO early (account, provider_id, at, fate) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET fate = excluded.fate";
    work.tx.prepare_cached(sql)?.execute(params![account, ack.message_id, millis(now), text(&fate)?])?;
    work.memory.early = true;
    Ok(())
}

fn is_open(work: &Work<'_>, id: MessageId) -> Read<bool> {
    work.tx.prepare_cached("SELECT 1 FROM messages WHERE id = ? AND state <= 2")?.exists([id.as_bytes()])
}

/// A message of which nobody knows whether it went out.
struct Doubtful {
    id: MessageId,
    account: String,
    to: String,
    content: Content,
    parts: Vec<Part>,
    attempts: Vec<Attempt>,
}

const DOUBTFUL: &str = "SELECT id, account, recipient, body, parts, attempts FROM messages WHERE state = 7";

impl Doubtful {
    fn of(row: &Row<'_>) -> Read<Self> {
        Ok(Self {
            id: MessageId::from_bytes(row.get(0)?),
            account: row.get(1)?,
            to: row.get(2)?,
            content: json(row, 3)?,
            parts: json_or_none(row, 4)?.unwrap_or_default(),
            attempts: json(row, 5)?,
        })
    }

    /// What of it something shows to have gone out, of that of which nobody knows: the place of a part, 0
    /// for the whole message.
    fn which(&self, shown: impl Fn(usize, &Content) -> bool) -> Option<usize> {
        if self.parts.is_empty() {
            return shown(0, &self.content).then_some(0);
        }
        let mut parts = self.parts.iter().enumerate();
        parts.find(|(place, part)| part.is_in_doubt() && shown(*place, &part.body.content)).map(|(place, _)| place)
    }
}

fn doubtful(work: &Work<'_>, id: MessageId) -> Read<Option<Doubtful>> {
    let sql = format!("{DOUBTFUL} AND id = ?");
    work.tx.prepare_cached(&sql)?.query_row([id.as_bytes()], Doubtful::of).optional()
}

/// What nobody knew whether it went out did. When that was a part, the others may have to follow.
fn went_out(
    work: &mut Work<'_>,
    doubtful: Doubtful,
    which: usize,
    provider_id: &str,
    inferred: Option<Degraded>,
    now: Timestamp,
) -> Read<()> {
    let Doubtful { id, account, mut parts, .. } = doubtful;
    let mut change = Change { degraded: inferred.into_iter().collect(), ..Change::default() };
    let mut step = Step::Reached(MessageState::Sent);
    match parts.get_mut(which) {
        None => change.provider_id = Some(provider_id.to_owned()),
        Some(part) => {
            (part.state, part.error) = (MessageState::Sent, None);
            part.provider_id = Some(provider_id.to_owned());
            change.provider_id = part.main.then(|| provider_id.to_owned());
            if parts.iter().any(Part::is_in_doubt) {
                let sql = "UPDATE messages SET parts = ?, provider_id = coalesce(?, provider_id) WHERE id = ?";
                work.tx.prepare_cached(sql)?.execute(params![text(&parts)?, change.provider_id, id.as_bytes()])?;
                return post(work, &account, provider_id, id, now);
            }
            // The message is as far as the last of its parts.
            step = match parts.iter().all(Part::is_out) {
                true => Step::Reached(parts.iter().map(|part| part.state).min().unwrap_or(MessageState::Sent)),
                false => Step::Resend,
            };
            change.parts = parts;
        }
    }
    apply(work, id, step, now, change)?;
    post(work, &account, provider_id, id, now)
}

fn reach(work: &mut Work<'_>, id: MessageId, provider_id: &str, fate: Early, now: Timestamp) -> Read<()> {
    let sql = "SELECT parts FROM messages WHERE id = ?";
    let parts = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| json_or_none::<Vec<Part>>(row, 0));
    let mut parts = parts.optional()?.flatten().unwrap_or_default();
    let mut whole = fate.reached;
    if !parts.is_empty() {
        for part in parts.iter_mut().filter(|part| part.provider_id.as_deref() == Some(provider_id)) {
            let step = fate.reached.map_or(Step::Refuse, Step::Reached);
            let Some(next) = part.state.after(step) else { return Ok(()) };
            part.state = next;
            part.error.clone_from(&fate.error);
        }
        let sql = "UPDATE messages SET parts = ? WHERE id = ?";
        work.tx.prepare_cached(sql)?.execute(params![text(&parts)?, id.as_bytes()])?;
        // The message is as far as the last of its parts.
        whole = match parts.iter().all(Part::is_out) {
            true => parts.iter().map(|part| part.state).min(),
            false => None,
        };
    }
    let step = match (&fate.error, whole) {
        // While its other parts are under way, the attempt's end will tell.
        (Some(_), _) if !parts.is_empty() && is_open(work, id)? => return Ok(()),
        (Some(_), _) => Step::Refuse,
        (None, Some(state)) => Step::Reached(state),
        (None, None) => return Ok(()),
    };
    // A step that is not legal here (an ack that was overtaken, say) changes nothing.
    apply(work, id, step, now, Change { error: fate.error, ..Change::default() })?;
    Ok(())
}

/// A message of our own number came back: it settles one of which nobody knew whether it went out.
pub fn echo(work: &mut Work<'_>, inbound: &Inbound, echo: &Echo) -> Read<()> {
    let account = &inbound.account;
    if echo.by_hand || message_of(work, account, &echo.message_id)?.is_some() {
        return Ok(());
    }
    let kept = Kept { chat: echo.chat.to_string(), kind: echo.kind.to_owned(), text: echo.text.clone() };
    let sql = format!("{DOUBTFUL} AND account = ? ORDER BY changed_at, id LIMIT 1000");
    let unknown = {
        let mut find = work.tx.prepare_cached(&sql)?;
        find.query_map([account], Doubtful::of)?.collect::<Read<Vec<_>>>()?
    };
    let names = people::names(work.tx, account, &kept.chat)?;
    let mut found = unknown.into_iter().filter(|one| names.contains(&one.to));
    let fits = |one: Doubtful| one.which(|_, content| shows(content, &kept)).map(|which| (one, which));
    if let Some((one, which)) = found.find_map(fits) {
        return went_out(work, one, which, &echo.message_id, Some(inferred(inbound.now)), inbound.now);
    }
    let sql = "INSERT INTO early (account, provider_id, at, echo) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET echo = excluded.echo";
    work.tx.prepare_cached(sql)?.execute(params![account, echo.message_id, millis(inbound.now), text(&kept)?])?;
    work.memory.early = true;
    Ok(())
}

/// Nobody knows whether a message went out: perhaps that was told before.
pub fn seek(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    if !work.memory.early {
        return Ok(());
    }
    let Some(found) = doubtful(work, id)? else { return Ok(()) };
    let sql = "SELECT provider_id, json_extract(fate, '$.ours.part') FROM early
        WHERE account = ? AND json_extract(fate, '$.ours.message') = ? AND at >= ? ORDER BY at";
    let acked: Vec<(String, u32)> = {
        let mut find = work.tx.prepare_cached(sql)?;
        let values = params![found.account, id.to_string(), since(now)];
        find.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Read<_>>()?
    };
    for (provider_id, part) in &acked {
        if let Some(still) = doubtful(work, id)?
            && let Some(which) = still.which(|place, _| place == *part as usize)
        {
            went_out(work, still, which, provider_id, None, now)?;
        }
    }
    let Some(found) = doubtful(work, id)? else { return Ok(()) };
    let since = found.attempts.last().map_or(0, |attempt| attempt.at).max(since(now));
    let sql = "SELECT provider_id, echo FROM early WHERE account = ? AND echo IS NOT NULL AND at >= ? ORDER BY at";
    let echoes = {
        let mut find = work.tx.prepare_cached(sql)?;
        let rows =
            find.query_map(params![found.account, since], |row| Ok((row.get::<_, String>(0)?, json::<Kept>(row, 1)?)))?;
        rows.collect::<Read<Vec<_>>>()?
    };
    let names = people::names(work.tx, &found.account, &found.to)?;
    for (provider_id, kept) in echoes.iter().filter(|(_, kept)| names.contains(&kept.chat)) {
        if let Some(which) = found.which(|_, content| shows(content, kept)) {
            return went_out(work, found, which, provider_id, Some(inferred(now)), now);
        }
    }
    Ok(())
}

fn inferred(now: Timestamp) -> Degraded {
    let action = format!("inferred at {} from our own message that came back", rfc3339(now));
    Degraded { field: "delivery".into(), action }
}

/// Whether a message of ours looks like that when it comes back.
fn shows(content: &Content, echo: &Kept) -> bool {
    let said = echo.text.as_deref().unwrap_or_default().trim();
    match content {
        Content::Text { text } => echo.kind == "text" && text.trim() == said,
        Content::Question { text, choices } if choices.is_empty() => echo.kind == "text" && text.trim() == said,
        // The gateway may have put caption and address together in its own way.
        Content::Link { url, caption, .. } => {
            echo.kind == "text"
                && said.contains(url.as_str())
                && caption.as_ref().is_none_or(|caption| said.contains(caption.trim()))
        }
        Content::Question { text, .. } => {
            matches!(echo.kind.as_str(), "text" | "poll") && said.starts_with(text.trim())
        }
        other => match other.media() {
            Some(media) => {
                let kind =
                    if other.kind() == echo.kind { true } else { other.kind() == "voice" && echo.kind == "audio" };
                kind && media.caption.as_deref().unwrap_or_default().trim() == said
            }
            None => false,
        },
    }
}

/// Forgets what came too early and was never asked for.
pub fn forget_old(work: &mut Work<'_>, now: Timestamp) -> Read<()> {
    work.tx.prepare_cached("DELETE FROM early WHERE at < ?")?.execute([since(now)])?;
    let left = work.tx.prepare_cached("SELECT 1 FROM early")?.exists([])?;
    work.memory.early = left;
    Ok(())
}

/// What the writer begins with.
pub fn any_early(connection: &rusqlite::Connection) -> Read<bool> {
    connection.prepare_cached("SELECT 1 FROM early")?.exists([])
}
