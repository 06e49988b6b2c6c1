//! What a message of each kind has: one list, from which a run reads its calls, and a look at a script's text too.

use serde_json::{Map, Value};

use crate::model::message::{Contact, Content, Media, Source};

/// The fields that a kind is made of.
pub fn names(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &["text"],
        "link" => &["url", "caption", "title", "description", "thumbnail", "high_quality", "preview", "track"],
        "image" => &["source", "caption", "view_once", "hd"],
        "file" => &["source", "caption", "name"],
        "video" => &["source", "caption", "view_once", "hd", "gif", "note"],
        "audio" | "voice" | "sticker" => &["source"],
        "location" => &["latitude", "longitude", "name", "address"],
        "contact" => &["name", "phone", "organization", "contacts"],
        "poll" => &["question", "options", "max_answers"],
        "reaction" => &["message", "emoji", "own"],
        "template" => &["name", "language", "components", "variables"],
        _ => &[],
    }
}

/// Where the fields of a message are read from: the map of a call that runs, or a call as it is written, which has
/// stand-ins for what only a run knows. `what` is what a field is called to people.
pub trait Fields {
    /// Why there is no message.
    type Wrong;

    /// What a text message says.
    fn words(&mut self, name: &str) -> Result<String, Self::Wrong>;
    /// A text that must be there.
    fn must(&mut self, name: &str, what: &str) -> Result<String, Self::Wrong>;
    /// A text.
    fn text(&mut self, name: &str) -> Result<Option<String>, Self::Wrong>;
    /// True or false.
    fn flag(&mut self, name: &str) -> Result<Option<bool>, Self::Wrong>;
    /// A web address that must be there.
    fn link(&mut self, name: &str, what: &str) -> Result<String, Self::Wrong>;
    /// A web address.
    fn maybe_link(&mut self, name: &str) -> Result<Option<String>, Self::Wrong>;
    /// Whether clicks are to be counted.
    fn track(&mut self, name: &str) -> Result<Option<bool>, Self::Wrong>;
    /// Degrees between `-most` and `most`.
    fn degrees(&mut self, name: &str, most: f64) -> Result<f64, Self::Wrong>;
    /// The contacts of a list, or the one that the call's own fields are.
    fn contacts(&mut self, list: &str) -> Result<Vec<Contact>, Self::Wrong>;
    /// Answers to choose from, all different.
    fn answers(&mut self, name: &str) -> Result<Vec<String>, Self::Wrong>;
    /// A number from 1, which it is where nothing is said, to `most`.
    fn count(&mut self, name: &str, most: usize) -> Result<u32, Self::Wrong>;
    /// An emoji; an empty one takes a mark back.
    fn emoji(&mut self, name: &str) -> Result<String, Self::Wrong>;
    /// A list of maps.
    fn list(&mut self, name: &str) -> Result<Vec<Value>, Self::Wrong>;
    /// A map.
    fn map(&mut self, name: &str) -> Result<Map<String, Value>, Self::Wrong>;
    /// A file: an address, or a copy of one below the workspace.
    fn file(&mut self, name: &str) -> Result<Source, Self::Wrong>;
}

/// Reads a message of a kind; none where there is no such kind.
///
/// # Errors
/// As the fields say.
pub fn read<F: Fields>(kind: &str, from: &mut F) -> Result<Option<Content>, F::Wrong> {
    Ok(Some(match kind {
        "text" => Content::Text { text: from.words("text")? },
        "link" => link(from)?,
        "location" => Content::Location {
            latitude: from.degrees("latitude", 90.0)?,
            longitude: from.degrees("longitude", 180.0)?,
            name: from.text("name")?,
            address: from.text("address")?,
        },
        "contact" => Content::Contact { contacts: from.contacts("contacts")? },
        "poll" => {
            let (question, answers) = (from.must("question", "question")?, from.answers("options")?);
            let max_answers = from.count("max_answers", answers.len())?;
            Content::Poll { question, answers, max_answers }
        }
        "reaction" => Content::Reaction {
            message: from.must("message", "message (the gateway's id of it)")?,
            emoji: from.emoji("emoji")?,
            own: from.flag("own")?.unwrap_or(false),
        },
        "template" => Content::Template {
            name: from.must("name", "name of the template")?,
            language: from.text("language")?,
            components: from.list("components")?,
            variables: from.map("variables")?,
        },
        kind => {
            let media = Media {
                source: from.file("source")?,
                caption: from.text("caption")?,
                name: from.text("name")?,
                view_once: from.flag("view_once")?,
                hd: from.flag("hd")?,
                gif: from.flag("gif")?,
                note: from.flag("note")?,
            };
            return Ok(Content::of_media(kind, media));
        }
    }))
}

