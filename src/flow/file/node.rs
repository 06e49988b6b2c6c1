//! YAML as a tree that knows its places, and how findings about it are gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::fill::Environment;
use super::share::Share;
use super::shown::{as_written, named, needs_quotes, shows_all, without_credentials};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::units::nearest;

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What stands there.
    pub value: Yaml,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Yaml {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the file's order; each key is a text node.
    Map(Vec<(Node, Node)>),
}

struct Raw(Yaml);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Yaml;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Yaml, E> {
                Ok(Yaml::Null)
            }
            fn visit_none<E>(self) -> Result<Yaml, E> {
                Ok(Yaml::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
                deserializer.deserialize_any(Any)
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Yaml, E> {
                Ok(Yaml::Bool(flag))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Yaml, E> {
                Ok(Yaml::Int(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Yaml, E> {
                Ok(i64::try_from(number).map_or(Yaml::Float(number as f64), Yaml::Int))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Yaml, E> {
                Ok(Yaml::Float(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
                Ok(Yaml::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<Spanned<Raw>>()? {
                    list.push(item.into());
                }
                Ok(Yaml::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
                let mut map = Vec::new();
                while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Raw>>()? {
                    let place = key.referenced;
                    map.push((node(place, Yaml::Text(key.value)), value.into()));
                }
                Ok(Yaml::Map(map))
            }
        }
        deserializer.deserialize_any(Any).map(Raw)
    }
}

impl From<Spanned<Raw>> for Node {
    fn from(spanned: Spanned<Raw>) -> Self {
        node(spanned.referenced, spanned.value.0)
    }
}

fn node(place: serde_yaml::Location, value: Yaml) -> Node {
    Node { line: place.line() as u32, column: place.column() as u32, value }
}

/// Deepest nesting of a file. Each level is a call of the reader's, and threads that read files have no more
/// than two megabytes of stack.
const DEEPEST: usize = 32;

/// Reads a file of one document. Anchors, depth and size are bounded by the parser's budget.
///
/// # Errors
/// Where and why it is no YAML.
pub fn parse(file: &str, text: &str) -> Result<Node, Diagnostic> {
    if text.trim().is_empty() {
        return Err(Diagnostic::error(file, 0, 0, "the file is empty"));
    }
    let options = serde_yaml::options! { budget: serde_yaml::budget! { max_depth: DEEPEST } };
    serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options).map(Node::from).map_err(|error| {
        let place = error.location();
        let (line, column) = place.map_or((0, 0), |place| (place.line() as u32, place.column() as u32));
        let tab = text
            .lines()
            .nth(line.saturating_sub(1) as usize)
            .is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
        let message = error.without_snippet().to_string();
        let message =
            message.split(" at line ").next().unwrap_or(&message).lines().next().unwrap_or_default().to_owned();
        if message.contains("Depth {") {
            return Diagnostic::error(file, line, column, format!("the file is nested more than {DEEPEST} deep"));
        }
        let finding = Diagnostic::error(file, line, column, format!("this is no YAML: {message}"));
        let own = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
        if let Some((_, key)) = message.split_once("duplicate mapping key: ") {
            let key = key.split(',').next().unwrap_or(key);
            return Diagnostic::error(file, line, column, format!("`{key}` stands here twice"));
        }
        if tab {
            return finding.with_hint("indent with blanks, YAML takes no tabs");
        }
        if let Some(value) = needs_quotes(own) {
            return finding.with_hint(match shows_all(own) {
                true => format!("put it in quotes: \"{value}\""),
                false => "put the value in quotes".to_owned(),
            });
        }
        if own.contains("${") && own.contains('{') && message.contains("',' or '}'") {
            return finding.with_hint("put `${NAME}` in quotes between `{` and `}`");
        }
        match message.contains("simple key") {
            true => finding.with_hint("a script stands indented below `run: |`; a key is followed by `:` and a blank"),
            false => finding,
        }
    })
}

/// Findings about one file.
pub struct Findings {
    file: String,
    list: Vec<Diagnostic>,
    /// What was filled in, by its place, and how it is written.
    filled: BTreeMap<(u32, u32), (String, String)>,
}

/// The finding that was just made, to be given a remedy.
pub struct Latest<'a>(&'a mut Diagnostic);

impl Latest<'_> {
    /// Says what to write instead.
    pub fn hint(self, hint: impl Into<String>) {
        self.0.hint = Some(hint.into());
    }
}

impl Findings {
    /// None yet.
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), list: Vec::new(), filled: BTreeMap::new() }
    }

    /// Something is wrong at a node.
    pub fn at(&mut self, node: &Node, message: impl Into<String>) -> Latest<'_> {
        let finding = Diagnostic::error(&self.file, node.line, node.column, message);
        self.list.push(finding);
        let last = self.list.len() - 1;
        Latest(&mut self.list[last])
    }

    /// Something at a node is probably not as meant.
    pub fn warn(&mut self, node: &Node, message: impl Into<String>) -> Latest<'_> {
        let latest = self.at(node, message);
        latest.0.severity = Severity::Warning;
        latest
    }

    /// The node is of a later version.
    pub fn not_yet(&mut self, node: &Node, what: &str) {
        self.at(node, format!("`{what}` is not supported yet"));
    }

    /// Findings that were made elsewhere.
    pub fn extend(&mut self, list: Vec<Diagnostic>) {
        self.list.extend(list);
    }

    /// The warnings, when there is nothing worse, in the order of their places.
    ///
    /// # Errors
    /// All findings, when there are errors. They name values that were filled in as these are written, and
    /// no credentials.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        for finding in &mut self.list {
            if let Some((filled, written)) = self.filled.get(&(finding.line, finding.column)) {
                finding.message = as_written(&finding.message, filled, written);
            }
            finding.message = without_credentials(&finding.message);
        }
        self.list.sort_by_key(|finding| (finding.line, finding.column));
        match self.list.iter().any(|finding| finding.severity == Severity::Error) {
            true => Err(self.list),
            false => Ok(self.list),
        }
    }

    /// Whether something was found just there.
    fn has(&self, node: &Node) -> bool {
        self.list.iter().any(|finding| (finding.line, finding.column) == (node.line, node.column))
    }
}

