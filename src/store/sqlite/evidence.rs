//! Evidence of what became of messages: acks, and our own messages that come back as events. Either
//! may come before the answer that tells the gateway's id.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::columns::{if_readable, readable};
use super::outbox::{Change, apply};
use super::writer::Work;
use super::{Read, json, json_or_none, people, text};
use crate::clock::{millis, rfc3339};
use crate::id::MessageId;
use crate::model::delivery::{Attempt, Degraded, MessageState, Part, Remedy, Step};
use crate::model::inbound::{Ack, Echo, Fate, OwnId, bare_id};
use crate::model::message::Content;
use crate::model::policy::Retry;
use crate::model::recipient::Recipient;
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
    /// The chat, as the gateway named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chat: Option<Recipient>,
    /// A failure that passes: after how many milliseconds it is tried again, and how many tries there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    again: Option<(i64, u32)>,
}

impl Early {
    fn of(ack: &Ack, retry: &Retry) -> Self {
        let (reached, error) = match &ack.fate {
            Fate::Reached(state) => (Some(*state), None),
            Fate::Failed { error, .. } => (None, Some(error.clone())),
        };
        let again = match &ack.fate {
            Fate::Failed { class, .. } if class.remedy() == Remedy::Retry => {
                let wait = class.retry_after().unwrap_or_default().max(retry.first);
                Some((i64::try_from(wait.as_millis()).unwrap_or(i64::MAX), retry.attempts))
            }
            _ => None,
        };
        Self { reached, error, ours: ack.ours, chat: ack.chat.clone(), again }
    }

    /// It got so far.
    fn reached(state: MessageState) -> Self {
        Self { reached: Some(state), error: None, ours: None, chat: None, again: None }
    }

    /// What two of them that came one after the other leave a message with, as if it had been known.
    fn then(self, next: Self) -> Self {
        let failed = self.error.is_some() && next.reached < Some(MessageState::Delivered);
        let arrived = self.reached >= Some(MessageState::Delivered);
        match failed || (arrived && next.error.is_some()) || (next.error.is_none() && self.reached >= next.reached) {
            true => self,
            false => next,
        }
    }
}

/// An echo as it is kept until somebody is in doubt about a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    chat: String,
    kind: String,
    text: Option<String>,
    /// The message's id as the gateway gave it; rows are found by the part that stays the same.
    #[serde(default)]
    id: Option<String>,
}

/// The gateway's id of a message, or of a part of it, is known now: what was told of it before is
/// applied.
pub fn post(work: &mut Work<'_>, account: &str, provider_id: &str, id: MessageId, now: Timestamp) -> Read<()> {
    // Should it have been inferred to be another one's, this one is certain.
    let sql = "INSERT INTO posted (account, provider_id, message) VALUES (?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET message = excluded.message";
    let bare = bare_id(provider_id);
    work.tx.prepare_cached(sql)?.execute(params![account, bare, id.as_bytes()])?;
    if !work.memory.early {
        return Ok(());
    }
    let sql = "DELETE FROM early WHERE account = ? AND provider_id = ? RETURNING fate, at";
    let row = |row: &Row<'_>| Ok((if_readable(json_or_none::<Early>(row, 0))?.flatten(), row.get::<_, i64>(1)?));
    match work.tx.prepare_cached(sql)?.query_row([account, bare], row).optional()? {
        Some((Some(early), at)) if at >= since(now) => reach(work, id, provider_id, early, now),
        _ => Ok(()),
    }
}

/// The message of ours that an id means, in whatever form the gateway gives it.
pub fn message_of(work: &Work<'_>, account: &str, provider_id: &str) -> Read<Option<MessageId>> {
    // Files of earlier versions have the id as the gateway's answer gave it.
    let sql = "SELECT message FROM posted WHERE account = ? AND provider_id IN (?, ?)";
    let row = |row: &Row<'_>| Ok(MessageId::from_bytes(row.get(0)?));
    let ids = [account, bare_id(provider_id), provider_id];
    work.tx.prepare_cached(sql)?.query_row(ids, row).optional()
}

