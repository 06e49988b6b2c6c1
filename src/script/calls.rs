//! Calls that send or wait for messages, as far as a script's text tells what they ask for.

use std::collections::{BTreeMap, HashSet};

use rhai::{AST, ASTNode, Array, Dynamic, Expr, FnCallExpr, Map, Position, Stmt};
use serde_json::Value;

use super::constants::line_column;
use super::message::{self, Fields};
use crate::few::Few;
use crate::model::accounts::{AccountFacts, Accounts, NoAccount};
use crate::model::diagnostic::Diagnostic;
use crate::model::message::{Body, Contact, Content, SendOptions, Snapshot, Source};
use crate::model::phone::Country;
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;
use crate::model::walls::Who;

/// One such call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The file it stands in.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    kind: String,
    fields: Few<Written>,
    /// Whether all fields could be read; else the account may be among them.
    whole: bool,
    /// Recipients that are written out.
    to: Vec<String>,
}

/// A value in a call, as far as it is written there.
#[derive(Clone, Debug, PartialEq)]
enum Written {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(String),
    /// So many of them, with those that are texts.
    List(usize, Vec<String>),
    /// Something that only a run knows.
    Other,
}

fn written(expression: &Expr) -> Written {
    match expression {
        Expr::StringConstant(text, _) => Written::Text(text.to_string()),
        Expr::Unit(_) => Written::Nothing,
        Expr::BoolConstant(flag, _) => Written::Flag(*flag),
        Expr::IntegerConstant(number, _) => Written::Number(*number),
        Expr::DynamicConstant(value, _) => of_value(value),
        Expr::Array(items, _) => listed(items.len(), items.iter().map(written)),
        _ => Written::Other,
    }
}

fn of_value(value: &Dynamic) -> Written {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Written::Text(text.to_string());
    }
    if let Some(items) = value.read_lock::<Array>() {
        return listed(items.len(), items.iter().map(of_value));
    }
    match (value.is_unit(), value.as_bool(), value.as_int()) {
        (true, _, _) => Written::Nothing,
        (_, Ok(flag), _) => Written::Flag(flag),
        (_, _, Ok(number)) => Written::Number(number),
        _ => Written::Other,
    }
}

fn listed(count: usize, items: impl Iterator<Item = Written>) -> Written {
    let texts = items.filter_map(|item| match item {
        Written::Text(text) => Some(text),
        _ => None,
    });
    Written::List(count, texts.collect())
}

/// The fields of a map that is written out; none when it is not.
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

/// Something for a text that only a run knows, and for an address.
const SOMETHING: &str = "…";
const ADDRESS: &str = "https://example.com/";

/// The kind of a call that sends nothing and waits for what people write.
const WAIT: &str = "wait_for_message";

/// All calls that send or wait for messages in a script.
pub fn of(ast: &AST, file: &str) -> Vec<Call> {
    let own: HashSet<String> = ast.iter_functions().map(|function| function.name.to_string()).collect();
    let mut calls = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) = path.last()
            && !own.contains(call.name.as_str())
        {
            calls.extend(read(call, *at, file));
        }
        true
    });
    calls
}

/// Calls that wait for the clock or for somebody.
const LONG: [&str; 5] = ["sleep", "sleep_until", "ask", "wait_for_message", "wait_for_event"];

/// The first call of a script that waits for the clock or for somebody, with its line.
pub fn first_wait(ast: &AST) -> Option<(&'static str, usize)> {
    let own: HashSet<String> = ast.iter_functions().map(|function| function.name.to_string()).collect();
    let mut found = None;
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) = path.last()
            && let Some(name) = LONG.into_iter().find(|name| *name == call.name.as_str() && !own.contains(*name))
        {
            found = found.or(Some((name, at.line().unwrap_or_default())));
        }
        found.is_none()
    });
    found
}

fn read(call: &FnCallExpr, at: Position, file: &str) -> Option<Call> {
    let named = match call.name.as_str() {
        // A question is a text too, whatever it may become where there are buttons.
        "send_text" | "ask" => Some(("text", "text")),
        "send_link" => Some(("link", "url")),
        "send_image" => Some(("image", "source")),
        "send_file" => Some(("file", "source")),
        "send" => None,
        WAIT => Some((WAIT, "")),
        _ => return None,
    };
    let waits = call.name.as_str() == WAIT;
    let mut arguments = call.args.iter();
    let to = match waits {
        true => Vec::new(),
        false => match written(arguments.next()?) {
            Written::Text(to) => vec![to],
            Written::List(_, all) => all,
            _ => Vec::new(),
        },
    };
    let mut all = BTreeMap::new();
    if let Some((_, field)) = named.filter(|_| !waits) {
        all.insert(field.to_owned(), written(arguments.next()?));
    }
    let read: Vec<_> = arguments.map(fields).collect();
    let whole = read.iter().all(Option::is_some);
    all.extend(read.into_iter().flatten().flatten());
    let kind = match (named, all.remove("kind")) {
        (Some((kind, _)), _) => kind.to_owned(),
        (None, Some(Written::Text(kind))) => kind,
        (None, _) => return None,
    };
    let (line, column) = line_column(at);
    Some(Call { file: file.into(), line, column, kind, fields: all.into(), whole, to })
}

