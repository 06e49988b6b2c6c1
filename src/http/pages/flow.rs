//! One flow: its file, what is live, and the editor.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};

use super::actions::{Fields, failed};
use super::look::Look;
use super::source::{Line, lines};
use super::{Asked, Frame, Note, Page, drawn, drawn_as, go};
use crate::http::House;
use crate::http::api::flows::{find, start};
use crate::http::editor::file_of;
use crate::http::error::Refused;
use crate::json::mistake;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::store::records::OccurrenceFilter;
use crate::view::{DueRow, FlowRow, FlowSource, OccurrenceRow, RunList, RunWish, hash_of, words};

/// Something to begin with.
pub struct Template {
    /// How it is asked for.
    pub key: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it does.
    pub about: &'static str,
    /// A chat in small: whether we say it, what, and when.
    pub chat: &'static [(bool, &'static str, &'static str)],
    /// The file.
    pub text: &'static str,
}

/// What a new flow may begin with.
pub const TEMPLATES: &[Template] = &[
    Template {
        key: "reminder",
        title: "A reminder",
        about: "At a time that you choose, to one or many",
        chat: &[(true, "Good morning! Today is Monday.", "09:00")],
        text: include_str!("../../../flows/morning-reminder.yaml"),
    },
    Template {
        key: "order",
        title: "Thanks for an order",
        about: "Your web shop tells us, the customer gets a message",
        chat: &[(true, "Thank you, Ada! Your order has arrived.", "10:14")],
        text: include_str!("../../../flows/order-received.yaml"),
    },
    Template {
        key: "ask",
        title: "Ask somebody",
        about: "Wait for yes or no, for days if it must be",
        chat: &[(true, "May Ada buy a chair?", "10:14"), (false, "yes!", "10:20")],
        text: include_str!("examples/ask.yaml"),
    },
    Template {
        key: "follow-up",
        title: "Follow up",
        about: "Two days later: is all well?",
        chat: &[(true, "Did the oven arrive in one piece?", "Wed"), (false, "All fine 👍", "Wed")],
        text: include_str!("examples/follow-up.yaml"),
    },
    Template {
        key: "table",
        title: "A list from a table",
        about: "One message for each row of a CSV file",
        chat: &[(true, "Hello Ada, your parcel is here", "10:14"), (true, "Hello Chloé, your parcel is here", "10:14")],
        text: include_str!("../../../flows/csv-inbox.yaml"),
    },
    Template {
        key: "answer",
        title: "Answer a word",
        about: "Somebody writes “open”, the flow answers",
        chat: &[(false, "open?", "10:14"), (true, "Monday to Saturday, 9 to 18", "10:14")],
        text: include_str!("examples/answer.yaml"),
    },
    Template {
        key: "birthdays",
        title: "Birthdays",
        about: "From a table, each morning",
        chat: &[(true, "Happy birthday! 🎂", "08:30")],
        text: include_str!("examples/birthdays.yaml"),
    },
    Template {
        key: "empty",
        title: "An empty page",
        about: "Begin with three lines",
        chat: &[],
        text: include_str!("examples/empty.yaml"),
    },
];

#[derive(askama::Template)]
#[template(path = "flow.html")]
struct FlowPage {
    frame: Frame,
    flow: FlowRow,
    source: Result<FlowSource, String>,
    lines: Vec<Line>,
    shows: String,
    values: Vec<(String, String)>,
    runs: RunList,
    due: Vec<DueRow>,
    past: Vec<OccurrenceRow>,
}

#[derive(askama::Template)]
#[template(path = "edit.html")]
struct Edit {
    frame: Frame,
    /// The flow, if it is one by now.
    name: Option<String>,
    file: String,
    /// The name that a new one is to get.
    called: Option<String>,
    text: String,
    hash: String,
    findings: Vec<Diagnostic>,
    /// What the file holds by now, if that is something else.
    theirs: Option<String>,
}

#[derive(askama::Template)]
#[template(path = "new.html")]
struct New {
    frame: Frame,
    examples: &'static [Template],
}

/// A flow's page, or its editor.
pub async fn page(State(house): State<Arc<House>>, Path(path): Path<String>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["view"])?;
    let known = house.view.catalog.borrow().flow(&path).is_some();
    match path.strip_suffix("/edit").filter(|_| !known) {
        Some(name) => editor(&house, &asked, name).await,
        None => one(&house, &asked, &path).await,
    }
}

