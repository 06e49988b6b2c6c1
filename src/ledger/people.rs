//! People: which addresses lead to one of them, and who wants to hear no more.

use jiff::Timestamp;

use super::work::Work;
use crate::id::MessageId;
use crate::store::rows;
use crate::store::tx::Read;

/// Two addresses lead to one person.
pub fn same(work: &Work<'_>, account: &str, one: &str, other: &str) -> Read<()> {
    if one == other {
        return Ok(());
    }
    let known = (rows::people::person_of(work.tx, account, one)?, rows::people::person_of(work.tx, account, other)?);
    match known {
        (Some(person), Some(second)) if person != second => rows::people::merge(work.tx, account, &person, &second),
        (Some(_), Some(_)) => Ok(()),
        (Some(person), None) => rows::people::add_alias(work.tx, account, other, &person),
        (None, Some(person)) => rows::people::add_alias(work.tx, account, one, &person),
        (None, None) => {
            rows::people::add_alias(work.tx, account, one, one)?;
            rows::people::add_alias(work.tx, account, other, one)
        }
    }
}

/// A person wants to hear no more; says whether that is new.
pub fn opt_out(work: &mut Work<'_>, account: &str, who: &str, reply: Option<MessageId>, now: Timestamp) -> Read<bool> {
    if rows::people::opted_out(work.tx, account, who)?.is_some() {
        return Ok(false);
    }
    rows::people::opt_out(work.tx, account, who, reply, now)?;
    work.ask_anew();
    Ok(true)
}

/// A person wants to hear again; says whether that is new.
pub fn opt_in(work: &mut Work<'_>, account: &str, who: &str) -> Read<bool> {
    work.ask_anew();
    rows::people::opt_in(work.tx, account, who)
}
