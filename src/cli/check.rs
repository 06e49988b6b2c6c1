//! `check`: settings, flows and scripts, by the same code that `run` reads them with.

use std::path::Path;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, SourceOffset};
use serde_json::json;

use super::Failure;
use super::client::Place;
use super::table::say;
use crate::app::Workspace;
use crate::config::Flags;
use crate::model::diagnostic::{Diagnostic, Severity};

pub fn check(place: &Place) -> Result<(), Failure> {
    let (findings, flows) = match Workspace::open(&place.root, Flags::default(), std::env::vars()) {
        Err(findings) => (findings, 0),
        Ok(workspace) => {
            let catalog = workspace.catalog()?;
            (catalog.findings, catalog.flows.len())
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

/// Prints findings to standard error, each with the lines around its place.
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
        let mut said = MietteDiagnostic::new(format!("{place}: {}", finding.message)).with_severity(severity);
        said.help.clone_from(&finding.hint);
        let text = (finding.line > 0).then(|| std::fs::read_to_string(root.join(&finding.file)).ok()).flatten();
        let report = match text {
            Some(text) => {
                let at = SourceOffset::from_location(&text, finding.line as usize, finding.column.max(1) as usize);
                let label = LabeledSpan::at_offset(at.offset(), "here");
                Report::new(said.with_label(label)).with_source_code(NamedSource::new(&finding.file, text))
            }
            None => Report::new(said),
        };
        eprintln!("{report:?}");
    }
}
