//! `init`: a workspace to begin with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::Failure;
use super::client::Place;
use super::table::say;

/// What is written where there is nothing yet. The flows are the examples of this repository.
const FILES: [(&str, &str); 7] = [
    ("postrider.yaml", include_str!("postrider.yaml")),
    ("flows/morning-reminder.yaml", include_str!("../../flows/morning-reminder.yaml")),
    ("flows/order-received.yaml", include_str!("../../flows/order-received.yaml")),
    ("flows/csv-inbox.yaml", include_str!("../../flows/csv-inbox.yaml")),
    ("inbox/.gitkeep", ""),
    (".gitignore", "# What Postrider keeps, and secrets.\n/.postrider/\n.env\n"),
    (
        ".env.example",
        "# Copy this file to .env and fill it in: secrets belong there, and .env is never committed.\n\
         # Flows name them as ${NAME} under `params` and `verify`, settings anywhere.\n\
         #ORDERS_TOKEN=a-long-random-text\n#GOWA_AUTH=user:password\n",
    ),
];

pub fn init(place: &Place) -> Result<(), Failure> {
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    let done = FILES.iter().try_for_each(|(path, text)| {
        let new = write(&place.root.join(path), text).map_err(|error| format!("{path} cannot be written: {error}"))?;
        if new {
            written.push(*path)
        } else {
            kept.push(*path)
        }
        Ok::<(), String>(())
    });
    if place.json {
        say(format_args!("{}", serde_json::json!({ "written": written, "kept": kept })));
        return done.map_err(Failure::Said);
    }
    for path in &written {
        say(format_args!("wrote  {path}"));
    }
    for path in &kept {
        say(format_args!("kept   {path}, which was there already"));
    }
    done?;
    let ignored = fs::read_to_string(place.root.join(".gitignore")).unwrap_or_default();
    for secret in [".postrider/", ".env"] {
        let plain = |line: &str| line.trim().trim_matches('/') == secret.trim_matches('/');
        if !ignored.lines().any(plain) {
            say(format_args!("Add a line `{secret}` to your .gitignore: what is in there is not for others."));
        }
    }
    say(format_args!(""));
    say(format_args!("Now run `postrider run`, and in a second terminal here:"));
    say(format_args!("  postrider trigger morning-reminder    starts a flow by hand"));
    say(format_args!("  postrider sandbox list                shows what arrived on the phones"));
    say(format_args!("Edit a file below flows/ and save it: it is live a moment later."));
    Ok(())
}

/// Writes a file if it is not there, whatever happens meanwhile; says whether it was not.
fn write(file: &Path, text: &str) -> std::io::Result<bool> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut new) => new.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
