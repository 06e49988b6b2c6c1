//! Random scripts: all that could break a replay, in small doses. They always compile, and most of
//! them come to their end.

use super::chance::Chance;
use super::words::{
    BLOCKS, CHANGES, EXITS, FLAG, FUNCTION, INT, LETS, LIST, MAP, PROMISES, QUESTIONS, REFUSED, RESPOND, TEXT, TIME,
};

/// How deep expressions are nested.
const DEEP: usize = 2;
/// How deep blocks are nested.
const BLOCKS_DEEP: usize = 2;
/// What is done about a call that is refused.
const CAUGHT: &str = r#"catch (e) { log::warn(e.kind + ": " + e.message); }"#;

/// A script with the module that it imports.
pub struct Script {
    /// The flow's own.
    pub main: String,
    /// What it imports as `lib/more`.
    pub module: String,
}

/// What a variable holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Text,
    Flag,
    List,
    Map,
    Time,
    Message,
    Closure,
}

impl Type {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "int" => Self::Int,
            "text" => Self::Text,
            "flag" => Self::Flag,
            "list" => Self::List,
            "map" => Self::Map,
            "time" => Self::Time,
            "message" => Self::Message,
            "closure" => Self::Closure,
            _ => return None,
        })
    }

    /// The ways to write one; there are none for what only a call or a way of its own makes.
    fn ways(self) -> &'static [&'static str] {
        match self {
            Self::Int => INT,
            Self::Text => TEXT,
            Self::Flag => FLAG,
            Self::List => LIST,
            Self::Map => MAP,
            Self::Time => TIME,
            Self::Message | Self::Closure => &[],
        }
    }
}

/// A variable.
struct Name {
    text: String,
    holds: Type,
    /// What a loop or a caller gives is not changed, so that loops end.
    fixed: bool,
}

/// The next hole in a text: what stands before it, its word, what stands behind it.
fn hole(text: &str) -> Option<(&str, &str, &str)> {
    let opened = text.match_indices('<').find_map(|(open, _)| {
        let inside = &text[open + 1..];
        let close = inside.find(|c: char| !c.is_ascii_lowercase() && c != ':')?;
        (close > 0 && inside[close..].starts_with('>')).then_some((open, close))
    });
    let (open, close) = opened?;
    Some((&text[..open], &text[open + 1..open + 1 + close], &text[open + close + 2..]))
}

/// Writes one script.
struct Writer {
    chance: Chance,
    /// Variables that are known here.
    names: Vec<Name>,
    /// How many have been made.
    made: usize,
    /// Statements that may still be written.
    left: usize,
    depth: usize,
    /// Functions that may be called here.
    functions: Vec<String>,
    /// Those of them that have a name without a module's.
    own: Vec<String>,
}

/// The script of a seed: up to forty statements.
pub fn script(seed: u64) -> Script {
    let mut chance = Chance::new(seed);
    let left = 20 + chance.below(21);
    let (names, functions, own) = (Vec::new(), Vec::new(), Vec::new());
    let mut writer = Writer { chance, names, made: 0, left, depth: 0, functions, own };
    let mut module = writer.function("m0");
    writer.functions = vec!["m0".into()];
    module += &writer.function("m1");
    writer.functions = vec!["lib::m0".into(), "lib::m1".into()];
    Script { main: writer.main(), module }
}

impl Writer {
    fn main(&mut self) -> String {
        let mut text = String::from("import \"lib/more\" as lib;\n");
        for name in ["f0", "f1"] {
            text += &self.function(name);
            self.functions.push(name.into());
            self.own.push(name.into());
        }
        let mut responds = self.chance.one_in(2);
        while self.left > 0 {
            text += &self.statement();
            text.push('\n');
            if responds && self.chance.one_in(6) {
                responds = false;
                text += &self.expand(RESPOND, DEEP);
                text.push('\n');
            }
            if self.chance.one_in(30) {
                text += &self.one_of(EXITS, DEEP);
                text.push('\n');
            }
        }
        // The script's last value is all that it knows.
        let seen = self.names.iter().map(|name| match name.holds {
            Type::Message => format!("{}.id", name.text),
            _ => name.text.clone(),
        });
        text += &format!("[{}]\n", seen.collect::<Vec<_>>().join(", "));
        text
    }

    fn function(&mut self, name: &str) -> String {
        let fixed = |text: &str, holds| Name { text: text.into(), holds, fixed: true };
        self.names = vec![fixed("n", Type::Int), fixed("t", Type::Text)];
        self.depth = 1;
        let text = self.expand(&FUNCTION.replace('@', name), DEEP);
        self.depth = 0;
        self.names.clear();
        text + "\n"
    }

    fn statement(&mut self) -> String {
        self.left = self.left.saturating_sub(1);
        match self.chance.below(20) {
            0..=1 => self.one_of(LETS, DEEP),
            2 => self.one_of(CHANGES, DEEP),
            3 => {
                let call = self.chance.word(REFUSED);
                self.expand(&format!("try {{ {call}; }} {CAUGHT}"), DEEP)
            }
            4..=6 => self.call(PROMISES),
            7..=12 if self.depth < BLOCKS_DEEP => self.one_of(BLOCKS, DEEP),
            _ => self.call(QUESTIONS),
        }
    }

