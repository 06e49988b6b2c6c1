//! People: the addresses that they are known by, and who wants to hear no more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Read;
use super::columns::{if_readable, readable};
use super::writer::Work;
use crate::clock::{from_millis, millis};
use crate::id::MessageId;
use crate::model::phone::other_address;
use crate::store::rows::Person;

/// All addresses of whom this one leads to, itself among them, each in both of its spellings.
pub fn names(connection: &Connection, account: &str, who: &str) -> Read<Vec<String>> {
    let mut names = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        seen += 1;
        let mut also: Vec<String> = other_address(&name).into_iter().collect();
        if let Some(person) = person_of(connection, account, &name)? {
            let sql = "SELECT alias FROM aliases WHERE account = ? AND person = ?";
            for alias in connection.prepare_cached(sql)?.query_map([account, &person], |row| row.get(0))? {
                also.push(alias?);
            }
        }
        for other in also {
            if !names.contains(&other) {
                names.push(other);
            }
        }
    }
    Ok(names)
}

fn person_of(connection: &Connection, account: &str, alias: &str) -> Read<Option<String>> {
    let sql = "SELECT person FROM aliases WHERE account = ? AND alias = ?";
    connection.prepare_cached(sql)?.query_row([account, alias], |row| row.get(0)).optional()
}

/// Every address that the person has in any account.
pub fn all_names(connection: &Connection, who: &str) -> Read<Vec<String>> {
    let mut found = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = found.get(seen).cloned() {
        seen += 1;
        if let Some(other) = other_address(&name).filter(|other| !found.contains(other)) {
            found.push(other);
        }
        let sql = "SELECT account FROM aliases WHERE alias = ?";
        let accounts: Vec<String> =
            connection.prepare_cached(sql)?.query_map([&name], |row| row.get(0))?.collect::<Read<_>>()?;
        for account in accounts {
            for other in names(connection, &account, &name)? {
                if !found.contains(&other) {
                    found.push(other);
                }
            }
        }
    }
    Ok(found)
}

/// Two addresses lead to one person.
pub fn same(work: &Work<'_>, account: &str, one: &str, other: &str) -> Read<()> {
    if one == other {
        return Ok(());
    }
    let known = (person_of(work.tx, account, one)?, person_of(work.tx, account, other)?);
    let name = |alias: &str, person: &str| -> Read<()> {
        let sql = "INSERT INTO aliases (account, alias, person) VALUES (?, ?, ?)";
        work.tx.prepare_cached(sql)?.execute([account, alias, person])?;
        Ok(())
    };
    match known {
        (Some(person), Some(second)) if person != second => {
            let sql = "UPDATE aliases SET person = ? WHERE account = ? AND person = ?";
            work.tx.prepare_cached(sql)?.execute([&person, account, &second])?;
        }
        (Some(_), Some(_)) => {}
        (Some(person), None) => name(other, &person)?,
        (None, Some(person)) => name(one, &person)?,
        (None, None) => {
            name(one, one)?;
            name(other, one)?;
        }
    }
    Ok(())
}

/// The message that told a person that nothing more will come, if the person wants to hear no more.
pub fn opted_out(connection: &Connection, account: &str, who: &str) -> Read<Option<Option<[u8; 16]>>> {
    let sql = "SELECT reply FROM opted_out WHERE account = ? AND person = ?";
    for name in names(connection, account, who)? {
        let found = connection.prepare_cached(sql)?.query_row([account, &name], |row| row.get(0)).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A person wants to hear no more; says whether that is new.
pub fn opt_out(work: &mut Work<'_>, account: &str, who: &str, reply: Option<&MessageId>, now: Timestamp) -> Read<bool> {
    if opted_out(work.tx, account, who)?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO opted_out (account, person, at, reply) VALUES (?, ?, ?, ?)";
    let reply = reply.map(MessageId::as_bytes);
    work.tx.prepare_cached(sql)?.execute(params![account, who, millis(now), reply])?;
    work.memory.opted_out = true;
    Ok(true)
}

/// A person wants to hear again; says whether that is new.
pub fn opt_in(work: &Work<'_>, account: &str, who: &str) -> Read<bool> {
    let sql = "DELETE FROM opted_out WHERE account = ? AND person = ?";
    let mut gone = 0;
    for name in names(work.tx, account, who)? {
        gone += work.tx.prepare_cached(sql)?.execute([account, &name])?;
    }
    Ok(gone > 0)
}

/// A person is called so; a later name takes the place of an earlier one.
pub fn is_called(work: &Work<'_>, address: &str, name: &str, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO people (address, name, at) VALUES (?1, ?2, ?3)
        ON CONFLICT (address) DO UPDATE SET name = excluded.name, at = excluded.at WHERE people.name <> excluded.name";
    work.tx.prepare_cached(sql)?.execute(params![address, name, millis(now)])?;
    Ok(())
}

/// What people are called, those of them who told.
pub fn called(connection: &Connection, addresses: &[String]) -> Read<BTreeMap<String, String>> {
    // What somebody called a phone of the sandbox, before what its person is called.
    let sql = "SELECT name FROM (SELECT name, at, 1 AS place FROM people WHERE address IN (?1, ?2)
        UNION ALL SELECT name, at, 0 FROM handsets WHERE phone IN (?1, ?2) AND name IS NOT NULL) AS called ORDER BY place, at DESC";
    let mut find = connection.prepare_cached(sql)?;
    let mut names = BTreeMap::new();
    for address in addresses {
        let other = other_address(address);
        let found = find.query_row(params![address, other], |row| row.get::<_, String>(0)).optional();
        if let Some(name) = if_readable(found)?.flatten() {
            names.insert(address.clone(), name);
        }
    }
    Ok(names)
}

/// All that is known of whom an address leads to.
pub fn person(connection: &Connection, who: &str) -> Read<Person> {
    let addresses = all_names(connection, who)?;
    let mut known = Person::default();
    for address in &addresses {
        let sql = "SELECT account, at FROM opted_out WHERE person = ?";
        let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, from_millis(row.get(1)?)));
        known.opted_out.extend(readable(connection.prepare_cached(sql)?.query_map([address], row)?, "people")?);
    }
    known.name = called(connection, &addresses)?.into_values().next();
    known.addresses = addresses;
    Ok(known)
}
