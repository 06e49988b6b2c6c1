//! What gateways tell, taken in as one transaction: told once however often it comes, and routed.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::params;

use serde_json::{Value, json};

use super::hearing::{self, Heard};
use super::writer::{Refusal, Work};
use super::{Read, attempts, evidence, outbox, people, runs, text};
use crate::clock::millis;
use crate::feed::Change;
use crate::id::MessageId;
use crate::id::RunId;
use crate::model::conversation::says;
use crate::model::inbound::{AHEAD, OLDEST, Reaction, Told};
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::recipient::Recipient;
use crate::store::rows::{Fate, Inbound, Letter, Received};

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
                work.each(|work| hear(work, inbound, told), left_out)?;
            }
        }
    }
    if inbound.window {
        let mut all = Vec::new();
        for (from, at) in wrote {
            let names = people::names(work.tx, &inbound.account, &from.to_string())?;
            all.extend(names.iter().filter_map(|name| Recipient::from_canonical(name).ok()).map(|name| (name, at)));
        }
        attempts::hear(work, &inbound.account, &all, inbound.now)?;
    }
    sweep(work, inbound.now)?;
    Ok(fates)
}

fn hear(work: &mut Work<'_>, inbound: &Inbound, told: &Told) -> Read<()> {
    match told {
        Told::Same(one, other) => people::same(work, &inbound.account, &one.to_string(), &other.to_string()),
        Told::Ack(ack) => evidence::ack(work, inbound, ack),
        Told::Echo(echo) => evidence::echo(work, inbound, echo),
        Told::Reaction(reaction) => note_reaction(work, inbound, reaction),
        // A person's message comes as a letter; how a link stands, and what is left out, is no business of the store's.
        Told::Written(_) | Told::Connection(_) | Told::LeftOut(_) => Ok(()),
    }
}

fn sweep(work: &mut Work<'_>, now: Timestamp) -> Read<()> {
    let span = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    if millis(now) - work.memory.swept < span(SWEEP) {
        return Ok(());
    }
    work.memory.swept = millis(now);
    evidence::forget_old(work, now)?;
    let sql = "DELETE FROM incoming WHERE (account, id) IN
        (SELECT account, id FROM incoming WHERE at < ? ORDER BY at LIMIT 25000)";
    work.tx.prepare_cached(sql)?.execute([millis(now) - span(KEPT)])?;
    Ok(())
}

/// Writes an event down; says whether it is new.
fn note(work: &Work<'_>, inbound: &Inbound, id: &str, sender: &Recipient, event: &Value) -> Read<bool> {
    let sql = "INSERT INTO incoming (account, id, at, sender, event, fate, chat) VALUES (?, ?, ?, ?, ?, '', ?)
        ON CONFLICT DO NOTHING";
    let (sender, chat) = (sender.to_string(), event["chat"].as_str());
    let values = params![inbound.account, id, millis(inbound.now), sender, text(event)?, chat];
    Ok(work.tx.prepare_cached(sql)?.execute(values)? == 1)
}

fn note_reaction(work: &Work<'_>, inbound: &Inbound, reaction: &Reaction) -> Read<()> {
    let event = json!({
        "kind": "reaction",
        "chat": reaction.chat,
        "from": reaction.from,
        "emoji": reaction.emoji,
        "message_id": reaction.message_id,
    });
    note(work, inbound, &reaction.event_id, &reaction.from, &event)?;
    Ok(())
}

fn take(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Result<Fate, Refusal> {
    let (account, written) = (&inbound.account, &letter.written);
    runs::room(work)?;
    if !note(work, inbound, &written.event_id, &written.from, &letter.event)? {
        return Ok(Fate::Known);
    }
    let fate = route(work, inbound, letter)?;
    // Votes come with the time of whose phone it is.
    if written.kind != "choice" {
        work.memory.clocks.note(account, written.at, inbound.now);
    }
    let sql = "UPDATE incoming SET fate = ?, run = ? WHERE account = ? AND id = ?";
    let run = fate.run();
    work.tx.prepare_cached(sql)?.execute(params![
        fate.name(),
        run.as_ref().map(RunId::as_bytes),
        account,
        written.event_id
    ])?;
    if let Some(name) = &written.name {
        people::is_called(work, &written.from.to_string(), name, inbound.now)?;
    }
    let (from, outcome) = (&written.from, fate.name());
    work.rings.note(|| Change::Incoming { what: "message", from: from.to_string(), outcome });
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
    match hearing::hear(work, inbound, letter)? {
        Some(Heard::Answered(run)) => return Ok(Fate::Answered(run)),
        Some(Heard::Repeated(run)) => return Ok(Fate::Repeated(run)),
        None => {}
    }
    match letter.others.is_empty() {
        true => Ok(Fate::Unwanted),
        false => begin(work, &letter.others),
    }
}

fn begin(work: &mut Work<'_>, begun: &[crate::model::run::NewRun]) -> Result<Fate, Refusal> {
    for run in begun {
        runs::door(work, &run.flow, 1)?;
    }
    for run in begun {
        runs::insert(work, run)?;
    }
    Ok(Fate::Began(begun.iter().map(|run| run.id).collect()))
}

/// Whether the message says that its writer wants to hear no more, or wants to again.
fn opt(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Read<bool> {
    // Whoever wanted no more may want it again although the settings do not ask any more.
    if inbound.opt_out.is_none() && !work.memory.opted_out {
        return Ok(false);
    }
    let (account, now) = (&inbound.account, inbound.now);
    let said = letter.written.text.as_deref().unwrap_or_default();
    let who = letter.written.from.to_string();
    // What one says in a group does not speak for the group.
    if matches!(letter.written.chat, Recipient::Group(_) | Recipient::Newsletter(_)) {
        return Ok(false);
    }
    if let Some(rule) = inbound.opt_out.as_ref().filter(|rule| says(&rule.words, said)) {
        let reply = rule.reply.as_ref().map(|text| (MessageId::new(now), text));
        let is_new = people::opt_out(work, account, &who, reply.as_ref().map(|(id, _)| id), now)?;
        let names = people::names(work.tx, account, &who)?;
        hearing::refuse_all(work, account, &names, now)?;
        if let Some((id, text)) = reply.filter(|_| is_new) {
            let body = Body { content: Content::Text { text: text.clone() }, options: SendOptions::default() };
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
            outbox::insert(work, &message, now)?;
        }
        return Ok(true);
    }
    if says(&["start".into()], said) {
        return people::opt_in(work, account, &who);
    }
    Ok(false)
}