impl Node {
    /// What it is, for sentences.
    fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Int(_) | Yaml::Float(_) => "a number",
            Yaml::Text(_) => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a map",
        }
    }

    /// It is not what `name` takes.
    pub fn wrong(&self, name: &str, wanted: &str, findings: &mut Findings) {
        findings.at(self, format!("`{name}` takes {wanted}, not {}", self.kind()));
    }

    /// Its text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its text; anything else is a finding.
    pub fn text(&self, name: &str, findings: &mut Findings) -> Option<&str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong(name, "a text", findings);
        }
        text
    }

    /// A number or text as the text that was meant: `30` and `30s` both stand for something.
    pub fn word(&self, name: &str, findings: &mut Findings) -> Option<String> {
        match &self.value {
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Int(number) => Some(number.to_string()),
            _ => {
                self.wrong(name, "a text", findings);
                None
            }
        }
    }

    /// Its text with `${NAME}` filled in.
    pub fn filled(&self, name: &str, share: &Share<'_>, findings: &mut Findings) -> Option<String> {
        let text = self.word(name, findings)?;
        match self.fill(&text, |text| share.fill(text), findings) {
            Ok(text) => Some(text),
            Err(error) => {
                findings.at(self, format!("`{name}`: {error}"));
                None
            }
        }
    }

    fn fill(
        &self,
        written: &str,
        fill: impl FnOnce(&str) -> Result<String, String>,
        findings: &mut Findings,
    ) -> Result<String, String> {
        let filled = fill(written)?;
        if filled != written {
            findings.filled.insert((self.line, self.column), (filled.clone(), written.to_owned()));
        }
        Ok(filled)
    }

    /// The same tree with `${NAME}` filled in wherever a text stands as a value.
    pub fn all_filled(&self, environment: &Environment, findings: &mut Findings) -> Self {
        let value = match &self.value {
            Yaml::Text(text) => match self.fill(text, |text| environment.fill(text), findings) {
                Ok(text) => Yaml::Text(text),
                Err(error) => {
                    findings.at(self, error);
                    Yaml::Null
                }
            },
            Yaml::List(items) => Yaml::List(items.iter().map(|item| item.all_filled(environment, findings)).collect()),
            Yaml::Map(entries) => {
                let filled = |(key, value): &(Self, Self)| (key.clone(), value.all_filled(environment, findings));
                Yaml::Map(entries.iter().map(filled).collect())
            }
            other => other.clone(),
        };
        Self { value, ..*self }
    }

    /// What `parse` makes of its text.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        findings: &mut Findings,
    ) -> Option<T> {
        match parse(&self.word(name, findings)?) {
            Ok(value) => Some(value),
            Err(error) => {
                findings.at(self, format!("`{name}`: {error}"));
                None
            }
        }
    }

    /// The value of a key, if it is a map that has it.
    pub fn value_of(&self, name: &str) -> Option<&Node> {
        let Yaml::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
    }

    /// Its items.
    pub fn list(&self, name: &str, findings: &mut Findings) -> Option<&[Node]> {
        match &self.value {
            Yaml::List(items) => Some(items),
            _ => {
                findings
                    .at(self, format!("`{name}` takes a list, not {}", self.kind()))
                    .hint("begin each item on its own line with `- `, or write `[one, two]`");
                None
            }
        }
    }
}

