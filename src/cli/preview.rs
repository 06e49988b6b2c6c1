//! `postrider preview`: what WhatsApp makes of a link. Needs no running engine.

use std::time::Duration;

use super::Failure;
use super::client::Place;
use super::table::say;
use crate::app::Workspace;
use crate::config::Flags;
use crate::fetch::Fetch;
use crate::preview::{Preview, Weight, look};

/// For each of the page, its robots.txt and its picture.
const TIME: Duration = Duration::from_secs(15);

pub fn preview(place: &Place, url: &str) -> Result<(), Failure> {
    // Without settings that can be read only public addresses are looked at.
    let settings = Workspace::open(&place.root, Flags::default(), std::env::vars()).ok();
    let allowed = settings.map(|workspace| workspace.settings.allowed).unwrap_or_default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let fetch = Fetch::new(allowed)?;
    let preview = runtime.block_on(look(&fetch, url, TIME));
    let value = serde_json::to_value(&preview).map_err(|error| error.to_string())?;
    place.print(&value, |_| show(&preview));
    match preview.findings.iter().any(|finding| finding.weight == Weight::Error) {
        true => Err(Failure::Reported),
        false => Ok(()),
    }
}

fn show(preview: &Preview) {
    say(format_args!("{:12} {}", "link", preview.url));
    let card = &preview.card;
    for (name, value) in [
        ("leads to", preview.leads_to.as_deref()),
        ("title", card.title.as_deref()),
        ("description", card.description.as_deref()),
        ("picture", card.image.as_deref()),
        ("site", card.site.as_deref()),
    ] {
        if let Some(value) = value {
            say(format_args!("{name:12} {value}"));
        }
    }
    say(format_args!(""));
    for finding in &preview.findings {
        let word = match finding.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        say(format_args!("{word}: {} ({})", finding.message, finding.hint));
    }
}