/// How far a message of ours is.
pub fn ack(work: &mut Work<'_>, inbound: &Inbound, ack: &Ack) -> Read<()> {
    let (account, now) = (&inbound.account, inbound.now);
    let fate = Early::of(ack, &inbound.retry);
    if let Some(id) = message_of(work, account, &ack.message_id)? {
        return reach(work, id, &ack.message_id, fate, now);
    }
    // Of a message in doubt that is named by our own id, the gateway's is learnt by that.
    if let Some(ours) = ack.ours
        && let Some(doubtful) = doubtful(work, ours.message)?
        && doubtful.account == *account
        && let Some(which) = doubtful.which(|place, _| place == ours.part as usize)
    {
        let reached = fate.reached.unwrap_or(MessageState::Sent);
        went_out(work, doubtful, (which, reached), &ack.message_id, None, now)?;
        return reach(work, ours.message, &ack.message_id, fate, now);
    }
    let sql = "SELECT fate FROM early WHERE account = ? AND provider_id = ?";
    let found = work
        .tx
        .prepare_cached(sql)?
        .query_row([account, bare_id(&ack.message_id)], |row| json_or_none::<Early>(row, 0));
    let fate = match if_readable(found.optional())?.flatten().flatten() {
        Some(before) => before.then(fate),
        None => fate,
    };
    let sql = "INSERT INTO early (account, provider_id, at, fate, ours) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET fate = excluded.fate, ours = excluded.ours";
    let ours = fate.ours.map(|ours| ours.message.to_string());
    let bare = bare_id(&ack.message_id);
    work.tx.prepare_cached(sql)?.execute(params![account, bare, millis(now), text(&fate)?, ours])?;
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

const COLUMNS: &str = "SELECT id, account, recipient, body, parts, attempts FROM messages";

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
    let sql = format!("{COLUMNS} WHERE id = ? AND state = 7");
    Ok(if_readable(work.tx.prepare_cached(&sql)?.query_row([id.as_bytes()], Doubtful::of).optional())?.flatten())
}