/// Keys that may stand there without a value. What any other one should protect would be open.
const MAY_BE_EMPTY: [&str; 4] = ["accounts", "description", "params", "triggers"];

/// The keys of a map, taken one by one.
pub struct Fields<'a> {
    entries: &'a [(Node, Node)],
}

impl<'a> Fields<'a> {
    /// The map's keys, each of which must be one of `known`, and once.
    pub fn of(node: &'a Node, what: &str, known: &[&str], findings: &mut Findings) -> Option<Self> {
        let Yaml::Map(entries) = &node.value else {
            let hint = format!("it has the keys {}", known.join(", "));
            findings.at(node, format!("{what} is a map, not {}", node.kind())).hint(hint);
            return None;
        };
        let mut seen = BTreeSet::new();
        for (key, value) in entries {
            let Some(name) = key.as_text() else { continue };
            if !seen.insert(name) {
                findings.at(key, format!("`{name}` stands here twice"));
            }
            if known.contains(&name) {
                // A name that could not be filled in has been complained about.
                if matches!(value.value, Yaml::Null) && !MAY_BE_EMPTY.contains(&name) && !findings.has(value) {
                    findings.at(key, format!("`{name}` has no value")).hint("write its value, or remove the key");
                }
                continue;
            }
            let finding = findings.at(key, format!("{what} has no key `{}`", named(name)));
            match nearest(name, known.iter().copied()) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it has {}", known.join(", "))),
            }
        }
        Some(Self { entries })
    }

    /// The value of a key that stands there and is not empty.
    pub fn take(&self, name: &str) -> Option<&'a Node> {
        let found = self.entries.iter().find(|(key, _)| key.as_text() == Some(name));
        found.map(|(_, value)| value).filter(|value| !matches!(value.value, Yaml::Null))
    }

    /// A text.
    pub fn text(&mut self, name: &str, findings: &mut Findings) -> Option<String> {
        self.take(name)?.text(name, findings).map(str::to_owned)
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, findings: &mut Findings) -> Option<bool> {
        let node = self.take(name)?;
        match node.value {
            Yaml::Bool(flag) => Some(flag),
            _ => {
                node.wrong(name, "true or false", findings);
                None
            }
        }
    }

    /// What `parse` makes of a text.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        findings: &mut Findings,
    ) -> Option<T> {
        self.take(name)?.parsed(name, parse, findings)
    }
}