impl Call {
    fn warning(&self, message: String) -> Diagnostic {
        Diagnostic::warning(&self.file, self.line, self.column, message)
    }

    /// What the accounts that there are lack for this call of a flow; `of_flow` is the flow's own account.
    pub fn lacks(
        &self,
        accounts: &Accounts,
        of_flow: Option<&str>,
        who: &Who,
        country: Option<Country>,
    ) -> Vec<Diagnostic> {
        let named = match self.fields.get("account") {
            Some(Written::Text(name)) => Some(name.as_str()),
            Some(Written::Nothing) | None if self.whole => None,
            // Only a run can tell.
            _ => return Vec::new(),
        };
        let mut found: Vec<Diagnostic> = Vec::new();
        for to in &self.to {
            found.extend(Recipient::read(to, country).err().map(|error| self.warning(error)));
        }
        found.extend(self.is_deaf(accounts.meant(named, of_flow), who));
        match accounts.resolve(named, of_flow, Some(who)) {
            Ok((name, facts)) => {
                let said = self.of_account(facts, accounts.public, country).into_iter();
                found.extend(said.map(|said| self.warning(format!("account `{name}` ({}): {said}", facts.transport))));
            }
            // That nobody names one, or that the flow names none of them, is said of the flow.
            Err(NoAccount::Unnamed) => {}
            Err(NoAccount::Unknown(_)) if named.is_none() => {}
            Err(why) => {
                let (message, remedy) = accounts.explained(why);
                let finding = self.warning(message);
                found.push(match remedy {
                    Some(remedy) => finding.with_hint(remedy),
                    None => finding,
                });
            }
        }
        found
    }

    /// Whether the call waits for what anybody writes to an account that the flow has no trigger for.
    fn is_deaf(&self, account: Option<&str>, who: &Who) -> Option<Diagnostic> {
        let heard = account.map_or(!who.listens.is_empty(), |account| who.listens_to(account));
        if self.kind != WAIT
            || !self.whole
            || heard
            || !matches!(self.fields.get("from"), None | Some(Written::Nothing))
        {
            return None;
        }
        let finding =
            self.warning("`wait_for_message` without `from` needs a `message` trigger of that account".into());
        Some(finding.with_hint("name a person by `from`, or add the trigger"))
    }

