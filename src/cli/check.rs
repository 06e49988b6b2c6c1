//! `check`: settings, flows and scripts, by the same code that `run` reads them with.

use std::path::Path;

use miette::{
    LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, Report, SourceCode, SourceSpan, SpanContents,
};
use serde_json::json;

use super::Failure;
use super::client::Place;
use super::table::say;
use crate::app::Workspace;
use crate::config::Flags;
use crate::flow::except::{Calendars, Except};
use crate::flow::file::shown::{is_script, shown};
use crate::flow::{Flow, Trigger};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::plain::plain;

pub fn check(place: &Place) -> Result<(), Failure> {
    let (findings, flows) = match Workspace::open(&place.root, Flags::default(), std::env::vars()) {
        Err(findings) => (findings, 0),
        Ok(workspace) => {
            let catalog = workspace.catalog()?;
            let mut findings = catalog.findings;
            let calendars = Calendars::new(workspace.files());
            findings.extend(catalog.flows.values().flat_map(|flow| unread(flow, &calendars)));
            (findings, catalog.flows.len())
        }
    };
    if place.json {
        say(format_args!("{}", json!({ "diagnostics": findings })));
    } else if findings.is_empty() && flows == 0 && !place.root.join("flows").is_dir() {
        say(format_args!("there is no folder flows/ here, so there is nothing to check; `postrider init` makes one"));
    } else if findings.is_empty() {
        say(format_args!("{flows} {} checked, nothing to complain about", if flows == 1 { "flow" } else { "flows" }));
    } else {
        report(&place.root, &findings);
    }
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Err(Failure::Reported),
        false => Ok(()),
    }
}

/// Calendars of a flow that cannot be read, or not in full.
fn unread(flow: &Flow, calendars: &Calendars) -> Vec<Diagnostic> {
    let timed = flow.triggers.iter().filter_map(|trigger| match trigger {
        Trigger::Timed(timed) => Some(timed),
        _ => None,
    });
    let complaint = |except: &Except| match except {
        Except::Calendar { path, place: (line, column) } => {
            calendars.complaint(path).map(|said| Diagnostic::warning(&flow.file, *line, *column, said))
        }
        Except::Days(..) => None,
    };
    timed.flat_map(|timed| timed.except.iter()).filter_map(complaint).collect()
}

/// Prints findings to standard error, each with its place in the file.
pub fn report(root: &Path, findings: &[Diagnostic]) {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let place = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}:{}", finding.file, finding.column.max(1)),
        };
        let message = format!("{place}: {}", finding.message);
        let mut said = MietteDiagnostic::new(plain(&message)).with_severity(severity);
        said.help = finding.hint.as_deref().map(|hint| plain(hint).into_owned());
        let text = (finding.line > 0).then(|| std::fs::read_to_string(root.join(&finding.file)).ok()).flatten();
        let report = match text.and_then(|text| excerpt(finding, &text)) {
            Some((lines, offset)) => {
                Report::new(said.with_label(LabeledSpan::at_offset(offset, "here"))).with_source_code(lines)
            }
            None => Report::new(said),
        };
        eprintln!("{report:?}");
    }
}

/// What may be shown of a file around a finding, and where in it the finding is: of a script the lines
/// around it too, of other files its own line, for what stands around may be a secret.
fn excerpt(finding: &Diagnostic, text: &str) -> Option<(Excerpt, usize)> {
    let script = |number: &u32| is_script(&finding.file, text, *number);
    let own = shown(&finding.file, text, finding.line)?;
    let column = finding.column.max(1) as usize;
    let (own, before) = (own.text(), own.before(column));
    let may = |number: &u32| script(&finding.line) && script(number);
    let around = |number: u32| shown(&finding.file, text, number).filter(|_| may(&number)).map(|line| line.text());
    let above = around(finding.line - 1);
    let lines: Vec<String> =
        above.iter().chain([&own]).chain(&around(finding.line + 1)).map(|line| plain(line).into()).collect();
    let offset = above.as_ref().map_or(0, |above| plain(above).len() + 1) + plain(&before).len();
    let first = finding.line as usize - 1 - above.iter().count();
    Some((Excerpt { file: plain(&finding.file).into(), lines: lines.join("\n"), first, column: column - 1 }, offset))
}

/// Some lines of a file, with their numbers there.
struct Excerpt {
    file: String,
    lines: String,
    first: usize,
    /// Of the finding, in its line as it is written.
    column: usize,
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let here = self.lines.read_span(span, before, after)?;
        let (line, count) = (self.first + here.line(), here.line_count());
        // Without lines around it the finding's own place is asked for, to be named.
        let column = if before + after == 0 { self.column } else { here.column() };
        Ok(Box::new(MietteSpanContents::new_named(self.file.clone(), here.data(), *here.span(), line, column, count)))
    }
}
