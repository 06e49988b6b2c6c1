//! Walls between flows: who a flow is, and which flows a setting means.

use std::sync::Arc;

use fast_glob::glob_match;

/// A flow as walls see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its name.
    pub name: Arc<str>,
    /// Where its file lies: the path below `flows/` without `.yaml`. The name is the author's choice,
    /// the place is not.
    pub place: String,
    /// The accounts of its message triggers; none stands for every account.
    pub listens: Vec<Option<String>>,
}

impl Who {
    /// A flow by its name and its file.
    pub fn new(name: Arc<str>, file: &str, listens: Vec<Option<String>>) -> Self {
        let place = file.strip_prefix("flows/").unwrap_or(file);
        Self { name, place: place.trim_end_matches(".yaml").to_owned(), listens }
    }

    /// Whether it has a trigger for what people write to this account.
    pub fn listens_to(&self, account: &str) -> bool {
        self.listens.iter().any(|listens| listens.as_deref().is_none_or(|listens| listens == account))
    }

    /// That it may not use an account, and what to do about it.
    pub fn barred_from(&self, account: &str) -> (String, String) {
        (
            format!("flow `{}` may not use account `{account}`", self.name),
            format!("name another account, or add {} to `flows` of that one in postrider.yaml", self.listed()),
        )
    }

    /// What to add to a list that leaves it out: its name, and its place if that is another one.
    pub fn listed(&self) -> String {
        match *self.name == self.place {
            true => self.name.to_string(),
            false => format!("{}, {}", self.name, self.place),
        }
    }
}

/// Which flows are meant, by patterns of their names; all where there is no list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowNames(Option<Vec<String>>);

impl FlowNames {
    /// Every flow.
    pub const ALL: Self = Self(None);

    /// These patterns and no others.
    pub fn of(patterns: Vec<String>) -> Self {
        Self(Some(patterns))
    }

    /// Reads one pattern: `*` stays within one part of a name, `**` crosses parts.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn parse(text: &str) -> Result<String, String> {
        let sound = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || "?[]{}!\\".contains(c));
        match text.split('/').all(sound) {
            true => Ok(text.to_owned()),
            false => {
                Err(format!("`{text}` is no pattern of flow names; write one such as `crm/orders`, `crm/*` or `**`"))
            }
        }
    }

    /// Whether it leaves nobody out.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the flow is meant: by its name and by its place, so that nobody gets in by calling
    /// itself something else.
    pub fn means(&self, who: &Who) -> bool {
        self.means_name(&who.name) && self.means_name(&who.place)
    }

    /// Whether a name is meant, where no more is known than that.
    pub fn means_name(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| glob_match(pattern, name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_names_and_places() {
        let who = |name: &str, file: &str| Who::new(name.into(), file, Vec::new());
        for (pattern, name, file, wanted) in [
            ("crm/*", "crm/a", "flows/crm/a.yaml", true),
            ("crm/*", "crm/a/b", "flows/crm/a/b.yaml", false),
            ("crm/**", "crm/a/b", "flows/crm/a/b.yaml", true),
            ("crm/*", "crm", "flows/crm.yaml", false),
            ("crm*", "crm-2", "flows/crm-2.yaml", true),
            ("*", "a", "flows/a.yaml", true),
            ("*", "a/b", "flows/a/b.yaml", false),
            ("**", "a/b", "flows/a/b.yaml", true),
            ("a.b", "a-b", "flows/a-b.yaml", false),
            // A flow may call itself as it likes, and gets nothing by it.
            ("crm/*", "crm/a", "flows/other/a.yaml", false),
            ("crm/*", "other/a", "flows/crm/a.yaml", false),
        ] {
            assert!(FlowNames::parse(pattern).is_ok(), "{pattern}");
            assert_eq!(FlowNames::of(vec![pattern.into()]).means(&who(name, file)), wanted, "{pattern} {name} {file}");
        }
        assert!(FlowNames::ALL.means(&who("a", "flows/a.yaml")));
        assert!(!FlowNames::of(Vec::new()).means(&who("a", "flows/a.yaml")));
        for pattern in ["", "/crm", "crm/", "crm//a", "!crm/*", "crm/[a]", "{a,b}", "a?", "a\\b", "a\nb"] {
            assert!(FlowNames::parse(pattern).is_err(), "{pattern}");
        }
    }
}