    fn of_account(&self, facts: &AccountFacts, public: bool, country: Option<Country>) -> Vec<String> {
        let capabilities = facts.capabilities;
        let mut said: Vec<String> = Vec::new();
        for to in self.to.iter().filter_map(|to| Recipient::read(to, country).ok()) {
            said.extend(capabilities.addresses(&to).err());
        }
        if self.flag("track") && !public {
            said.push("`track` needs `public_url` in postrider.yaml".into());
        }
        let on_unsupported = match self.fields.get("on_unsupported") {
            Some(Written::Text(word)) => OnUnsupported::parse(word),
            Some(Written::Nothing) | None => None,
            // Only a run can tell.
            Some(_) => return said,
        };
        let Some(content) = self.content() else { return said };
        let body = Body { content, options: self.options(on_unsupported) };
        let policy = on_unsupported.unwrap_or(facts.on_unsupported);
        match capabilities.adapt(body, policy, public) {
            Err(error) => said.push(format!("the message will be refused: {}", error.message)),
            Ok(fitted) => {
                said.extend(fitted.degraded.iter().map(|change| format!("`{}`: {}", change.field, change.action)));
                let local = |part: &Body| matches!(part.content.media()?.source, Source::Snapshot(_)).then_some(());
                let fetched = fitted.parts.iter().any(|part| {
                    let intake = capabilities.kind(part.content.kind()).and_then(|kind| kind.media);
                    local(part).is_some() && intake.is_some_and(|intake| intake.bytes == 0)
                });
                if fetched && !public {
                    said.push("it fetches files from an address; give one, or set `public_url`".into());
                }
            }
        }
        said
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.fields.get(name), Some(Written::Flag(true)))
    }

    /// Whether a field is given, whatever it is.
    fn given(&self, name: &str) -> bool {
        !matches!(self.fields.get(name), None | Some(Written::Nothing | Written::Flag(false)))
    }

    /// A text as it is written, or one that stands for it.
    fn text(&self, name: &str) -> Option<String> {
        match self.fields.get(name) {
            Some(Written::Text(text)) => Some(text.clone()),
            _ => self.given(name).then(|| SOMETHING.to_owned()),
        }
    }

    /// A yes or no as it is written; of one that only a run knows, nothing is said.
    fn maybe(&self, name: &str) -> Option<bool> {
        match self.fields.get(name) {
            Some(Written::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// What the call would send, with stand-ins for what only a run knows.
    fn content(&self) -> Option<Content> {
        message::read(&self.kind, &mut Stated(self)).ok().flatten()
    }

    fn options(&self, on_unsupported: Option<OnUnsupported>) -> SendOptions {
        let mentions = match self.fields.get("mentions") {
            Some(Written::List(_, texts)) => texts.clone(),
            _ => self.text("mentions").into_iter().collect(),
        };
        SendOptions {
            reply_to: self.text("reply_to"),
            forwarded: self.flag("forwarded"),
            disappear: matches!(self.fields.get("disappear"), Some(Written::Text(_) | Written::Number(_)))
                .then_some(86_400),
            mentions,
            recipient_name: self.text("recipient_name"),
            keep: false,
            on_unsupported,
            extra: serde_json::Map::new(),
        }
    }
}

/// What cannot be told without running.
struct Unknown;

/// A call as a source of fields, with stand-ins for what only a run knows.
struct Stated<'a>(&'a Call);

impl Fields for Stated<'_> {
    type Wrong = Unknown;

    fn words(&mut self, name: &str) -> Result<String, Unknown> {
        self.0.text(name).ok_or(Unknown)
    }

    fn must(&mut self, _: &str, _: &str) -> Result<String, Unknown> {
        Ok(SOMETHING.into())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Unknown> {
        Ok(self.0.text(name))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Unknown> {
        Ok(self.0.maybe(name))
    }

    fn link(&mut self, _: &str, _: &str) -> Result<String, Unknown> {
        Ok(ADDRESS.into())
    }

    fn maybe_link(&mut self, name: &str) -> Result<Option<String>, Unknown> {
        Ok(self.0.text(name))
    }

    fn track(&mut self, _: &str) -> Result<Option<bool>, Unknown> {
        Ok(None)
    }

    fn degrees(&mut self, _: &str, _: f64) -> Result<f64, Unknown> {
        Ok(0.0)
    }

    fn contacts(&mut self, list: &str) -> Result<Vec<Contact>, Unknown> {
        let count = match self.0.fields.get(list) {
            Some(Written::List(count, _)) => *count,
            _ => 1,
        };
        let organization = self.0.text("organization");
        let contact = Contact { name: SOMETHING.into(), phone: "+1".into(), organization };
        Ok(vec![contact; count.max(1)])
    }

    fn answers(&mut self, name: &str) -> Result<Vec<String>, Unknown> {
        match self.0.fields.get(name) {
            Some(Written::List(count, _)) => Ok(vec![SOMETHING.into(); *count]),
            _ => Err(Unknown),
        }
    }

    fn count(&mut self, name: &str, _: usize) -> Result<u32, Unknown> {
        match self.0.fields.get(name) {
            Some(Written::Number(number)) => u32::try_from(*number).map_err(|_| Unknown),
            Some(Written::Nothing) | None => Ok(1),
            Some(_) => Err(Unknown),
        }
    }

    fn emoji(&mut self, _: &str) -> Result<String, Unknown> {
        Ok(SOMETHING.into())
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, Unknown> {
        Ok(if self.0.given(name) { vec![true.into()] } else { Vec::new() })
    }

    fn map(&mut self, name: &str) -> Result<serde_json::Map<String, Value>, Unknown> {
        Ok(self.0.given(name).then(|| ("1".to_owned(), SOMETHING.into())).into_iter().collect())
    }

    fn file(&mut self, name: &str) -> Result<Source, Unknown> {
        Ok(match self.0.fields.get(name) {
            Some(Written::Text(path)) if !path.contains("://") => {
                Source::Snapshot(Snapshot { blob: String::new(), size: 0, file_name: path.clone() })
            }
            _ => Source::Url { url: ADDRESS.into() },
        })
    }
}