async fn one(house: &House, asked: &Asked, name: &str) -> Page {
    let view = &house.view;
    let Some(flow) = view.flow(name).await? else {
        return Err(find(&view.catalog.borrow(), name).err().unwrap_or_else(|| Refused::busy("look again")));
    };
    let source = view.source(name).await.unwrap_or_else(|| Err("the flow is gone".into()));
    let shows = asked.query.text("view").unwrap_or_default();
    let findings: Vec<Diagnostic> = view.catalog.borrow().findings.clone();
    let lines = match &source {
        Ok(source) => {
            let live = source.live_text.as_deref().unwrap_or(&source.text);
            let (text, findings) =
                if shows == "live" { (live, &[][..]) } else { (source.text.as_str(), &findings[..]) };
            lines(&source.file, text, findings, &[])
        }
        Err(_) => Vec::new(),
    };
    let mut values = Vec::new();
    if shows == "values" {
        let now = view.clock.now();
        for key in view.store.kv_keys(name, "", now).await?.into_iter().take(500) {
            if let Some(value) = view.store.kv_get(name, &key, now).await? {
                values.push((key, value.to_string()));
            }
        }
    }
    let wish = RunWish { flow: Some(name.to_owned()), limit: 8, ..RunWish::default() };
    let past = OccurrenceFilter { flow: Some(name.to_owned()), limit: 60, ..OccurrenceFilter::default() };
    let mut due = view.next(asked.look.now, None, 400);
    due.retain(|due| due.flow == name);
    due.truncate(3);
    let page = FlowPage {
        frame: Frame::of(house, asked, "flows", name).await?,
        runs: view.runs(wish).await?,
        past: view.occurrences(past).await?,
        source,
        lines,
        shows,
        values,
        due,
        flow,
    };
    drawn(&page)
}

async fn editor(house: &House, asked: &Asked, name: &str) -> Page {
    let source = match house.view.source(name).await {
        Some(Ok(source)) => source,
        Some(Err(why)) => return Err(Refused::new(StatusCode::CONFLICT, "file", why)),
        None => {
            return Err(find(&house.view.catalog.borrow(), name).err().unwrap_or_else(|| Refused::busy("look again")));
        }
    };
    let findings = house.view.check(source.file.clone(), source.text.clone()).await;
    drawn(&Edit {
        frame: Frame::of(house, asked, "flows", format!("Editing {name}")).await?,
        name: Some(name.to_owned()),
        file: source.file,
        called: None,
        text: source.text,
        hash: source.hash,
        findings,
        theirs: None,
    })
}

/// What is done with a flow: its file is saved, or it is started.
pub async fn act(
    State(house): State<Arc<House>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    fields: Fields,
) -> Page {
    if let Some(name) = path.strip_suffix("/start") {
        let back = format!("/flows/{name}");
        let wish = match fields.get("data").map(str::trim).filter(|data| !data.is_empty()) {
            None => serde_json::json!({}),
            Some(data) => match serde_json::from_str::<serde_json::Value>(data) {
                Ok(data) => serde_json::json!({ "data": data }),
                Err(error) => {
                    let why = Refused::bad(mistake("the event", data.as_bytes(), &error));
                    return Ok(failed(&house, &back, "It was not started", &why, data));
                }
            },
        };
        return Ok(match start(&house, name, &wish).await {
            Ok(run) => go(&format!("/runs/{run}")),
            Err(why) => failed(&house, &back, "It was not started", &why, ""),
        });
    }
    let Some(name) = path.strip_suffix("/edit") else {
        return Err(Refused::missing(format!("a flow has no `{path}`")));
    };
    let asked = Asked::of(&house, &headers, &uri, &[])?;
    let file = find(&house.view.catalog.borrow(), name)?.file.clone();
    save(&house, &asked, Some(name.to_owned()), file.to_string(), &fields).await
}

/// Checks or saves a text, and shows what came of it.
async fn save(house: &House, asked: &Asked, name: Option<String>, file: String, fields: &Fields) -> Page {
    let (text, hash) = (fields.get("text").unwrap_or_default(), fields.get("hash").unwrap_or_default());
    let text = text.replace("\r\n", "\n");
    let findings = house.view.check(file.clone(), text.clone()).await;
    let mistakes = findings.iter().any(|finding| finding.severity == Severity::Error);
    let only_checks = fields.get("do") == Some("check") || (mistakes && fields.get("do") != Some("anyway"));
    let mut page = Edit {
        frame: Frame::of(house, asked, "flows", format!("Editing {}", name.as_deref().unwrap_or(&file))).await?,
        name: name.clone(),
        file: file.clone(),
        called: None,
        text: text.clone(),
        hash: hash.to_owned(),
        findings,
        theirs: None,
    };
    if only_checks {
        page.frame.note = not_saved(fields);
        return drawn(&page);
    }
    match house.editor.save(&house.view, &file, &text, Some(hash)).await {
        Ok(_) => {
            let title = format!("{file} is saved");
            let text = match mistakes {
                true => "It has a mistake: what was live before goes on working.",
                false => "The new version is live in a moment. Runs under way keep the version that they began with.",
            };
            let tone = if mistakes { "wait" } else { "ok" };
            let note = Note { tone, title, text: text.into(), typed: String::new() };
            let place = name.map_or("/flows".to_owned(), |name| format!("/flows/{name}"));
            Ok(go(&format!("{place}?note={}", house.notes.keep(note))))
        }
        Err(why) => {
            let theirs = kept(house, &file).await.ok().flatten();
            page.hash = theirs.as_deref().map(hash_of).unwrap_or_default();
            page.theirs = theirs.filter(|theirs| *theirs != text);
            page.frame.note = Some(Note {
                tone: "fail",
                title: super::look::capital(why.message()),
                text: "Nothing was written, and your text is still here.".into(),
                typed: String::new(),
            });
            drawn_as(why.status(), &page)
        }
    }
}

