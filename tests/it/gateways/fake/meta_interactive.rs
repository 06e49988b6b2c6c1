//! Buttons and lists of Meta, after `InteractiveObject` in Meta's OpenAPI file.

use std::collections::HashSet;

use serde_json::Value;

use super::strict::Object;

/// Checks what a person is to press.
pub fn interactive(mut object: Object) -> Result<(), String> {
    let kind = object.text("type")?;
    let mut body = object.object("body")?;
    short(&body.text("text")?, 1024, "the words above")?;
    body.end()?;
    let mut action = object.object("action")?;
    match kind.as_str() {
        "button" => {
            let buttons = action.list("buttons")?;
            if !(1..=3).contains(&buttons.len()) {
                return Err(format!("{} buttons", buttons.len()));
            }
            let mut replies = Vec::new();
            for button in &buttons {
                let mut button = Object::of(button, "a button")?;
                if button.text("type")? != "reply" {
                    return Err("a button that is no reply".into());
                }
                replies.push(button.object("reply")?);
                button.end()?;
            }
            rows(replies, 20)?;
        }
        "list" => {
            short(&action.text("button")?, 20, "the button")?;
            let sections = action.list("sections")?;
            let [section] = sections.as_slice() else { return Err("several sections want titles".into()) };
            let mut section = Object::of(section, "a section")?;
            let listed: Vec<Value> = section.list("rows")?;
            if !(1..=10).contains(&listed.len()) {
                return Err(format!("{} rows", listed.len()));
            }
            let listed = listed.iter().map(|row| Object::of(row, "a row")).collect::<Result<_, _>>()?;
            rows(listed, 24)?;
            section.end()?;
        }
        other => return Err(format!("nobody here sends an interactive message of type `{other}`")),
    }
    action.end()?;
    object.end()
}

fn rows(rows: Vec<Object>, most: usize) -> Result<(), String> {
    let mut ids = HashSet::new();
    for mut row in rows {
        let id = row.text("id")?;
        if id.is_empty() || id.len() > 200 || !ids.insert(id.clone()) {
            return Err(format!("the id `{id}`"));
        }
        short(&row.text("title")?, most, "a title")?;
        row.end()?;
    }
    Ok(())
}

fn short(text: &str, most: usize, what: &str) -> Result<(), String> {
    match (1..=most).contains(&text.chars().count()) {
        true => Ok(()),
        false => Err(format!("{what} has {} characters, 1 to {most} are allowed", text.chars().count())),
    }
}
