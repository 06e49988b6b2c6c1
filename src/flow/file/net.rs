//! Lists of addresses in files.

use std::net::IpAddr;

use ipnet::IpNet;

use super::node::{Findings, Node};

/// Networks such as `10.0.0.0/8`, and single addresses; none where nothing is written.
pub fn networks(name: &str, node: Option<&Node>, findings: &mut Findings) -> Vec<IpNet> {
    let Some(node) = node else { return Vec::new() };
    let items = match node.as_text() {
        Some(_) => std::slice::from_ref(node),
        None => node.list(name, findings).unwrap_or_default(),
    };
    items.iter().filter_map(|item| item.parsed(name, network, findings)).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let found = text.parse::<IpNet>().ok().or_else(single);
    found.ok_or_else(|| format!("`{text}` is no network; write one such as `10.0.0.0/8`, or one address"))
}
