//! Evidence of what became of messages: acks, and our own messages that come back as events. Either
//! may come before the answer that tells the gateway's id.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::messages::{Change, apply};
use super::people::same;
use super::work::Work;
use crate::clock::{millis, rfc3339};
use crate::id::MessageId;
use crate::model::delivery::{Degraded, MessageState, Part, Remedy, Step};
use crate::model::inbound::{Ack, Echo, Fate, OwnId, bare_id};
use crate::model::message::Content;
use crate::model::policy::Retry;
use crate::model::recipient::Recipient;
use crate::store::records::Inbound;
use crate::store::rows;
use crate::store::rows::messages::{Acked, Unknown};
use crate::store::tx::Read;

/// How long what came too early is kept.
const KEPT: Duration = Duration::from_secs(3600);

/// What came before this counts no more.
fn since(now: Timestamp) -> i64 {
    millis(now) - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)
}

/// A fate as it is kept until the message's id is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Early {
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
    /// What an ack says.
    pub fn of(ack: &Ack, retry: &Retry) -> Self {
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
/// applied. Should the id have been inferred to be another one's, this one is certain.
pub fn post(work: &mut Work<'_>, account: &str, provider_id: &str, id: MessageId, now: Timestamp) -> Read<()> {
    rows::reconciliation::post(work.tx, account, bare_id(provider_id), id)?;
    posted(work, account, provider_id, id, now)
}

/// What was told of an id that is known now is applied.
pub fn posted(work: &mut Work<'_>, account: &str, provider_id: &str, id: MessageId, now: Timestamp) -> Read<()> {
    if !work.any_early()? {
        return Ok(());
    }
    match rows::reconciliation::take_early(work.tx, account, bare_id(provider_id))? {
        Some((Some(early), at)) if at >= since(now) => reach(work, id, provider_id, early, now),
        _ => Ok(()),
    }
}

/// The message of ours that an id means, in whatever form the gateway gives it.
pub fn message_of(work: &Work<'_>, account: &str, provider_id: &str) -> Read<Option<MessageId>> {
    rows::reconciliation::message_of(work.tx, account, bare_id(provider_id), provider_id)
}

/// How far a message of ours is.
pub fn ack(work: &mut Work<'_>, inbound: &Inbound, ack: &Ack) -> Read<()> {
    let (account, now) = (inbound.account.as_str(), inbound.now);
    let fate = Early::of(ack, &inbound.retry);
    if let Some(id) = message_of(work, account, &ack.message_id)? {
        return reach(work, id, &ack.message_id, fate, now);
    }
    // Of a message in doubt that is named by our own id, the gateway's is learnt by that.
    if let Some(ours) = ack.ours
        && let Some(unknown) = rows::messages::unknown(work.tx, ours.message)?
        && unknown.account == account
        && let Some(which) = which(&unknown, |place, _| place == ours.part as usize)
    {
        let reached = fate.reached.unwrap_or(MessageState::Sent);
        went_out(work, unknown, (which, reached), &ack.message_id, None, now)?;
        return reach(work, ours.message, &ack.message_id, fate, now);
    }
    let bare = bare_id(&ack.message_id);
    let fate = match rows::reconciliation::early_fate::<Early>(work.tx, account, bare)? {
        Some(before) => before.then(fate),
        None => fate,
    };
    rows::reconciliation::keep_fate(work.tx, (account, bare), &fate, fate.ours.map(|ours| ours.message), now)?;
    work.ask_anew();
    Ok(())
}

/// What of a message something shows to have gone out, of that of which nobody knows: the place of a part, 0
/// for the whole message.
fn which(unknown: &Unknown, shown: impl Fn(usize, &Content) -> bool) -> Option<usize> {
    if unknown.parts.is_empty() {
        return shown(0, &unknown.content).then_some(0);
    }
    let mut parts = unknown.parts.iter().enumerate();
    parts.find(|(place, part)| part.is_in_doubt() && shown(*place, &part.body.content)).map(|(place, _)| place)
}

/// What nobody knew whether it went out did. When that was a part, the others may have to follow.
fn went_out(
    work: &mut Work<'_>,
    unknown: Unknown,
    (which, reached): (usize, MessageState),
    provider_id: &str,
    inferred: Option<Degraded>,
    now: Timestamp,
) -> Read<()> {
    let Unknown { id, account, mut parts, .. } = unknown;
    let mut change = Change { degraded: inferred.into_iter().collect(), ..Change::default() };
    let mut step = Step::Reached(reached);
    match parts.get_mut(which) {
        None => change.provider_id = Some(provider_id.to_owned()),
        Some(part) => {
            (part.state, part.error) = (reached, None);
            part.provider_id = Some(provider_id.to_owned());
            change.provider_id = part.main.then(|| provider_id.to_owned());
            if parts.iter().any(Part::is_in_doubt) {
                rows::messages::set_parts_and_id(work.tx, id, &parts, change.provider_id.as_ref())?;
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

/// What a fate that was told means for a message.
fn reach(work: &mut Work<'_>, id: MessageId, provider_id: &str, fate: Early, now: Timestamp) -> Read<()> {
    let Some(Acked { mut parts, account, to, tries }) = rows::messages::acked(work.tx, id)? else { return Ok(()) };
    let again = fate.again.filter(|(_, attempts)| tries.is_some_and(|tries| tries < *attempts));
    if let Some(chat) = &fate.chat {
        learn(work, &account, &to, chat)?;
    }
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
        rows::messages::set_parts(work.tx, id, &parts)?;
        // The message is as far as the last of its parts.
        whole = match parts.iter().all(Part::is_out) {
            true => parts.iter().map(|part| part.state).min(),
            false => None,
        };
    }
    // While its other parts are under way, the attempt's end will tell.
    if fate.error.is_some() && !parts.is_empty() && rows::messages::is_open(work.tx, id)? {
        return Ok(());
    }
    let Some((step, change)) = meant(fate.error, whole, again, now) else { return Ok(()) };
    // A step that is not legal here (an ack that was overtaken, say) changes nothing.
    apply(work, id, step, now, change).map(drop)
}

/// The step that a fate means for the whole of a message.
fn meant(
    error: Option<String>,
    reached: Option<MessageState>,
    again: Option<(i64, u32)>,
    now: Timestamp,
) -> Option<(Step, Change)> {
    let step = match (&error, reached) {
        (Some(_), _) if again.is_some() => Step::TryAgain,
        (Some(_), _) => Step::Refuse,
        (None, Some(state)) => Step::Reached(state),
        (None, None) => return None,
    };
    let due_at = again.filter(|_| step == Step::TryAgain).map(|(wait, _)| millis(now).saturating_add(wait));
    Some((step, Change { error, due_at, ..Change::default() }))
}

/// A message of ours to one address stands in the chat of another: they lead to one person.
pub fn learn(work: &Work<'_>, account: &str, to: &str, chat: &Recipient) -> Read<()> {
    let is_person = |address: &Recipient| !matches!(address, Recipient::Group(_) | Recipient::Newsletter(_));
    let known = chat.to_string();
    match known != to && is_person(chat) && Recipient::from_canonical(to).is_ok_and(|to| is_person(&to)) {
        true => same(work, account, to, &known),
        false => Ok(()),
    }
}

/// A message of our own number came back: it settles one of which nobody knew whether it went out.
pub fn echo(work: &mut Work<'_>, inbound: &Inbound, echo: &Echo) -> Read<()> {
    let account = inbound.account.as_str();
    if echo.by_hand {
        return Ok(());
    }
    if let Some(id) = message_of(work, account, &echo.message_id)? {
        if let Some((_, to)) = rows::messages::route(work.tx, id)? {
            learn(work, account, &to, &echo.chat)?;
        }
        // Of one in doubt it shows that it went out. How far the others are it does not tell: gateways give
        // back what they have only taken.
        if rows::messages::unknown(work.tx, id)?.is_none() {
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
    let names = rows::people::names(work.tx, account, &kept.chat)?;
    let mut shown = |unknown: &Unknown| which(unknown, |_, content| shows(content, &kept));
    let mut found = None;
    for name in &names {
        found = rows::messages::first_unknown(work.tx, (account, name), &mut shown)?;
        if found.is_some() {
            break;
        }
    }
    let is_on_the_wire = match &found {
        Some(_) => is_any_on_the_wire(work, account, &names, &mut shown)?,
        None => false,
    };
    match found {
        Some((unknown, which)) if !is_on_the_wire => {
            let (which, inferred) = ((which, MessageState::Sent), Some(inferred(inbound.now)));
            went_out(work, unknown, which, &echo.message_id, inferred, inbound.now)
        }
        // While one that looks like that is on the wire, its answer will tell whose it is, or the doubt about it.
        _ => {
            let chat = &kept.chat;
            rows::reconciliation::keep_echo(work.tx, (account, bare_id(&echo.message_id)), &kept, chat, inbound.now)?;
            work.ask_anew();
            Ok(())
        }
    }
}

/// Whether one that looks like that is on the wire to somebody of these names.
fn is_any_on_the_wire<T>(
    work: &Work<'_>,
    account: &str,
    names: &[String],
    shown: &mut dyn FnMut(&Unknown) -> Option<T>,
) -> Read<bool> {
    for name in names {
        for id in work.memory.on_the_wire.to(account, name) {
            let found = rows::messages::on_the_wire(work.tx, id, (account, name))?;
            if found.as_ref().and_then(&mut *shown).is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Nobody knows whether a message went out: perhaps that was told before.
pub fn seek(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    if !work.any_early()? {
        return Ok(());
    }
    let Some(found) = rows::messages::unknown(work.tx, id)? else { return Ok(()) };
    for (provider_id, fate) in rows::reconciliation::early_of::<Early>(work.tx, &found.account, id, since(now))? {
        let part = fate.ours.map_or(0, |ours| ours.part as usize);
        if let Some(still) = rows::messages::unknown(work.tx, id)?
            && let Some(which) = which(&still, |place, _| place == part)
        {
            let reached = fate.reached.unwrap_or(MessageState::Sent);
            went_out(work, still, (which, reached), &provider_id, None, now)?;
        }
    }
    let Some(found) = rows::messages::unknown(work.tx, id)? else { return Ok(()) };
    let since = found.attempts.last().map_or(0, |attempt| attempt.at).max(since(now));
    let names = rows::people::names(work.tx, &found.account, &found.to)?;
    let mut echoes = Vec::new();
    for name in &names {
        echoes.extend(rows::reconciliation::early_echoes::<Kept>(work.tx, &found.account, name, since)?);
    }
    echoes.sort_by_key(|(_, at, _)| *at);
    for (provider_id, _, kept) in echoes {
        if let Some(which) = which(&found, |_, content| shows(content, &kept)) {
            let id = kept.id.as_deref().unwrap_or(&provider_id);
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
    rows::reconciliation::delete_before(work.tx, since(now))?;
    work.ask_anew();
    Ok(())
}
