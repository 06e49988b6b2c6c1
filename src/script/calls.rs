//! Calls that send, as far as a script's text tells what they ask for.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, Map, Position, Stmt};

use crate::model::capability::Capabilities;
use crate::model::diagnostic::Diagnostic;
use crate::model::message::Content;
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;
use crate::script::AccountFacts;

/// One such call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The file it stands in.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    kind: String,
    /// Options that are given, each with its text if it is one.
    options: BTreeMap<String, Option<String>>,
    /// It is not said that there is to be no preview.
    shows: bool,
    /// Whether all options could be read; else the account may be among them.
    whole: bool,
    to: Option<String>,
}

/// A value in a call, as far as it is written there.
enum Written {
    /// Not given after all.
    Nothing,
    /// A text.
    Text(String),
    /// Anything else.
    Other,
}

fn written(expression: &Expr) -> Written {
    match expression {
        Expr::StringConstant(text, _) => Written::Text(text.to_string()),
        Expr::Unit(_) | Expr::BoolConstant(false, _) => Written::Nothing,
        Expr::DynamicConstant(value, _) => of_value(value),
        _ => Written::Other,
    }
}

fn of_value(value: &Dynamic) -> Written {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Written::Text(text.to_string());
    }
    match value.is_unit() || value.as_bool() == Ok(false) {
        true => Written::Nothing,
        false => Written::Other,
    }
}

/// The names in a map that is written out; none when it is not.
fn fields(expression: &Expr) -> Option<Vec<(String, Written)>> {
    match expression {
        Expr::Map(map, _) => Some(map.0.iter().map(|(name, value)| (name.name.to_string(), written(value))).collect()),
        Expr::DynamicConstant(value, _) => {
            let map = value.read_lock::<Map>()?;
            Some(map.iter().map(|(name, value)| (name.to_string(), of_value(value))).collect())
        }
        _ => None,
    }
}

/// All calls that send in a script.
pub fn of(ast: &AST, file: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) = path.last() {
            calls.extend(read(call, *at, file));
        }
        true
    });
    calls
}

fn read(call: &FnCallExpr, at: Position, file: &str) -> Option<Call> {
    let kind = match call.name.as_str() {
        "send_text" => Some("text"),
        "send_link" => Some("link"),
        "send_image" => Some("image"),
        "send_file" => Some("file"),
        "send" => None,
        _ => return None,
    };
    let mut arguments = call.args.iter();
    let to = match written(arguments.next()?) {
        Written::Text(to) => Some(to),
        _ => None,
    };
    // Of `send` the second argument has fields too; of the others it is what is sent.
    let maps: Vec<&Expr> = arguments.skip(usize::from(kind.is_some())).collect();
    let read: Vec<_> = maps.iter().map(|map| fields(map)).collect();
    let whole = read.iter().all(Option::is_some);
    let mut options = BTreeMap::new();
    let mut shows = true;
    for (name, value) in read.into_iter().flatten().flatten() {
        match value {
            Written::Nothing if name == "preview" => {
                shows = false;
                options.insert(name, None);
            }
            Written::Nothing => {}
            Written::Text(text) => drop(options.insert(name, Some(text))),
            _ => drop(options.insert(name, None)),
        }
    }
    let kind = match kind {
        Some(kind) => kind.to_owned(),
        None => options.remove("kind")??,
    };
    let (line, column) = (at.line().unwrap_or(0) as u32, at.position().unwrap_or(0) as u32);
    Some(Call { file: file.into(), line, column, kind, options, shows, whole, to })
}

/// What an author can ask for and a gateway may lack. (Names and addresses are part of some kinds
/// and wishes of others.)
const WISHES: [&str; 19] = [
    "reply_to",
    "forwarded",
    "disappear",
    "mentions",
    "recipient_name",
    "caption",
    "title",
    "description",
    "thumbnail",
    "high_quality",
    "preview",
    "view_once",
    "hd",
    "gif",
    "note",
    "name",
    "address",
    "components",
    "variables",
];

impl Call {
    /// The account that it names; none when it names none, or does so in a way that only a run
    /// can tell.
    pub fn account(&self) -> Option<Option<&str>> {
        match self.options.get("account") {
            Some(Some(name)) => Some(Some(name)),
            Some(None) => None,
            None => self.whole.then_some(None),
        }
    }

    /// What the account lacks for this call.
    pub fn lacks(&self, account: &str, facts: &AccountFacts) -> Vec<Diagnostic> {
        let AccountFacts { transport, capabilities, on_unsupported } = *facts;
        let policy = match self.options.get("on_unsupported") {
            Some(Some(word)) => OnUnsupported::parse(word).unwrap_or(on_unsupported),
            Some(None) => return Vec::new(),
            None => on_unsupported,
        };
        let mut found = Vec::new();
        let mut warn = |message: String| {
            let message = format!("account `{account}` ({transport}): {message}");
            found.push(Diagnostic::warning(&self.file, self.line, self.column, message));
        };
        if let Some(Ok(to)) = self.to.as_deref().map(Recipient::parse)
            && let Err(error) = capabilities.addresses(&to)
        {
            warn(error);
        }
        let Some(kind) = capabilities.kind(&self.kind) else {
            if Content::KINDS.contains(&self.kind.as_str()) {
                warn(format!(
                    "it has no messages of kind `{}`; {}",
                    self.kind,
                    without(capabilities, &self.kind, policy)
                ));
            }
            return found;
        };
        for name in self.options.keys().filter(|name| WISHES.contains(&name.as_str())) {
            // What a kind cannot be without is no wish.
            let own = name == "name" && matches!(self.kind.as_str(), "contact" | "template");
            if own || kind.options.contains(&name.as_str()) {
                continue;
            }
            let fate = match (policy, name.as_str()) {
                (OnUnsupported::Strict, _) => "the message will be refused (`on_unsupported: strict`)",
                (OnUnsupported::Emulate, "view_once" | "disappear") => {
                    "the message will be refused; `on_unsupported: \"drop\"` sends it without"
                }
                (_, "components" | "variables") => "the message will be refused",
                (OnUnsupported::Emulate, "title" | "description" | "caption") => "its words will be put elsewhere",
                (_, "preview") if !self.shows => "the link goes as text",
                (_, "thumbnail")
                    if self.options.get("on_unsupported").is_some_and(|word| word.as_deref() == Some("emulate")) =>
                {
                    "it goes as a picture with the link below it"
                }
                (_, "address") if kind.options.contains(&"name") => "it is joined to the name",
                _ => "it will be left out",
            };
            warn(format!("it has no `{name}` for messages of kind `{}`; {fate}", self.kind));
        }
        found
    }
}

fn without(capabilities: &Capabilities, kind: &str, policy: OnUnsupported) -> &'static str {
    match (policy, kind) {
        (OnUnsupported::Emulate | OnUnsupported::Drop, "link") => "they go as text",
        (OnUnsupported::Emulate, "poll" | "location" | "contact") => "they go as text or as a file",
        (OnUnsupported::Emulate, "voice") if capabilities.kind("audio").is_some() => "they go as audio",
        (OnUnsupported::Emulate, "voice" | "audio" | "video") if capabilities.kind("file").is_some() => {
            "they go as files"
        }
        _ => "they will be refused",
    }
}