    /// A host call as a statement. What the world may refuse is caught, mostly.
    fn call(&mut self, calls: &'static [&'static str]) -> String {
        let (head, call) = self.way(calls).split_once(' ').expect("a call stands behind what it gives");
        let caught = head.ends_with('?') && !self.chance.one_in(10);
        let gives = Some(head.trim_end_matches('?')).filter(|word| Type::parse(word).is_some());
        let kept = gives.filter(|_| !self.chance.one_in(4));
        let way = match (kept, caught) {
            (Some(word), false) => format!("let <let:{word}> = {call};"),
            (None, false) => format!("{call};"),
            // A message has no value to begin with.
            (Some("message") | None, true) => format!("try {{ {call}; }} {CAUGHT}"),
            (Some(word), true) => format!("let <let:{word}> = <{word}>; try {{ <it> = {call}; }} {CAUGHT}"),
        };
        self.expand(&way, DEEP)
    }

    fn block(&mut self) -> String {
        let outer = self.names.len();
        self.depth += 1;
        let mut text = String::from("\n");
        for _ in 0..=self.chance.below(3) {
            if self.left > 0 {
                self.statement().lines().for_each(|line| text += &format!("    {line}\n"));
            }
        }
        self.depth -= 1;
        self.names.truncate(outer);
        text
    }

    /// An expression.
    fn value(&mut self, holds: Type, deep: usize) -> String {
        if self.chance.below(5) < 2
            && let Some(name) = self.known(holds, false)
        {
            return name;
        }
        match deep.checked_sub(1) {
            Some(deep) => self.one_of(holds.ways(), deep),
            None => self.expand(holds.ways()[0], 0),
        }
    }

    /// A variable that holds this, and that may be changed if it has to.
    fn known(&mut self, holds: Type, changes: bool) -> Option<String> {
        let fitting = self.names.iter().filter(|name| name.holds == holds && !(changes && name.fixed));
        let fitting: Vec<&Name> = fitting.collect();
        let place = self.chance.below(fitting.len().max(1));
        fitting.get(place).map(|name| name.text.clone())
    }

    fn one_of(&mut self, ways: &'static [&'static str], deep: usize) -> String {
        let way = self.way(ways);
        self.expand(way, deep)
    }

    /// One of the ways whose holes can be filled.
    fn way(&mut self, ways: &'static [&'static str]) -> &'static str {
        let fitting: Vec<&'static str> = ways.iter().copied().filter(|way| self.fits(way)).collect();
        self.chance.word(&fitting)
    }

    fn fits(&self, way: &str) -> bool {
        let mut rest = way;
        while let Some((_, word, behind)) = hole(rest) {
            let changes = word.strip_prefix("var:").and_then(Type::parse);
            let there = match word {
                "message" => self.names.iter().any(|name| name.holds == Type::Message),
                "function" => !self.functions.is_empty(),
                "own" => !self.own.is_empty(),
                _ => changes.is_none_or(|holds| self.names.iter().any(|name| !name.fixed && name.holds == holds)),
            };
            if !there {
                return false;
            }
            rest = behind;
        }
        true
    }

    /// Fills the holes, from the first to the last.
    fn expand(&mut self, way: &str, deep: usize) -> String {
        let outer = self.names.len();
        let (mut declared, mut bound, mut it) = (None, Vec::new(), None);
        let (mut text, mut rest) = (String::new(), way);
        while let Some((before, word, behind)) = hole(rest) {
            text += before;
            text += &match word.split_once(':') {
                Some(("var", word)) => Type::parse(word).and_then(|holds| self.known(holds, true)).unwrap_or_default(),
                Some((how, word)) => {
                    self.made += 1;
                    let name = format!("v{}", self.made);
                    it.get_or_insert_with(|| name.clone());
                    let holds = Type::parse(word).expect("a type stands behind the colon");
                    let known = Name { text: name.clone(), holds, fixed: how == "new" };
                    match how {
                        "new" => bound.push(known),
                        _ => declared = Some(known),
                    }
                    name
                }
                None => self.fill(word, deep, &mut bound, it.as_deref()),
            };
            rest = behind;
        }
        self.names.truncate(outer);
        self.names.extend(declared);
        text + rest
    }

    fn fill(&mut self, word: &str, deep: usize, bound: &mut Vec<Name>, it: Option<&str>) -> String {
        match word {
            "it" => it.unwrap_or_default().to_owned(),
            "block" => {
                self.names.append(bound);
                self.block()
            }
            "call" => {
                let call = self.way(QUESTIONS);
                let call = call.split_once(' ').map_or(call, |(_, call)| call);
                self.expand(call, deep)
            }
            "function" => self.functions[self.chance.below(self.functions.len())].clone(),
            "own" => self.own[self.chance.below(self.own.len())].clone(),
            "message" => self.known(Type::Message, false).unwrap_or_default(),
            "number" => self.chance.below(100).to_string(),
            "digit" => self.chance.below(3).to_string(),
            "key" => self.chance.word(&["a", "b", "c"]).to_owned(),
            "space" => self.chance.word(&["kv", "kv", "shared"]).to_owned(),
            "span" => self.chance.word(&["1ms", "5m", "1h30m"]).to_owned(),
            "to" => {
                self.chance.word(&["\"+15417543010\"", "\"+1 541-754-3011\"", "15417543012", "\"120@g.us\""]).to_owned()
            }
            _ => self.value(Type::parse(word).expect("a hole has a word that is known"), deep),
        }
    }
}
