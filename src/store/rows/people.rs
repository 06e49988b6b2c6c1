//! People: the addresses that they are known by, what they are called, and who wants to hear no more.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::MessageId;
use crate::model::phone::other_address;
use crate::store::records::Person;
use crate::store::tx::{Read, Tx, if_readable, values};

/// All addresses of whom this one leads to, itself among them, each in both of its spellings.
pub fn names(tx: &dyn Tx, account: &str, who: &str) -> Read<Vec<String>> {
    let mut names = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        seen += 1;
        let mut also: Vec<String> = other_address(&name).into_iter().collect();
        if let Some(person) = person_of(tx, account, &name)? {
            let sql = "SELECT alias FROM aliases WHERE account = ? AND person = ?";
            also.extend(tx.all(sql, values![account, &person], |row| row.get::<String>(0))?);
        }
        for other in also {
            if !names.contains(&other) {
                names.push(other);
            }
        }
    }
    Ok(names)
}

/// The person that an address leads to, by the name that all of its addresses share.
pub fn person_of(tx: &dyn Tx, account: &str, alias: &str) -> Read<Option<String>> {
    let sql = "SELECT person FROM aliases WHERE account = ? AND alias = ?";
    tx.first(sql, values![account, alias], |row| row.get(0))
}

/// Every address that the person has in any account.
pub fn all_names(tx: &dyn Tx, who: &str) -> Read<Vec<String>> {
    let mut found = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = found.get(seen).cloned() {
        seen += 1;
        if let Some(other) = other_address(&name).filter(|other| !found.contains(other)) {
            found.push(other);
        }
        let sql = "SELECT account FROM aliases WHERE alias = ?";
        for account in tx.all(sql, values![&name], |row| row.get::<String>(0))? {
            for other in names(tx, &account, &name)? {
                if !found.contains(&other) {
                    found.push(other);
                }
            }
        }
    }
    Ok(found)
}

/// An address that nobody is known by leads to a person.
pub fn add_alias(tx: &dyn Tx, account: &str, alias: &str, person: &str) -> Read<()> {
    let sql = "INSERT INTO aliases (account, alias, person) VALUES (?, ?, ?)";
    tx.run(sql, values![account, alias, person]).map(drop)
}

/// Two people are one: all addresses of the second lead to the first.
pub fn merge(tx: &dyn Tx, account: &str, first: &str, second: &str) -> Read<()> {
    let sql = "UPDATE aliases SET person = ? WHERE account = ? AND person = ?";
    tx.run(sql, values![first, account, second]).map(drop)
}

/// Whether anybody wants to hear no more of any account.
pub fn anybody_opted_out(tx: &dyn Tx) -> Read<bool> {
    tx.exists("SELECT 1 FROM opted_out", values![])
}

/// The message that told a person that nothing more will come, if the person wants to hear no more of the account.
pub fn opted_out(tx: &dyn Tx, account: &str, who: &str) -> Read<Option<Option<MessageId>>> {
    let sql = "SELECT reply FROM opted_out WHERE account = ? AND person = ?";
    for name in names(tx, account, who)? {
        let found = tx.first(sql, values![account, &name], |row| row.get(0))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A person who has not said so before wants to hear no more.
pub fn opt_out(tx: &dyn Tx, account: &str, who: &str, reply: Option<MessageId>, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO opted_out (account, person, at, reply) VALUES (?, ?, ?, ?)";
    tx.run(sql, values![account, who, now, reply]).map(drop)
}

/// A person wants to hear again; says whether that is new.
pub fn opt_in(tx: &dyn Tx, account: &str, who: &str) -> Read<bool> {
    let sql = "DELETE FROM opted_out WHERE account = ? AND person = ?";
    let mut gone = 0;
    for name in names(tx, account, who)? {
        gone += tx.run(sql, values![account, &name])?;
    }
    Ok(gone > 0)
}

/// A person is called so; a later name takes the place of an earlier one.
pub fn is_called(tx: &dyn Tx, address: &str, name: &str, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO people (address, name, at) VALUES (?1, ?2, ?3)
        ON CONFLICT (address) DO UPDATE SET name = excluded.name, at = excluded.at WHERE people.name <> excluded.name";
    tx.run(sql, values![address, name, now]).map(drop)
}

/// What people are called, those of them who told.
pub fn called(tx: &dyn Tx, addresses: &[String]) -> Read<BTreeMap<String, String>> {
    // What somebody called a phone of the sandbox, before what its person is called.
    let sql = "SELECT name FROM (SELECT name, at, 1 AS place FROM people WHERE address IN (?1, ?2)
        UNION ALL SELECT name, at, 0 FROM handsets WHERE phone IN (?1, ?2) AND name IS NOT NULL) AS called ORDER BY place, at DESC";
    let mut names = BTreeMap::new();
    for address in addresses {
        let other = other_address(address);
        let found = tx.first(sql, values![address, other.as_ref()], |row| row.get(0));
        if let Some(name) = if_readable(found)?.flatten() {
            names.insert(address.clone(), name);
        }
    }
    Ok(names)
}

/// All that is known of whom an address leads to.
pub fn person(tx: &dyn Tx, who: &str) -> Read<Person> {
    let addresses = all_names(tx, who)?;
    let mut known = Person::default();
    for address in &addresses {
        let sql = "SELECT account, at FROM opted_out WHERE person = ?";
        let rows = tx.readable(sql, values![address], "people", |row| Ok((row.get(0)?, row.get(1)?)))?;
        known.opted_out.extend(rows);
    }
    known.name = called(tx, &addresses)?.into_values().next();
    known.addresses = addresses;
    Ok(known)
}
