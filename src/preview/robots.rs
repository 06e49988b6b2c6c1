//! robots.txt, as far as a crawler that wants one page needs it (RFC 9309).

/// Whether `text` lets the crawler called `agent` (lower case) at `path`.
pub fn allows(text: &str, agent: &str, path: &str) -> bool {
    let groups = groups(text);
    let of = |wanted: &str| {
        let mut rules: Vec<&(bool, String)> = Vec::new();
        for (agents, own) in &groups {
            if agents.iter().any(|name| name == wanted) {
                rules.extend(own);
            }
        }
        (!rules.is_empty() || groups.iter().any(|(agents, _)| agents.iter().any(|name| name == wanted)))
            .then_some(rules)
    };
    let Some(rules) = of(agent).or_else(|| of("*")) else { return true };
    // The longest pattern that fits decides; of two as long, the kinder.
    let fitting = rules.into_iter().filter(|(_, pattern)| fits(pattern, path));
    fitting.max_by_key(|(allow, pattern)| (pattern.len(), *allow)).is_none_or(|(allow, _)| *allow)
}

type Group = (Vec<String>, Vec<(bool, String)>);

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut naming = false;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "user-agent" => {
                if !naming {
                    groups.push(Group::default());
                }
                naming = true;
                if let Some((agents, _)) = groups.last_mut() {
                    agents.push(value.to_ascii_lowercase());
                }
            }
            key @ ("allow" | "disallow") => {
                naming = false;
                // An empty pattern says nothing.
                if let Some((_, rules)) = groups.last_mut().filter(|_| !value.is_empty()) {
                    rules.push((key == "allow", value.to_owned()));
                }
            }
            _ => {}
        }
    }
    groups
}

/// `*` stands for anything, `$` at the end for the end.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return !whole || rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    if whole { rest.ends_with(last) } else { rest.contains(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_of_the_nearest_group_decides() {
        let text = "User-agent: *\nDisallow: /private\nAllow: /private/open\n\n\
            User-agent: WhatsApp # the crawler\nUser-agent: other\nDisallow: /*.pdf$\nDisallow:\n";
        for (agent, path, wanted) in [
            ("anybody", "/", true),
            ("anybody", "/private/x", false),
            ("anybody", "/private/open/x", true),
            ("whatsapp", "/private/x", true),
            ("whatsapp", "/a/b.pdf", false),
            ("whatsapp", "/a/b.pdf?x", true),
            ("other", "/x.pdf", false),
        ] {
            assert_eq!(allows(text, agent, path), wanted, "{agent} {path}");
        }
        assert!(allows("", "whatsapp", "/") && !allows("User-agent: *\nDisallow: /", "whatsapp", "/"));
    }
}
