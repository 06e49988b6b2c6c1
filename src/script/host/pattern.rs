//! `regex::`: every search is linear in its text, but the factor is the pattern's, and the sum over all
//! matches may be the square. So each search is tried before by an automaton that gives up where it
//! would become slow; what it gives up is only searched if it is short, and the clock is looked at
//! between matches.

use regex::Regex;
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use rhai::{Dynamic, Map, Module, NativeCallContext};

use crate::script::error::{HostResult, at, terminated, thrown};
use crate::script::limits::{room_for, tick, tick_long, too_long};

/// Most bytes of a compiled pattern.
const LARGEST: usize = 1 << 20;
/// Most bytes of a pattern.
const LONGEST: usize = 16 << 10;
/// Shorter texts are searched at once.
const SHORT: usize = 4_096;
/// ... by patterns that are shorter than this and repeat nothing by number.
const SIMPLE: usize = 256;
/// Bytes of text times states of the pattern that are searched in the slow way: about a second.
const SLOW_STEPS: u64 = 100_000_000;

struct Pattern {
    regex: Regex,
    quick: Option<(DFA, Cache)>,
}

impl Pattern {
    /// For a text of so many bytes.
    fn new(pattern: &str, text: usize) -> HostResult<Self> {
        if pattern.len() > LONGEST {
            let message = format!("a regular expression has at most {LONGEST} bytes, this one {}", pattern.len());
            return Err(thrown("invalid", message));
        }
        room_for(4 * LARGEST as u64)?;
        let wrong =
            |error: &dyn std::fmt::Display| thrown("invalid", format!("`{pattern}` is no regular expression: {error}"));
        let regex = regex::RegexBuilder::new(pattern).size_limit(LARGEST).build().map_err(|error| wrong(&error))?;
        // A short pattern has few states, and so has a short text few steps.
        let quick = (text > SHORT || pattern.len() > SIMPLE || pattern.contains('{')).then(|| {
            // It gives up when it forgets what it has learnt about as fast as it learns.
            let how = DFA::config()
                .unicode_word_boundary(true)
                .skip_cache_capacity_check(true)
                .minimum_cache_clear_count(Some(3))
                .minimum_bytes_per_state(Some(10));
            let nfa = thompson::Config::new().nfa_size_limit(Some(4 * LARGEST));
            let dfa = DFA::builder().configure(how).thompson(nfa).build(pattern).map_err(|error| wrong(&error))?;
            let cache = dfa.create_cache();
            HostResult::Ok((dfa, cache))
        });
        Ok(Self { regex, quick: quick.transpose()? })
    }

    /// Whether there may be a match from here on; ends the turn where searching would take too long.
    fn may_match(&mut self, text: &str, from: usize) -> HostResult<bool> {
        tick()?;
        let Some((dfa, cache)) = &mut self.quick else { return Ok(true) };
        tick_long()?;
        match dfa.try_search_fwd(cache, &Input::new(text).range(from..)) {
            Ok(found) => Ok(found.is_some()),
            Err(_) => self.slow(text.len() - from, 1).map(|()| true),
        }
    }

    /// Whether so many bytes may be searched step by step, with so many groups to be remembered.
    fn slow(&self, bytes: usize, groups: usize) -> HostResult<()> {
        let Some((dfa, _)) = &self.quick else { return Ok(()) };
        let states = dfa.get_nfa().states().len() as u64;
        // Groups are copied eight at a time, more or less.
        let each = 1 + groups as u64 / 8;
        match (bytes as u64).saturating_mul(states).saturating_mul(each) > SLOW_STEPS {
            true => {
                too_long();
                Err(terminated())
            }
            false => Ok(()),
        }
    }

    fn captures<'t>(&mut self, text: &'t str, from: usize) -> HostResult<Option<regex::Captures<'t>>> {
        if !self.may_match(text, from)? {
            return Ok(None);
        }
        let Some(found) = self.regex.find_at(text, from) else { return Ok(None) };
        self.slow(found.len(), self.regex.captures_len())?;
        Ok(self.regex.captures_at(text, from))
    }
}

fn is_match(text: &str, expression: &str) -> HostResult<bool> {
    let mut pattern = Pattern::new(expression, text.len())?;
    Ok(pattern.may_match(text, 0)? && pattern.regex.is_match(text))
}

fn find(text: &str, expression: &str) -> HostResult<Dynamic> {
    let mut pattern = Pattern::new(expression, text.len())?;
    if !pattern.may_match(text, 0)? {
        return Ok(Dynamic::UNIT);
    }
    Ok(pattern.regex.find(text).map_or(Dynamic::UNIT, |found| found.as_str().into()))
}

/// Named groups by name and all groups by number, as texts; `()` where a group took no part.
fn captures(text: &str, expression: &str) -> HostResult<Dynamic> {
    let mut pattern = Pattern::new(expression, text.len())?;
    let Some(found) = pattern.captures(text, 0)? else { return Ok(Dynamic::UNIT) };
    let mut groups = Map::new();
    for (number, name) in pattern.regex.capture_names().enumerate() {
        let group = found.get(number).map(|group| group.as_str());
        room_for(group.map_or(0, str::len) as u64)?;
        // A text is shared by its two names.
        let group = group.map_or(Dynamic::UNIT, |group| group.into());
        if let Some(name) = name {
            groups.insert(name.into(), group.clone());
        }
        groups.insert(number.to_string().into(), group);
    }
    Ok(groups.into())
}

fn replace(text: &str, expression: &str, by: &str) -> HostResult<String> {
    let mut pattern = Pattern::new(expression, text.len())?;
    let names = by.matches('$').count() as u64;
    let regex = pattern.regex.clone();
    let mut matches = regex.find_iter(text);
    let (mut replaced, mut copied, mut from) = (String::new(), 0, 0);
    while pattern.may_match(text, from)?
        && let Some(found) = matches.next()
    {
        // A replacement may name groups, each at most the whole match.
        let more = by.len() as u64 + names * found.len() as u64 + (found.start() - copied) as u64;
        // The text that grows may be moved while it does.
        room_for(more.saturating_add(replaced.len() as u64))?;
        replaced.push_str(&text[copied..found.start()]);
        match names {
            0 => replaced.push_str(by),
            _ => {
                let groups = pattern.captures(text, found.start())?;
                groups.iter().for_each(|groups| groups.expand(by, &mut replaced));
            }
        }
        copied = found.end();
        // Behind an empty match the next one begins a letter further on.
        from = found.end();
    }
    room_for((text.len() - copied) as u64)?;
    replaced.push_str(&text[copied..]);
    Ok(replaced)
}

/// The functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("is_match", |ctx: NativeCallContext, text: &str, expression: &str| {
        at(&ctx, is_match(text, expression))
    });
    module
        .set_native_fn("find", |ctx: NativeCallContext, text: &str, expression: &str| at(&ctx, find(text, expression)));
    module.set_native_fn("captures", |ctx: NativeCallContext, text: &str, expression: &str| {
        at(&ctx, captures(text, expression))
    });
    module.set_native_fn("replace", |ctx: NativeCallContext, text: &str, expression: &str, by: &str| {
        at(&ctx, replace(text, expression, by))
    });
    module
}
