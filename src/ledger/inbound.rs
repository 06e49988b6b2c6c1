//! What gateways told: what people wrote, and what became of our messages, taken in once however often it comes.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::people::{opt_in, opt_out, same};
use super::react::react;
use super::replies::{Heard, hear};
use super::work::{Refusal, Work};
use super::{claims, messages, questions, reconciliation, runs};
use crate::clock::millis;
use crate::feed::Change;
use crate::id::MessageId;
use crate::model::inbound::{AHEAD, OLDEST, Reaction, Told};
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::opt_out::says;
use crate::model::recipient::Recipient;
use crate::model::run::NewRun;
use crate::store::records::{Fate, Inbound, Letter, Received};
use crate::store::rows;
use crate::store::tx::Read;

/// How long an event is remembered: for as long as its message is believed, also by a clock that is ahead.
const KEPT: Duration = OLDEST.saturating_add(AHEAD);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Takes in what one request told; gives what became of each person's message.
pub fn receive(work: &mut Work<'_>, inbound: &Inbound) -> Result<Vec<Fate>, Refusal> {
    let mut fates = Vec::new();
    let mut wrote: Vec<(Recipient, Timestamp)> = Vec::new();
    for received in &inbound.told {
        match received {
            Received::Letter(letter) => {
                wrote.push((letter.written.from.clone(), letter.written.at));
                fates.push(take(work, inbound, letter)?);
            }
            Received::Told(told) => {
                // What cannot be noted because of a row that cannot be read keeps nothing else out.
                let left_out = |_: &mut Work<'_>, why: &str| {
                    tracing::error!(account = %inbound.account, "something that a gateway told is left out: {why}");
                    Ok(())
                };
                work.each(|work| note(work, inbound, told), left_out)?;
            }
        }
        // What comes next in the request finds what this one meant.
        react(work, inbound.now)?;
    }
    if inbound.window {
        let mut all = Vec::new();
        for (from, at) in wrote {
            let names = rows::people::names(work.tx, &inbound.account, &from.to_string())?;
            all.extend(names.iter().filter_map(|name| Recipient::from_canonical(name).ok()).map(|name| (name, at)));
        }
        claims::hear(work, &inbound.account, &all, inbound.now)?;
    }
    sweep(work, inbound.now)?;
    Ok(fates)
}

fn note(work: &mut Work<'_>, inbound: &Inbound, told: &Told) -> Read<()> {
    match told {
        Told::Same(one, other) => same(work, &inbound.account, &one.to_string(), &other.to_string()),
        Told::Ack(ack) => reconciliation::ack(work, inbound, ack),
        Told::Echo(echo) => reconciliation::echo(work, inbound, echo),
        Told::Reaction(reaction) => note_reaction(work, inbound, reaction),
        // A person's message comes as a letter; how a link stands, and what is left out, is no business of the store's.
        Told::Written(_) | Told::Connection(_) | Told::LeftOut(_) => Ok(()),
    }
}

/// Looks for what is too old, from time to time.
pub fn sweep(work: &mut Work<'_>, now: Timestamp) -> Read<()> {
    let span = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    if millis(now) - work.memory.swept < span(SWEEP) {
        return Ok(());
    }
    work.memory.swept = millis(now);
    reconciliation::forget_old(work, now)?;
    rows::inbound::delete_before(work.tx, millis(now) - span(KEPT))
}

fn note_reaction(work: &Work<'_>, inbound: &Inbound, reaction: &Reaction) -> Read<()> {
    let event = json!({
        "kind": "reaction",
        "chat": reaction.chat,
        "from": reaction.from,
        "emoji": reaction.emoji,
        "message_id": reaction.message_id,
    });
    let sender = reaction.from.to_string();
    rows::inbound::insert(work.tx, (&inbound.account, &reaction.event_id), &sender, &event, inbound.now).map(drop)
}

fn take(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Result<Fate, Refusal> {
    let (account, written) = (&inbound.account, &letter.written);
    runs::disk_has_room(work)?;
    let from = written.from.to_string();
    if !rows::inbound::insert(work.tx, (account, &written.event_id), &from, &letter.event, inbound.now)? {
        return Ok(Fate::Known);
    }
    let fate = route(work, inbound, letter)?;
    // Votes come with the time of whose phone it is.
    if written.kind != "choice" {
        work.memory.clocks.note(account, written.at, inbound.now);
    }
    rows::inbound::set_fate(work.tx, account, &written.event_id, fate.name(), fate.run())?;
    if let Some(name) = &written.name {
        rows::people::is_called(work.tx, &from, name, inbound.now)?;
    }
    let outcome = fate.name();
    work.after.note(|| Change::Incoming { what: "message", from, outcome });
    Ok(fate)
}

fn route(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Result<Fate, Refusal> {
    let opted = opt(work, inbound, letter)?;
    if !letter.first.is_empty() {
        return begin(work, &letter.first);
    }
    // A word that is ours is nobody's answer.
    if opted {
        return Ok(Fate::Opted);
    }
    match hear(work, inbound, letter)? {
        Some(Heard::Answered(run)) => return Ok(Fate::Answered(run)),
        Some(Heard::Repeated(run)) => return Ok(Fate::Repeated(run)),
        None => {}
    }
    match letter.others.is_empty() {
        true => Ok(Fate::Unwanted),
        false => begin(work, &letter.others),
    }
}

fn begin(work: &mut Work<'_>, begun: &[NewRun]) -> Result<Fate, Refusal> {
    for run in begun {
        runs::has_room_for(work, &run.flow, 1)?;
    }
    for run in begun {
        runs::insert(work, run)?;
    }
    Ok(Fate::Began(begun.iter().map(|run| run.id).collect()))
}

/// Whether the message says that its writer wants to hear no more, or wants to again.
fn opt(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Read<bool> {
    // Whoever wanted no more may want it again although the settings do not ask any more.
    if inbound.opt_out.is_none() && !work.anybody_opted_out()? {
        return Ok(false);
    }
    let account = inbound.account.as_str();
    let said = letter.written.text.as_deref().unwrap_or_default();
    let who = letter.written.from.to_string();
    // What one says in a group does not speak for the group.
    if matches!(letter.written.chat, Recipient::Group(_) | Recipient::Newsletter(_)) {
        return Ok(false);
    }
    if let Some(rule) = inbound.opt_out.as_ref().filter(|rule| says(&rule.words, said)) {
        wants_no_more(work, inbound, (letter, &who), rule.reply.as_deref())?;
        return Ok(true);
    }
    if says(&["start".into()], said) {
        return opt_in(work, account, &who);
    }
    Ok(false)
}

/// A person wants to hear no more, and is told once that this was understood.
fn wants_no_more(
    work: &mut Work<'_>,
    inbound: &Inbound,
    (letter, who): (&Letter, &str),
    reply: Option<&str>,
) -> Read<()> {
    let (account, now) = (&inbound.account, inbound.now);
    let reply = reply.map(|text| (MessageId::new(now), text));
    let is_new = opt_out(work, account, who, reply.map(|(id, _)| id), now)?;
    let names = rows::people::names(work.tx, account, who)?;
    questions::refuse_all(work, account, &names, now)?;
    let Some((id, text)) = reply.filter(|_| is_new) else { return Ok(()) };
    let body = Body { content: Content::Text { text: text.to_owned() }, options: SendOptions::default() };
    let message = NewMessage {
        id,
        run: None,
        flow: String::new(),
        account: account.clone(),
        to: letter.written.chat.clone(),
        body,
        at: None,
        valid_for: None,
        key: None,
    };
    messages::insert(work, &message, now)
}
