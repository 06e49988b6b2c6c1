//! The message trigger in a flow file.

use super::node::{Fields, Findings, Node, Yaml};
use crate::flow::OnMessage;
use crate::model::conversation;
use crate::model::recipient::Recipient;

/// Reads `message: { account, from, text, first }`, all of which may be left out.
pub fn read(node: &Node, findings: &mut Findings) -> Option<OnMessage> {
    let any = OnMessage { account: None, from: None, text: None, first: false };
    if matches!(node.value, Yaml::Null) {
        return Some(any);
    }
    let mut fields = Fields::of(node, "a message trigger", &["account", "from", "text", "first"], findings)?;
    let pattern = |text: &str| conversation::pattern(text).map_err(|why| format!("`{text}` is no pattern: {why}"));
    Some(OnMessage {
        account: fields.text("account", findings),
        from: fields.parsed("from", Recipient::parse, findings),
        text: fields.parsed("text", pattern, findings),
        first: fields.flag("first", findings).unwrap_or(any.first),
    })
}
