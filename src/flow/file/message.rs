//! The message trigger in a flow file.

use super::node::{Fields, Findings, Node, Yaml};
use crate::flow::{Chats, OnMessage};
use crate::model::conversation;
use crate::model::phone::Country;
use crate::model::recipient::Recipient;

/// Reads `message: { account, from, chats, text, first, else }`, all of which may be left out.
pub fn read(node: &Node, country: Option<Country>, findings: &mut Findings) -> Option<OnMessage> {
    let any = OnMessage {
        account: None,
        from: None,
        chats: Chats::Private,
        text: None,
        first: false,
        otherwise: false,
        at: (node.line, node.column),
    };
    if matches!(node.value, Yaml::Null) {
        return Some(any);
    }
    let keys = ["account", "from", "chats", "text", "first", "else"];
    let mut fields = Fields::of(node, "a message trigger", &keys, findings)?;
    let chats = |word: &str| match word {
        "private" => Ok(Chats::Private),
        "groups" => Ok(Chats::Groups),
        "all" => Ok(Chats::All),
        other => Err(format!("`{other}` is none of `private`, `groups`, `all`")),
    };
    let pattern = |text: &str| conversation::pattern(text).map_err(|why| format!("`{text}` is no pattern: {why}"));
    let account = fields.text("account", findings);
    let from = fields.parsed("from", |text| Recipient::read(text, country), findings);
    // Whoever names a group means it.
    let named = match from {
        Some(Recipient::Group(_)) => Chats::All,
        _ => any.chats,
    };
    let on = OnMessage {
        account,
        from,
        chats: fields.parsed("chats", chats, findings).unwrap_or(named),
        text: fields.parsed("text", pattern, findings),
        first: fields.flag("first", findings).unwrap_or(any.first),
        otherwise: fields.flag("else", findings).unwrap_or(any.otherwise),
        at: any.at,
    };
    if on.first && on.otherwise {
        findings.at(node, "`first` comes before everything else, `else` behind it").hint("leave one of them out");
    }
    Some(on)
}
