//! Requests against the gateways' own machine-readable descriptions, where these are at hand: in
//! the folder that the project is developed beside. A clone without it skips this and says so;
//! where changes are checked it must be there.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::fake::{self, Dialect, Got};
use super::{Desk, golden};

/// The description of a gateway, if it is at hand.
fn description(file: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/openapi").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
        println!("skipped: {file} is not at hand");
        return None;
    };
    let parsed = match file.ends_with(".json") {
        true => serde_json::from_str(&text).unwrap(),
        false => {
            // A document that is trusted, and larger than the parser's bounds for strangers.
            let mut options = serde_yaml::Options::default();
            options.budget = None;
            serde_yaml::from_str_with_options(&text, options).unwrap()
        }
    };
    Some(parsed)
}

/// What `$ref` leads to.
fn followed<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => followed(root, root.pointer(place.trim_start_matches('#')).unwrap()),
        None => value,
    }
}

/// A schema with everything that it refers to; OpenAPI 3.0's `nullable` as JSON Schema has it.
fn whole(root: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema.as_object_mut().unwrap().insert("components".into(), root["components"].clone());
    plain(&mut schema);
    schema
}

fn plain(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let nullable = map.remove("nullable") == Some(Value::Bool(true));
            // Words about the schema that are no part of it, some of them not even of its type.
            for name in ["example", "examples", "discriminator", "xml", "externalDocs"] {
                if map.get(name).is_none_or(|inner| inner.get("type").is_none()) {
                    map.remove(name);
                }
            }
            // A generator's artefact: what has a text or a flag as its default is no object.
            if map.get("type") == Some(&json!("object"))
                && map.get("default").is_some_and(|default| !default.is_object())
            {
                map.remove("type");
            }
            // Each member forbids what the others bring; what is meant is their sum.
            if let Some(Value::Array(members)) = map.get_mut("allOf") {
                let closed = members.iter_mut().filter_map(Value::as_object_mut);
                let closed =
                    closed.map(|member| member.remove("additionalProperties").is_some()).fold(false, |a, b| a | b);
                if closed {
                    map.insert("unevaluatedProperties".into(), false.into());
                }
            }
            // Alternatives without required fields fit each other's values.
            if let Some(choices) = map.remove("oneOf") {
                map.insert("anyOf".into(), choices);
            }
            if let (true, Some(kind)) = (nullable, map.get("type").cloned()) {
                map.insert("type".into(), json!([kind, "null"]));
            }
            map.values_mut().for_each(plain);
        }
        Value::Array(list) => list.iter_mut().for_each(plain),
        _ => {}
    }
}

/// The operation that a path belongs to; `{names}` stand for one part.
fn operation<'a>(root: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |pattern: &str| {
        let wanted: Vec<&str> = pattern.split('/').collect();
        wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(a, b)| a.starts_with('{') || a == b)
    };
    let paths = root["paths"].as_object()?;
    // A path without names comes before one with.
    let mut found: Vec<_> = paths.iter().filter(|(pattern, _)| fits(pattern)).collect();
    found.sort_by_key(|(pattern, _)| pattern.matches('{').count());
    found.into_iter().find_map(|(_, item)| item.get(method.to_lowercase()))
}

/// The body as the schema of its content type sees it.
fn body(got: &Got) -> (String, Value) {
    let kind = got.header("content-type").unwrap().split(';').next().unwrap().to_owned();
    if kind != "multipart/form-data" {
        return (kind, got.json().unwrap());
    }
    let mut fields = Map::new();
    for part in got.multipart().unwrap() {
        let value = match (&part.file_name, part.text()) {
            (Some(_), _) => "bytes".into(),
            (None, Ok(text)) => {
                serde_json::from_str::<Value>(text).ok().filter(|value| !value.is_string()).unwrap_or(text.into())
            }
            (None, Err(error)) => panic!("{error}"),
        };
        fields.insert(part.name, value);
    }
    (kind, fields.into())
}

/// What of `got` the description refuses.
fn refused(root: &Value, got: &Got, path: &str) -> Option<String> {
    let Some(operation) = operation(root, &got.method, path) else {
        return Some(format!("{} {path}: the description has no such operation", got.method));
    };
    let (kind, mut body) = body(got);
    // Meta's events give it back, and its pages explain it; its file does not know it.
    body.as_object_mut().unwrap().remove("biz_opaque_callback_data");
    let content = &followed(root, &operation["requestBody"])["content"];
    // GOWA's description knows only forms where its code takes JSON too: the code's way wins, and
    // the fields are the same.
    let described =
        content.get(&kind).or_else(|| content.get("multipart/form-data")).or_else(|| content.get("application/json"));
    let mut schema = followed(root, &described.expect("a body")["schema"]);
    // Which of the alternatives it is stands in the body.
    if let Some(name) = schema["discriminator"]["propertyName"].as_str() {
        let chosen = &schema["discriminator"]["mapping"][body[name].as_str().unwrap()];
        schema = root.pointer(chosen.as_str().unwrap().trim_start_matches('#')).unwrap();
    }
    let schema = whole(root, schema);
    let validator = jsonschema::options().build(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .filter(|_| !lags(root, &body))
        .map(|error| format!("{} at `{}`", error, error.instance_path()))
        .collect();
    (!errors.is_empty()).then(|| format!("{} {path} {body}: {}", got.method, errors.join("; ")))
}

/// Where a description is known to lag behind the code: Meta's predates business-scoped ids, which
/// go into `recipient` instead of `to`.
fn lags(root: &Value, body: &Value) -> bool {
    root["info"]["title"].as_str().is_some_and(|title| title.contains("Meta")) && body.get("recipient").is_some()
}

async fn all(dialect: Dialect, file: &str, path: impl Fn(&str) -> String) {
    let Some(root) = description(file) else { return };
    let desk = Desk::open(dialect, "").await;
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, wish) in golden::wishes().into_iter().filter(|(name, _)| *name != "text with raw fields") {
        for got in desk.send(&wish).await.requests {
            checked += 1;
            wrong.extend(refused(&root, &got, &path(&got.path)).map(|error| format!("{name}: {error}")));
        }
    }
    assert!(checked > 30, "only {checked} requests were made");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gowa_is_called_as_it_describes_itself() {
    all(fake::gowa::DIALECT, "gowa.yaml", str::to_owned).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waha_is_called_as_it_describes_itself() {
    all(fake::waha::DIALECT, "waha.json", str::to_owned).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_called_as_it_describes_itself() {
    all(fake::meta::DIALECT, "meta-business-messaging-api_v23.0.yaml", str::to_owned).await;
}