/// What is told to somebody who wanted to save a text with a mistake.
fn not_saved(fields: &Fields) -> Option<Note> {
    (fields.get("do") == Some("save")).then(|| Note {
        tone: "fail",
        title: "Not saved: there is a mistake".into(),
        text: "Mend it, or save it anyway: what was live before goes on working.".into(),
        typed: String::new(),
    })
}

/// A file of `flows/` that was never live.
pub async fn file(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["path"])?;
    let file = asked.query.text("path").unwrap_or_default();
    let text = read(&house, &file).await?;
    let findings = house.view.check(file.clone(), text.clone()).await;
    drawn(&Edit {
        frame: Frame::of(&house, &asked, "flows", format!("Editing {file}")).await?,
        name: None,
        hash: hash_of(&text),
        called: None,
        findings,
        file,
        text,
        theirs: None,
    })
}

/// The same, saved.
pub async fn save_file(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri, fields: Fields) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["path"])?;
    let file = asked.query.text("path").unwrap_or_default();
    read(&house, &file).await?;
    save(&house, &asked, None, file, &fields).await
}

/// A flow's file. Only files that the engine has found are read.
async fn read(house: &House, file: &str) -> Result<String, Refused> {
    let known = {
        let catalog = house.view.catalog.borrow();
        file.starts_with("flows/") && catalog.findings.iter().any(|finding| finding.file == file)
            || catalog.flows.values().any(|flow| *flow.file == *file)
    };
    let missing = || Refused::missing(format!("there is no file {file} that has a mistake"));
    if !known {
        return Err(missing());
    }
    kept(house, file).await.map_err(Refused::bad)?.ok_or_else(missing)
}

/// A flow file's text as it is now.
async fn kept(house: &House, file: &str) -> Result<Option<String>, String> {
    let (files, file) = (house.view.files.clone(), file.to_owned());
    let text = tokio::task::spawn_blocking(move || files.text_if_there(&file)).await;
    text.map_err(|error| error.to_string())?
}

/// What a new flow may begin with; with one of them, its text.
pub async fn new(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["use"])?;
    let frame = Frame::of(&house, &asked, "flows", "New flow").await?;
    let Some(example) = asked.query.get("use").and_then(|key| TEMPLATES.iter().find(|known| known.key == key)) else {
        return drawn(&New { frame, examples: TEMPLATES });
    };
    let called = free_name(&house, example.key).await;
    let file = format!("flows/{called}.yaml");
    let findings = house.view.check(file.clone(), example.text.to_owned()).await;
    drawn(&Edit {
        frame,
        name: None,
        file,
        called: Some(called),
        text: example.text.to_owned(),
        hash: String::new(),
        findings,
        theirs: None,
    })
}

/// A name that no flow has yet.
async fn free_name(house: &House, key: &str) -> String {
    let (catalog, files) = (house.view.catalog.borrow().clone(), house.view.files.clone());
    let names = std::iter::once(key.to_owned()).chain((2..1_000).map(|number| format!("{key}-{number}")));
    let names: Vec<String> = names.filter(|name| catalog.flow(name).is_none()).collect();
    let free = move || names.into_iter().find(|name| !files.is_taken(&format!("flows/{name}.yaml")));
    tokio::task::spawn_blocking(free).await.ok().flatten().unwrap_or_else(|| key.to_owned())
}

