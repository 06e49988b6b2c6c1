//! YAML as a tree that knows its places, and how findings about it are gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned, Tagged};

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

/// A value as the parser gives it: with its place, and with its tag if it has one.
type Placed<T> = Spanned<Tagged<T>>;

/// A tree as the parser reads it. What its scalars mean is looked at again.
enum Raw {
    Scalar(Yaml),
    List(Vec<Placed<Raw>>),
    Map(Vec<(Placed<String>, Placed<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Null))
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Null))
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                deserializer.deserialize_any(Any)
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Bool(flag)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Int(number)))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(i64::try_from(number).map_or(Yaml::Float(number as f64), Yaml::Int)))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Float(number)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Scalar(Yaml::Text(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Raw::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// What the parser read, with what it lets through looked at.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

/// What stands before the names of YAML's own tags.
const YAML_TAGS: &str = "tag:yaml.org,2002:";

impl Reader<'_> {
    fn node(&self, placed: Placed<Raw>) -> Result<Node, Diagnostic> {
        let Spanned { value: Tagged(raw, tag), referenced, defined } = placed;
        self.is_known(tag.as_deref(), referenced)?;
        let value = match raw {
            Raw::Scalar(Yaml::Bool(flag)) => match self.written(defined).map(|word| (word, Yaml::Bool(flag))) {
                Some((word, known)) if is_bool(word) || tag.is_some() => known,
                Some((word, _)) => Yaml::Text(word.to_owned()),
                None => Yaml::Bool(flag),
            },
            Raw::Scalar(number @ (Yaml::Int(_) | Yaml::Float(_))) => match self.written(defined) {
                Some(word) if tag.is_none() && !is_number(word, &number) => Yaml::Text(word.to_owned()),
                _ => number,
            },
            Raw::Scalar(other) => other,
            Raw::List(items) => Yaml::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?),
            Raw::Map(entries) => {
                let entry = |(key, value): (Placed<String>, Placed<Raw>)| {
                    let Spanned { value: Tagged(name, tag), referenced, .. } = key;
                    self.is_known(tag.as_deref(), referenced)?;
                    Ok((node(referenced, Yaml::Text(name)), self.node(value)?))
                };
                Yaml::Map(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
        };
        Ok(node(referenced, value))
    }

    /// A plain scalar as it stands in the file.
    fn written(&self, place: Location) -> Option<&str> {
        let (begin, length) = (place.span().byte_offset()?, place.span().byte_len()?);
        let begin = usize::try_from(begin).ok()?;
        let word = self.text.get(begin..begin.checked_add(usize::try_from(length).ok()?)?)?.trim();
        (!word.is_empty()).then_some(word)
    }

    /// Other programs give words with `!` meanings of their own; here they have none.
    fn is_known(&self, tag: Option<&str>, place: Location) -> Result<(), Diagnostic> {
        let Some(tag) = tag else { return Ok(()) };
        let own = ["str", "int", "float", "bool", "null", "seq", "map"];
        if tag == "!" || tag.strip_prefix(YAML_TAGS).is_some_and(|name| own.contains(&name)) {
            return Ok(());
        }
        let name = tag.strip_prefix(YAML_TAGS).map_or(tag.to_owned(), |name| format!("!!{name}"));
        let finding = Diagnostic::error(
            self.file,
            place.line() as u32,
            place.column() as u32,
            "a word behind `!` means nothing here",
        );
        // It is not said back: it may be the beginning of a secret.
        Err(match name.to_ascii_lowercase().as_str() {
            "!secret" | "!env" | "!env_var" => finding.with_hint("write `\"${NAME}\"`, and give NAME a value in .env"),
            "!include" | "!file" => finding.with_hint("a script in a file of its own is named by `script: name.rhai`"),
            _ => finding.with_hint("put the value in quotes, or remove that word"),
        })
    }
}

fn node(place: Location, value: Yaml) -> Node {
    Node { line: place.line() as u32, column: place.column() as u32, value }
}

/// YAML 1.2, 10.3.2: no other words are.
fn is_bool(word: &str) -> bool {
    matches!(word, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// Whether a word is a number by YAML 1.2's core schema (10.3.2), but for leading zeros: those of postal codes
/// and phones are lost in a number. One that we cannot hold exactly is no number either.
fn is_number(word: &str, read: &Yaml) -> bool {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(hex) = word.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    if let Some(octal) = word.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(word, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if digits(unsigned) {
        return (unsigned == "0" || !unsigned.starts_with('0')) && matches!(read, Yaml::Int(_));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)))
        && (whole == "0" || !whole.starts_with('0'))
        && (whole.is_empty() || digits(whole))
        && (fraction.is_empty() || digits(fraction))
        && !(whole.is_empty() && fraction.is_empty())
}

/// Deepest nesting of a file. Each level is a call of the reader's, and threads that read files have no more
/// than two megabytes of stack.
const DEEPEST: usize = 32;

/// Reads a file of one document. Anchors, depth and size are bounded by the parser's budget.
///
/// # Errors
/// Where and why it is no YAML.
pub fn parse(file: &str, text: &str) -> Result<Node, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Diagnostic::error(file, 0, 0, "the file is empty"));
    }
    let options = serde_yaml::options! { budget: serde_yaml::budget! { max_depth: DEEPEST } };
    let read = serde_yaml::from_str_with_options::<Placed<Raw>>(text, options);
    let read = read.map_err(|error| {
        let place = error.location();
        let (line, column) = place.map_or((0, 0), |place| (place.line() as u32, place.column() as u32));
        let tab = text
            .lines()
            .nth(line.saturating_sub(1) as usize)
            .is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
        let message = error.without_snippet().to_string();
        let message =
            message.split(" at line ").next().unwrap_or(&message).lines().next().unwrap_or_default().to_owned();
        if message.contains("multiple YAML documents") {
            let finding = Diagnostic::error(file, line, column, "a second document begins here");
            return finding.with_hint("one file is one document: remove `---` and what stands behind it");
        }
        if message.contains("Depth {") {
            return Diagnostic::error(file, line, column, format!("the file is nested more than {DEEPEST} deep"));
        }
        if message.contains("budget breached") {
            return too_much(file, text, (line, column));
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
    })?;
    Reader { file, text }.node(read)
}

/// A file that comes to more than is read of one; an alias counts as all that it stands for.
fn too_much(file: &str, text: &str, (line, column): (u32, u32)) -> Diagnostic {
    match text.contains('&') && text.contains('*') {
        true => Diagnostic::error(
            file,
            line,
            column,
            "the file's anchors multiply too much: what they stand for is too large",
        )
        .with_hint("use fewer aliases of what has aliases in it"),
        false => {
            Diagnostic::error(file, line, column, "there is too much in this file").with_hint("make two files of it")
        }
    }
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
        let fraction = match self.value {
            Yaml::Float(number) => Some(number.to_string()),
            _ => None,
        };
        let is_fraction = fraction.is_some();
        match parse(&fraction.map_or_else(|| self.word(name, findings), Some)?) {
            // Texts such as `1.50` have lost something as numbers.
            Ok(_) if is_fraction => {
                self.wrong(name, "a text", findings);
                None
            }
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