/// What nobody knew whether it went out did. When that was a part, the others may have to follow.
fn went_out(
    work: &mut Work<'_>,
    doubtful: Doubtful,
    (which, reached): (usize, MessageState),
    provider_id: &str,
    inferred: Option<Degraded>,
    now: Timestamp,
) -> Read<()> {
    let Doubtful { id, account, mut parts, .. } = doubtful;
    let mut change = Change { degraded: inferred.into_iter().collect(), ..Change::default() };
    let mut step = Step::Reached(reached);
    match parts.get_mut(which) {
        None => change.provider_id = Some(provider_id.to_owned()),
        Some(part) => {
            (part.state, part.error) = (reached, None);
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
    let sql = "SELECT parts, account, recipient, tries FROM messages WHERE id = ?";
    // Parts that cannot be read say nothing of how far they are.
    let parts = |row: &Row<'_>| if_readable(json_or_none::<Vec<Part>>(row, 0)).map(Option::flatten);
    let row =
        |row: &Row<'_>| Ok((parts(row)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, if_readable(row.get(3))?));
    let found = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], row).optional()?;
    let Some((parts, account, to, tries)) = found else { return Ok(()) };
    let tries: Option<u32> = tries;
    let again = fate.again.filter(|(_, attempts)| tries.is_some_and(|tries| tries < *attempts));
    if let Some(chat) = &fate.chat {
        learn(work, &account, &to, chat)?;
    }
    let mut parts = parts.unwrap_or_default();
    let mut whole = fate.reached;
    if !parts.is_empty() {
        let is_it = |part: &&mut Part| part.provider_id.as_deref().map(bare_id) == Some(bare_id(provider_id));
        for part in parts.iter_mut().filter(is_it) {
            let step = match (fate.reached, again) {
                (Some(state), _) => Step::Reached(state),
                (None, Some(_)) => Step::TryAgain,
                (None, None) => Step::Refuse,
            };
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
        (Some(_), _) if again.is_some() => Step::TryAgain,
        (Some(_), _) => Step::Refuse,
        (None, Some(state)) => Step::Reached(state),
        (None, None) => return Ok(()),
    };
    let due_at = again.filter(|_| step == Step::TryAgain).map(|(wait, _)| millis(now).saturating_add(wait));
    // A step that is not legal here (an ack that was overtaken, say) changes nothing.
    apply(work, id, step, now, Change { error: fate.error, due_at, ..Change::default() })?;
    Ok(())
}

/// A message of ours to one address stands in the chat of another: they lead to one person.
pub fn learn(work: &Work<'_>, account: &str, to: &str, chat: &Recipient) -> Read<()> {
    let is_person = |address: &Recipient| !matches!(address, Recipient::Group(_) | Recipient::Newsletter(_));
    let known = chat.to_string();
    match known != to && is_person(chat) && Recipient::from_canonical(to).is_ok_and(|to| is_person(&to)) {
        true => people::same(work, account, to, &known),
        false => Ok(()),
    }
}

/// A message of our own number came back: it settles one of which nobody knew whether it went out.
pub fn echo(work: &mut Work<'_>, inbound: &Inbound, echo: &Echo) -> Read<()> {
    let account = &inbound.account;
    if echo.by_hand {
        return Ok(());
    }
    if let Some(id) = message_of(work, account, &echo.message_id)? {
        let to: Option<String> = {
            let sql = "SELECT recipient FROM messages WHERE id = ?";
            work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional()?
        };
        if let Some(to) = to {
            learn(work, account, &to, &echo.chat)?;
        }
        // Of one in doubt it shows that it went out. How far the others are it does not tell: gateways give
        // back what they have only taken.
        if doubtful(work, id)?.is_none() {
            return Ok(());
        }
        return reach(work, id, &echo.message_id, Early::reached(MessageState::Sent), inbound.now);
    }
    let kept = Kept {
        chat: echo.chat.to_string(),
        kind: echo.kind.to_owned(),
        text: echo.text.clone(),
        id: Some(echo.message_id.clone()),
    };
    let names = people::names(work.tx, account, &kept.chat)?;
    let found = looking_like(work, account, &names, &kept, " AND state = 7 ORDER BY changed_at, id")?;
    // While one that looks like that is on the wire, its answer will tell whose it is, or the doubt about it.
    if let Some((one, which)) = found
        && looking_like(work, account, &names, &kept, " AND seq IS NOT NULL AND state = 2")?.is_none()
    {
        let (which, inferred) = ((which, MessageState::Sent), Some(inferred(inbound.now)));
        return went_out(work, one, which, &echo.message_id, inferred, inbound.now);
    }
    let sql = "INSERT INTO early (account, provider_id, at, echo, chat) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET echo = excluded.echo, chat = excluded.chat";
    work.tx.prepare_cached(sql)?.execute(params![
        account,
        bare_id(&echo.message_id),
        millis(inbound.now),
        text(&kept)?,
        kept.chat
    ])?;
    work.memory.early = true;
    Ok(())
}

/// The first message to one of these addresses that something of it shows, with the place of the part.
fn looking_like(
    work: &Work<'_>,
    account: &str,
    names: &[String],
    kept: &Kept,
    which: &str,
) -> Read<Option<(Doubtful, usize)>> {
    let sql = format!("{COLUMNS} WHERE account = ? AND recipient = ?{which}");
    for name in names {
        let mut find = work.tx.prepare_cached(&sql)?;
        for found in find.query_map([account, name], Doubtful::of)? {
            // One that cannot be read is shown by nothing.
            let Some(found) = if_readable(found)? else { continue };
            if let Some(place) = found.which(|_, content| shows(content, kept)) {
                return Ok(Some((found, place)));
            }
        }
    }
    Ok(None)
}

/// Nobody knows whether a message went out: perhaps that was told before.
pub fn seek(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    if !work.memory.early {
        return Ok(());
    }
    let Some(found) = doubtful(work, id)? else { return Ok(()) };
    let sql = "SELECT provider_id, fate FROM early WHERE account = ? AND ours = ? AND at >= ? ORDER BY at";
    let acked: Vec<(String, Early)> = {
        let mut find = work.tx.prepare_cached(sql)?;
        let values = params![found.account, id.to_string(), since(now)];
        readable(find.query_map(values, |row| Ok((row.get(0)?, json(row, 1)?)))?, "early acks")?
    };
    for (provider_id, fate) in &acked {
        let part = fate.ours.map_or(0, |ours| ours.part as usize);
        if let Some(still) = doubtful(work, id)?
            && let Some(which) = still.which(|place, _| place == part)
        {
            let reached = fate.reached.unwrap_or(MessageState::Sent);
            went_out(work, still, (which, reached), provider_id, None, now)?;
        }
    }
    let Some(found) = doubtful(work, id)? else { return Ok(()) };
    let since = found.attempts.last().map_or(0, |attempt| attempt.at).max(since(now));
    let sql = "SELECT provider_id, echo FROM early WHERE account = ? AND echo IS NOT NULL AND at >= ? ORDER BY at";
    let echoes = {
        let mut find = work.tx.prepare_cached(sql)?;
        let rows =
            find.query_map(params![found.account, since], |row| Ok((row.get::<_, String>(0)?, json::<Kept>(row, 1)?)))?;
        readable(rows, "early echoes")?
    };
    let names = people::names(work.tx, &found.account, &found.to)?;
    for (provider_id, kept) in echoes.iter().filter(|(_, kept)| names.contains(&kept.chat)) {
        if let Some(which) = found.which(|_, content| shows(content, kept)) {
            let id = kept.id.as_deref().unwrap_or(provider_id);
            return went_out(work, found, (which, MessageState::Sent), id, Some(inferred(now)), now);
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
