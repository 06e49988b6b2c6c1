//! A request over HTTP as a script wants it: secrets stand in it by name until it is on the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a header says where a message ends, how it is packed, or what becomes of its connection: that
/// is for whoever writes the message, not for whoever hands it on.
pub fn is_framing(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("proxy-")
        || matches!(
            name.as_str(),
            "connection"
                | "content-encoding"
                | "content-length"
                | "date"
                | "expect"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "te"
                | "trailer"
                | "trailers"
                | "transfer-encoding"
                | "upgrade"
        )
}

/// Whether a header can be called so (RFC 9110, 5.6.2).
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Text of which some parts are secrets, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Veiled(pub Vec<Piece>);

/// A part of such a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Piece {
    /// Words.
    Plain(String),
    /// What a secret says.
    Named {
        /// The secret's name.
        secret: String,
    },
}

impl Veiled {
    /// Words alone.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Piece::Plain(text.into())])
    }

    /// With each secret as `secret(NAME)`: how people may see it.
    pub fn by_name(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Plain(text) => text.clone(),
            Piece::Named { secret } => format!("secret({secret})"),
        };
        self.0.iter().map(piece).collect()
    }

    /// With each secret filled in by `lookup`; none when one is not there.
    pub fn reveal(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Plain(text) => Some(text.clone()),
            Piece::Named { secret } => lookup(secret),
        };
        self.0.iter().map(piece).collect()
    }

    /// The same with words that stand beside each other in one piece.
    pub fn joined(&self) -> Self {
        let mut joined: Vec<Piece> = Vec::with_capacity(self.0.len());
        for piece in &self.0 {
            match (joined.last_mut(), piece) {
                (Some(Piece::Plain(before)), Piece::Plain(text)) => before.push_str(text),
                _ => joined.push(piece.clone()),
            }
        }
        Self(joined)
    }

    /// Whether there is a secret in it.
    pub fn has_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Named { .. }))
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Where to; the server alone when the rest holds a secret.
    pub url: String,
    /// That rest, from its slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Veiled>,
    /// Added to the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, Veiled)>,
    /// Names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, Veiled)>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<CallBody>,
    /// Milliseconds for all of it.
    pub timeout: u64,
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallBody {
    /// Words.
    Text(Veiled),
    /// JSON; a text with secrets stands in it as `{"$secret": [...]}`.
    Json(Value),
    /// Fields of a form.
    Form(Vec<(String, Veiled)>),
}

impl CallBody {
    /// Whether there is a secret in it.
    pub fn has_secret(&self) -> bool {
        match self {
            Self::Text(text) => text.has_secret(),
            Self::Json(value) => has_secret(value),
            Self::Form(fields) => fields.iter().any(|(_, value)| value.has_secret()),
        }
    }
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_secret),
        Value::Object(fields) => fields.contains_key(SECRET) || fields.values().any(has_secret),
        _ => false,
    }
}

/// The key under which a text with secrets stands in JSON.
pub const SECRET: &str = "$secret";

/// JSON with each text of secrets filled in; none when a secret is not there.
pub fn reveal_json(value: &Value, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    Some(match value {
        Value::Array(items) => Value::Array(items.iter().map(|item| reveal_json(item, lookup)).collect::<Option<_>>()?),
        Value::Object(fields) => match (fields.len(), fields.get(SECRET)) {
            (1, Some(veiled)) => {
                let veiled: Veiled = serde_json::from_value(veiled.clone()).ok()?;
                veiled.reveal(lookup)?.into()
            }
            _ => {
                let fields = fields.iter().map(|(key, item)| Some((key.clone(), reveal_json(item, lookup)?)));
                Value::Object(fields.collect::<Option<Map<_, _>>>()?)
            }
        },
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_filled_in_where_they_stand() {
        let veiled = Veiled(vec![Piece::Plain("Bearer ".into()), Piece::Named { secret: "TOKEN".into() }]);
        let lookup = |name: &str| (name == "TOKEN").then(|| "\"x".to_owned());
        let body = json!({ "a": [{ SECRET: veiled }], "b": 1 });
        assert_eq!(reveal_json(&body, &lookup), Some(json!({ "a": ["Bearer \"x"], "b": 1 })));
        assert_eq!(reveal_json(&body, &|_| None), None);
        assert_eq!(veiled.by_name(), "Bearer secret(TOKEN)");
    }
}
