//! A request as it came, taken apart field by field: what is missing, of the wrong type, or not
//! known is an error.

use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use serde_json::{Map, Value};

/// What a fake makes of a request: status and JSON of the gateway's answer, or what is wrong with
/// the request.
pub type Checked = Result<(u16, Value), String>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A part of a multipart form.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub bytes: Vec<u8>,
}

impl Part {
    /// Its text.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes).map_err(|error| format!("part `{}`: {error}", self.name))
    }
}

impl Got {
    /// All of it.
    pub async fn read(request: Request) -> Self {
        let (head, body) = request.into_parts();
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    /// A header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "the header {name} is there twice");
        first
    }

    /// A header that must be there with this value.
    pub fn wants_header(&self, name: &str, value: &str) -> Result<(), String> {
        match self.header(name) {
            Some(there) if there == value => Ok(()),
            there => Err(format!("header {name} is {there:?}, wanted {value:?}")),
        }
    }

    /// The query as pairs, decoded.
    pub fn query(&self) -> Vec<(String, String)> {
        let text = self.query.as_deref().unwrap_or_default();
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    /// Refuses a query.
    pub fn wants_no_query(&self) -> Result<(), String> {
        match &self.query {
            None => Ok(()),
            Some(query) => Err(format!("the gateway knows no query `{query}` here")),
        }
    }

    /// The body, which must be announced and written as JSON.
    pub fn json(&self) -> Result<Value, String> {
        self.wants_header("content-type", "application/json")?;
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is no JSON: {error}"))
    }

    /// The body, which must be announced and written as a form; fields in order.
    pub fn form(&self) -> Result<Vec<(String, String)>, String> {
        self.wants_header("content-type", "application/x-www-form-urlencoded")?;
        Ok(form_urlencoded::parse(&self.body).into_owned().collect())
    }

    /// The body, which must be announced and written as `multipart/form-data`; parts in order.
    pub fn multipart(&self) -> Result<Vec<Part>, String> {
        let kind = self.header("content-type").unwrap_or_default();
        let boundary =
            kind.strip_prefix("multipart/form-data; boundary=").ok_or(format!("`{kind}` is no multipart"))?;
        let mark = format!("--{boundary}");
        let mut parts = Vec::new();
        let mut rest = after(&self.body, mark.as_bytes()).ok_or("no boundary")?;
        while let Some(inside) = rest.strip_prefix(b"\r\n") {
            let end = find(inside, format!("\r\n{mark}").as_bytes()).ok_or("a part without an end")?;
            let head = find(inside, b"\r\n\r\n").ok_or("a part without a head")?;
            let text = String::from_utf8_lossy(&inside[..head]).into_owned();
            let header = |wanted: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
            };
            let disposition = header("content-disposition").ok_or("a part without Content-Disposition")?;
            let parameter = |wanted: &str| {
                let (_, value) = disposition.split_once(&format!("; {wanted}=\""))?;
                value.split('"').next().map(str::to_owned)
            };
            parts.push(Part {
                name: parameter("name").ok_or("a part without a name")?,
                file_name: parameter("filename"),
                content_type: header("content-type"),
                bytes: inside[head + 4..end].to_vec(),
            });
            rest = &inside[end + 2 + mark.len()..];
        }
        match rest.starts_with(b"--") {
            true => Ok(parts),
            false => Err("the form has no end".into()),
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn after<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    find(text, wanted).map(|place| &text[place + wanted.len()..])
}

/// A JSON object whose fields are taken one by one; [`Object::end`] refuses what is left.
pub struct Object {
    what: String,
    fields: Map<String, Value>,
    taken: BTreeSet<String>,
}

impl Object {
    /// The object; `what` names it in sentences.
    pub fn of(value: &Value, what: &str) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { what: what.into(), fields: fields.clone(), taken: BTreeSet::new() }),
            other => Err(format!("{what} is no object: {other}")),
        }
    }

    /// Whether a field is there (it stays to be taken).
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A field of any type; null counts as there.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.taken.insert(name.into());
        self.fields.get(name).cloned()
    }

    fn maybe<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.any(name) {
            None => Ok(None),
            Some(value) => match read(&value) {
                Some(read) => Ok(Some(read)),
                None => Err(format!("{}.{name} is {value}, wanted {kind}", self.what)),
            },
        }
    }

    fn must<T>(&self, name: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("{}.{name} is missing", self.what))
    }

    /// A text that must be there and not be empty.
    pub fn text(&mut self, name: &str) -> Result<String, String> {
        let text = self.maybe_text(name)?;
        match self.must(name, text)? {
            text if text.trim().is_empty() => Err(format!("{}.{name} is empty", self.what)),
            text => Ok(text),
        }
    }

    /// A text that may be there.
    pub fn maybe_text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.maybe(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// True or false that may be there.
    pub fn maybe_flag(&mut self, name: &str) -> Result<Option<bool>, String> {
        self.maybe(name, "true or false", Value::as_bool)
    }

    /// True or false that must be there.
    pub fn flag(&mut self, name: &str) -> Result<bool, String> {
        let flag = self.maybe_flag(name)?;
        self.must(name, flag)
    }

    /// A whole number that may be there.
    pub fn maybe_whole(&mut self, name: &str) -> Result<Option<i64>, String> {
        self.maybe(name, "a whole number", Value::as_i64)
    }

    /// A whole number that must be there.
    pub fn whole(&mut self, name: &str) -> Result<i64, String> {
        let number = self.maybe_whole(name)?;
        self.must(name, number)
    }

    /// A number that must be there.
    pub fn number(&mut self, name: &str) -> Result<f64, String> {
        let number = self.maybe(name, "a number", Value::as_f64)?;
        self.must(name, number)
    }

    /// A list that may be there.
    pub fn maybe_list(&mut self, name: &str) -> Result<Option<Vec<Value>>, String> {
        self.maybe(name, "a list", |value| value.as_array().cloned())
    }

    /// A list that must be there and not be empty.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, String> {
        let list = self.maybe_list(name)?;
        match self.must(name, list)? {
            list if list.is_empty() => Err(format!("{}.{name} is empty", self.what)),
            list => Ok(list),
        }
    }

    /// An object that may be there.
    pub fn maybe_object(&mut self, name: &str) -> Result<Option<Object>, String> {
        let what = format!("{}.{name}", self.what);
        self.any(name).map(|value| Object::of(&value, &what)).transpose()
    }

    /// An object that must be there.
    pub fn object(&mut self, name: &str) -> Result<Object, String> {
        let object = self.maybe_object(name)?;
        self.must(name, object)
    }

    /// Refuses fields that were not taken.
    pub fn end(self) -> Result<(), String> {
        let left: Vec<_> = self.fields.keys().filter(|name| !self.taken.contains(*name)).collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{} has fields that the gateway does not know: {left:?}", self.what)),
        }
    }
}

/// Whether a text is all digits and a phone's length, without a leading 0.
pub fn is_phone(text: &str) -> bool {
    (7..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
}

/// Whether a text is an absolute web address.
pub fn is_web(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The bytes behind Base64 with padding.
pub fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("no Base64: {error}"))
}