fn link<F: Fields>(from: &mut F) -> Result<Content, F::Wrong> {
    let url = from.link("url", "link")?;
    let thumbnail = from.maybe_link("thumbnail")?;
    let track = from.track("track")?;
    Ok(Content::Link {
        url,
        caption: from.text("caption")?,
        title: from.text("title")?,
        description: from.text("description")?,
        thumbnail,
        high_quality: from.flag("high_quality")?,
        preview: from.flag("preview")?,
        track,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;

    /// Notes what it is asked for.
    #[derive(Default)]
    struct Asked(BTreeSet<String>);

    impl Asked {
        fn note<T>(&mut self, name: &str, value: T) -> Result<T, Infallible> {
            self.0.insert(name.to_owned());
            Ok(value)
        }
    }

    impl Fields for Asked {
        type Wrong = Infallible;

        fn words(&mut self, name: &str) -> Result<String, Infallible> {
            self.note(name, String::new())
        }
        fn must(&mut self, name: &str, _: &str) -> Result<String, Infallible> {
            self.note(name, String::new())
        }
        fn text(&mut self, name: &str) -> Result<Option<String>, Infallible> {
            self.note(name, None)
        }
        fn flag(&mut self, name: &str) -> Result<Option<bool>, Infallible> {
            self.note(name, None)
        }
        fn link(&mut self, name: &str, _: &str) -> Result<String, Infallible> {
            self.note(name, String::new())
        }
        fn maybe_link(&mut self, name: &str) -> Result<Option<String>, Infallible> {
            self.note(name, None)
        }
        fn track(&mut self, name: &str) -> Result<Option<bool>, Infallible> {
            self.note(name, None)
        }
        fn degrees(&mut self, name: &str, _: f64) -> Result<f64, Infallible> {
            self.note(name, 0.0)
        }
        fn contacts(&mut self, list: &str) -> Result<Vec<Contact>, Infallible> {
            for name in ["name", "phone", "organization"] {
                self.note(name, ())?;
            }
            self.note(list, Vec::new())
        }
        fn answers(&mut self, name: &str) -> Result<Vec<String>, Infallible> {
            self.note(name, Vec::new())
        }
        fn count(&mut self, name: &str, _: usize) -> Result<u32, Infallible> {
            self.note(name, 1)
        }
        fn emoji(&mut self, name: &str) -> Result<String, Infallible> {
            self.note(name, String::new())
        }
        fn list(&mut self, name: &str) -> Result<Vec<Value>, Infallible> {
            self.note(name, Vec::new())
        }
        fn map(&mut self, name: &str) -> Result<Map<String, Value>, Infallible> {
            self.note(name, Map::new())
        }
        fn file(&mut self, name: &str) -> Result<Source, Infallible> {
            self.note(name, Source::Url { url: String::new() })
        }
    }

    #[test]
    fn what_may_be_given_is_read() {
        let mut of_files = BTreeSet::new();
        for kind in Content::KINDS {
            let mut asked = Asked::default();
            let Ok(content) = read(kind, &mut asked);
            let content = content.unwrap();
            assert_eq!(content.kind(), kind);
            let named: BTreeSet<String> = names(kind).iter().map(ToString::to_string).collect();
            match content.media() {
                // All that files may have is read of each of them; what one may have says its list.
                Some(_) => {
                    assert!(named.is_subset(&asked.0), "{kind}: {named:?}");
                    of_files.extend(asked.0.into_iter().filter(|name| !named.contains(name)));
                }
                None => assert_eq!(named, asked.0, "{kind}"),
            }
        }
        for name in of_files {
            assert!(Content::KINDS.iter().any(|kind| names(kind).contains(&name.as_str())), "no kind has `{name}`");
        }
    }
}