/// A new flow's file is written.
pub async fn create(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri, fields: Fields) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["use"])?;
    let (called, text) = (fields.get("name").unwrap_or_default(), fields.get("text").unwrap_or_default());
    let text = text.replace("\r\n", "\n");
    let file = file_of(called);
    let path = file.as_ref().map_or("flows/new.yaml".to_owned(), Clone::clone);
    let findings = house.view.check(path.clone(), text.clone()).await;
    let mistakes = findings.iter().any(|finding| finding.severity == Severity::Error);
    let mut page = Edit {
        frame: Frame::of(&house, &asked, "flows", "New flow").await?,
        name: None,
        file: path,
        called: Some(called.trim().to_owned()),
        text: text.clone(),
        hash: String::new(),
        findings,
        theirs: None,
    };
    if fields.get("do") == Some("check") || (file.is_ok() && mistakes && fields.get("do") != Some("anyway")) {
        page.frame.note = not_saved(&fields);
        return drawn(&page);
    }
    let saved = match file {
        Ok(file) => house.editor.save(&house.view, &file, &text, None).await.map(|_| file),
        Err(why) => Err(why),
    };
    match saved {
        Ok(file) => {
            until_live(&house, &file).await;
            let title = format!("{file} is saved");
            let text = "It is live, and can be started at once.".to_owned();
            let note = Note { tone: "ok", title, text, typed: String::new() };
            let place = if mistakes { "/flows".to_owned() } else { format!("/flows/{}", called.trim()) };
            Ok(go(&format!("{place}?note={}", house.notes.keep(note))))
        }
        Err(why) => {
            page.frame.note = Some(Note {
                tone: "fail",
                title: super::look::capital(why.message()),
                text: why.remedy().map(super::look::capital).unwrap_or_default(),
                typed: String::new(),
            });
            drawn_as(why.status(), &page)
        }
    }
}

/// Waits for a moment until a new file is live: its page is shown next.
async fn until_live(house: &House, file: &str) {
    let mut catalog = house.view.catalog.clone();
    let live = catalog.wait_for(|catalog| {
        let found = catalog.findings.iter().any(|finding| finding.file == file && finding.severity == Severity::Error);
        found || catalog.flows.values().any(|flow| *flow.file == *file)
    });
    // If it takes longer, the page says so.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), live).await;
}

impl FlowPage {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn mistakes(&self) -> String {
        let here = self.source.as_ref().map_or("", |source| source.file.as_str());
        let own: Vec<_> = self.lines.iter().flat_map(|line| &line.findings).collect();
        let mistakes = own.iter().filter(|finding| finding.mistake).count() as u64;
        let hints = own.len() as u64 - mistakes;
        let mut said = Vec::new();
        if mistakes > 0 {
            said.push(words::many(mistakes, "mistake", "mistakes"));
        }
        if hints > 0 {
            said.push(words::many(hints, "hint", "hints"));
        }
        if said.is_empty() && !here.is_empty() { "no mistakes".into() } else { said.join(", ") }
    }

    fn first_mistake(&self) -> Option<&Diagnostic> {
        self.flow
            .diagnostics
            .iter()
            .find(|finding| finding.severity == Severity::Error)
            .or(self.flow.diagnostics.first())
    }

    fn past_said(&self) -> String {
        let count = |fates: &[&str]| {
            self.past
                .iter()
                .filter(|row| fates.contains(&row.fate))
                .map(|row| u64::from(row.count.unwrap_or(1)))
                .sum::<u64>()
        };
        let (ran, late, not) =
            (count(&["ran"]), count(&["late", "coalesced"]), count(&["too_late", "down", "skipped"]));
        let all = ran + late + not;
        match all {
            0 => "It has not been due yet.".into(),
            _ => format!(
                "{} due lately: {ran} on time, {late} late, {not} did not run.",
                words::many(all, "time", "times")
            ),
        }
    }
}

impl Edit {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn weighed(&self) -> String {
        weighed(&self.findings)
    }

    fn mistakes(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    fn class_of(&self, number: &usize) -> &'static str {
        let own = self.findings.iter().filter(|finding| finding.line as usize == *number);
        match own.map(|finding| finding.severity == Severity::Error).max() {
            Some(true) => "bad",
            Some(false) => "warn",
            None => "",
        }
    }

    fn rows(&self) -> usize {
        self.text.lines().count().max(12) + 1
    }
}

/// How many mistakes and hints there are, in words.
pub fn weighed(findings: &[Diagnostic]) -> String {
    let mistakes = findings.iter().filter(|finding| finding.severity == Severity::Error).count() as u64;
    let hints = findings.len() as u64 - mistakes;
    match (mistakes, hints) {
        (0, 0) => "no mistakes".into(),
        (0, hints) => format!("no mistakes, {}", words::many(hints, "hint", "hints")),
        (mistakes, 0) => words::many(mistakes, "mistake", "mistakes"),
        (mistakes, hints) => {
            format!("{}, {}", words::many(mistakes, "mistake", "mistakes"), words::many(hints, "hint", "hints"))
        }
    }
}
