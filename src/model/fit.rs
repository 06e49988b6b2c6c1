//! Fits a message to what a gateway can do, and records each difference.

use super::capability::Capabilities;
use super::conversation::numbered;
use super::delivery::{Degraded, ErrorClass, SendError};
use super::message::{Body, Content, Media, SendOptions, Source};
use super::policy::OnUnsupported;
use super::split::split;

/// A message as the gateway can take it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// What is to be sent, in order; most messages are one part.
    pub parts: Vec<Body>,
    /// Which part carries what was meant; its id is the message's.
    pub main: usize,
    /// Wishes that were changed.
    pub degraded: Vec<Degraded>,
}

impl Capabilities {
    /// Fits a message to the gateway: wishes without a field are emulated, left out or refused as
    /// `policy` says, and each change is recorded. Privacy wishes (`view_once`, `disappear`) are
    /// refused unless the policy is to drop. `hosted` says that files can be had from an address
    /// of ours.
    ///
    /// # Errors
    /// [`ErrorClass::Unsupported`] with the name of the wish.
    pub fn adapt(&self, mut body: Body, policy: OnUnsupported, hosted: bool) -> Result<Fitted, SendError> {
        // An account's own policy is not the author's word for this very message.
        let asked = body.options.on_unsupported == Some(OnUnsupported::Emulate);
        let mut fit = Fit {
            capabilities: self,
            policy,
            asked,
            hosted,
            kind: body.content.kind(),
            said: match &body.content {
                Content::Text { text } if !body.options.mentions.is_empty() => text.clone(),
                _ => String::new(),
            },
            before: Vec::new(),
            more: Vec::new(),
            degraded: Vec::new(),
        };
        fit.kind_there(&mut body.content)?;
        fit.content(&mut body.content)?;
        fit.options(&mut body.options)?;
        fit.lengths(&mut body.content)?;
        Ok(fit.finish(body))
    }
}

struct Fit<'a> {
    capabilities: &'a Capabilities,
    policy: OnUnsupported,
    asked: bool,
    hosted: bool,
    kind: &'static str,
    /// The text that mentions may stand in.
    said: String,
    /// Sent before the message.
    before: Vec<Content>,
    /// Sent after it.
    more: Vec<Content>,
    degraded: Vec<Degraded>,
}

fn text(text: impl Into<String>) -> Content {
    Content::Text { text: text.into() }
}

fn lines<'a>(lines: impl IntoIterator<Item = Option<&'a str>>) -> String {
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

impl Fit<'_> {
    /// Turns a kind that the gateway has not into the nearest one that it has.
    fn kind_there(&mut self, content: &mut Content) -> Result<(), SendError> {
        // What a card is made of goes its own ways, whether there are links or not.
        self.link(content)?;
        // A question asks the same in words; whoever asked reckons with answers in words.
        if let Content::Question { text: asked, choices } = content
            && (choices.is_empty() || self.capabilities.kind("question").is_none())
        {
            *content = text(numbered(asked, choices));
            self.kind = "text";
        }
        while self.capabilities.kind(self.kind).is_none() {
            // A link loses nothing as text; everything else becomes something else.
            let harmless = self.kind == "link" && self.policy == OnUnsupported::Drop;
            if self.policy != OnUnsupported::Emulate && !harmless {
                return Err(self.refuse_kind());
            }
            let (instead, action) = self.instead(content).ok_or_else(|| self.refuse_kind())?;
            self.degraded.push(Degraded { field: self.kind.into(), action: action.into() });
            *content = instead;
            self.kind = content.kind();
        }
        Ok(())
    }

    /// What stands in for a kind. A template is its approved wording, and a reaction says nothing
    /// without its message: neither has a stand-in.
    fn instead(&self, content: &Content) -> Option<(Content, &'static str)> {
        Some(match content {
            Content::Link { url, caption, .. } => (text(lines([caption.as_deref(), Some(url)])), "sent as text"),
            Content::Voice(media) if self.capabilities.kind("audio").is_some() => {
                (Content::Audio(media.clone()), "sent as audio")
            }
            Content::Voice(media) | Content::Audio(media) | Content::Video(media) => {
                (Content::File(media.clone()), "sent as a file")
            }
            Content::Location { latitude, longitude, name, address } => {
                let map = format!("https://www.google.com/maps/search/?api=1&query={latitude},{longitude}");
                (text(lines([name.as_deref(), address.as_deref(), Some(&map)])), "sent as text with a map link")
            }
            Content::Contact { contacts } => {
                let takes_file = self.capabilities.kind("file").and_then(|kind| kind.media);
                if takes_file.is_some_and(|intake| intake.bytes > 0 || self.hosted) {
                    let card = contacts.iter().map(|contact| contact.vcard()).collect();
                    let name = contacts.first().map_or("contact", |contact| contact.name.as_str());
                    let source = Source::Inline { file_name: format!("{}.vcf", name.replace('/', "-")), text: card };
                    return Some((Content::File(Media::new(source)), "sent as a vCard file"));
                }
                let each = contacts.iter().map(|contact| format!("{}: {}", contact.name, contact.phone));
                (text(each.collect::<Vec<_>>().join("\n")), "sent as text")
            }
            Content::Poll { question, answers, .. } => {
                let numbered = (1..).zip(answers).map(|(number, option)| format!("{number}. {option}"));
                (text(format!("{question}\n{}", numbered.collect::<Vec<_>>().join("\n"))), "sent as numbered text")
            }
            _ => return None,
        })
    }

    fn content(&mut self, content: &mut Content) -> Result<(), SendError> {
        match content {
            Content::Location { name, address, .. } => {
                if self.capabilities.has("location", "name") {
                    if address.is_some() && !self.capabilities.has("location", "address") {
                        self.record("address", "joined to the name")?;
                        let both: Vec<String> = [name.take(), address.take()].into_iter().flatten().collect();
                        *name = Some(both.join(", "));
                    }
                    return Ok(());
                }
                self.wish("name", name.is_some(), || *name = None)?;
                self.wish("address", address.is_some(), || *address = None)
            }
            Content::Poll { answers, max_answers, .. } => {
                let all = answers.len() as u32;
                if *max_answers == 1 || *max_answers == all || self.capabilities.has("poll", "max_answers") {
                    return Ok(());
                }
                self.record("max_answers", "any number of answers may be chosen")?;
                *max_answers = all;
                Ok(())
            }
            Content::Contact { contacts } => {
                let organization = contacts.iter().any(|contact| contact.organization.is_some());
                self.wish("organization", organization, || {
                    contacts.iter_mut().for_each(|contact| contact.organization = None);
                })?;
                if contacts.len() > 1 && !self.capabilities.has("contact", "several") {
                    self.record("contacts", "sent one by one")?;
                    let rest = contacts.split_off(1);
                    self.more.extend(rest.into_iter().map(|contact| Content::Contact { contacts: vec![contact] }));
                }
                Ok(())
            }
            Content::Template { language, components, variables, .. } => {
                // What fills an approved text in cannot be left out of it.
                for (field, there) in [("components", !components.is_empty()), ("variables", !variables.is_empty())] {
                    if there && !self.capabilities.has("template", field) {
                        return Err(self.refuse(field));
                    }
                }
                self.wish("language", language.is_some(), || *language = None)
            }
            _ => match content.media_mut() {
                Some(media) => self.media(media),
                None => Ok(()),
            },
        }
    }

    fn link(&mut self, content: &mut Content) -> Result<(), SendError> {
        let Content::Link { url, caption, title, description, thumbnail, high_quality, preview, .. } = content else {
            return Ok(());
        };
        // Some make a card only when it is whole; without a preview, or in the caption of a picture,
        // there is none.
        let pictured = thumbnail.is_some() && self.asked && !self.capabilities.has("link", "thumbnail");
        let halved = (self.capabilities.whole_cards && (title.is_none() || description.is_none()))
            || *preview == Some(false)
            || (pictured && self.capabilities.kind("image").is_some());
        self.card_as_words(caption, title, description, halved)?;
        self.wish("high_quality", *high_quality == Some(true), || *high_quality = None)?;
        if let Some(picture) = thumbnail.clone()
            && (halved || !self.capabilities.has("link", "thumbnail"))
        {
            // A link that becomes a picture is another message: only on the author's own word.
            if self.asked && *preview != Some(false) && self.capabilities.kind("image").is_some() {
                self.record("thumbnail", "sent as a picture with the link below it")?;
                let caption = lines([caption.as_deref(), Some(url)]);
                let media = Media { caption: Some(caption), ..Media::new(Source::Url { url: picture }) };
                *content = Content::Image(media);
                self.kind = "image";
                return Ok(());
            }
            self.record("thumbnail", "left out")?;
            *thumbnail = None;
        }
        if preview.is_some() && !self.capabilities.has("link", "preview") {
            let off = *preview == Some(false);
            self.record("preview", if off { "sent as text" } else { "left out" })?;
            *preview = None;
            if off {
                *content = text(lines([caption.as_deref(), Some(url)]));
                self.kind = "text";
                return Ok(());
            }
        }
        if let Some(words) = caption.clone()
            && self.capabilities.kind("link").is_some()
            && !self.capabilities.has("link", "caption")
        {
            if self.policy == OnUnsupported::Emulate {
                self.record("caption", "sent before the link as a message of its own")?;
                self.before.push(text(words));
            } else {
                self.record("caption", "left out")?;
            }
            *caption = None;
        }
        Ok(())
    }

    /// Title and description of a card become lines of the caption where cards cannot be made.
    fn card_as_words(
        &mut self,
        caption: &mut Option<String>,
        title: &mut Option<String>,
        description: &mut Option<String>,
        halved: bool,
    ) -> Result<(), SendError> {
        let mut words = Vec::new();
        for (field, value) in [("title", title), ("description", description)] {
            if value.is_none() || (!halved && self.capabilities.has("link", field)) {
                continue;
            }
            let said = value.take().unwrap_or_default();
            if self.policy == OnUnsupported::Emulate {
                self.record(field, "written into the caption")?;
                words.push(if field == "title" { format!("*{said}*") } else { said });
            } else {
                self.record(field, "left out")?;
            }
        }
        if !words.is_empty() {
            words.extend(caption.take());
            *caption = Some(words.join("\n"));
        }
        Ok(())
    }

    fn media(&mut self, media: &mut Media) -> Result<(), SendError> {
        // A film in a circle has no words below it anywhere.
        let circle = media.note == Some(true) && self.capabilities.has(self.kind, "note");
        if let Some(caption) = media.caption.clone()
            && (circle || !self.capabilities.has(self.kind, "caption"))
        {
            if self.policy == OnUnsupported::Emulate {
                self.record("caption", "sent after it as a message of its own")?;
                self.more.push(text(caption));
            } else {
                self.record("caption", "left out")?;
            }
            media.caption = None;
        }
        self.private("view_once", media.view_once == Some(true), || media.view_once = None)?;
        self.wish("hd", media.hd == Some(true), || media.hd = None)?;
        self.wish("gif", media.gif == Some(true), || media.gif = None)?;
        self.wish("note", media.note == Some(true), || media.note = None)?;
        self.wish("name", media.name.is_some(), || media.name = None)
    }

    fn options(&mut self, options: &mut SendOptions) -> Result<(), SendError> {
        self.wish("reply_to", options.reply_to.is_some(), || options.reply_to = None)?;
        self.wish("forwarded", options.forwarded, || options.forwarded = false)?;
        self.private("disappear", options.disappear.is_some(), || options.disappear = None)?;
        if !options.mentions.is_empty() && !self.capabilities.has(self.kind, "mentions") {
            // `@digits` in the text is how people read a mention anyway.
            let there = |mention: &String| self.said.contains(&format!("@{}", mention.trim_start_matches('+')));
            let all = options.mentions.iter().all(there);
            self.record("mentions", if all { "left as they stand in the text" } else { "left out" })?;
            options.mentions.clear();
        }
        self.wish("recipient_name", options.recipient_name.is_some(), || options.recipient_name = None)
    }

    /// Splits what is too long.
    fn lengths(&mut self, content: &mut Content) -> Result<(), SendError> {
        if let (Some(most), Some(media)) = (self.capabilities.max_caption, content.media_mut())
            && media.caption.as_ref().is_some_and(|caption| caption.chars().count() > most)
            && let Some(caption) = media.caption.take()
        {
            self.record("caption", "too long for one; sent after it as a message of its own")?;
            self.more.insert(0, text(caption));
        }
        let Some(most) = self.capabilities.max_text else { return Ok(()) };
        let cut = |part: Content| match part {
            Content::Text { text } => split(&text, most).into_iter().map(|text| Content::Text { text }).collect(),
            other => vec![other],
        };
        self.before = std::mem::take(&mut self.before).into_iter().flat_map(cut).collect();
        self.more = std::mem::take(&mut self.more).into_iter().flat_map(cut).collect();
        if matches!(content, Content::Text { text } if text.chars().count() > most) {
            self.record("text", "too long for one message; sent as several")?;
            let mut pieces = cut(content.clone()).into_iter();
            *content = pieces.next().unwrap_or_else(|| text(""));
            self.more.splice(0..0, pieces);
        }
        Ok(())
    }

    fn finish(self, body: Body) -> Fitted {
        let main = self.before.len();
        if main == 0 && self.more.is_empty() {
            return Fitted { parts: vec![body], main, degraded: self.degraded };
        }
        // What belongs to the one message that was meant stays with it; the rest are plain
        // companions that carry only what concerns each of them.
        let companion = SendOptions {
            forwarded: body.options.forwarded,
            disappear: body.options.disappear,
            recipient_name: body.options.recipient_name.clone(),
            on_unsupported: body.options.on_unsupported,
            ..SendOptions::default()
        };
        let capabilities = self.capabilities;
        let with = |content: Content| {
            let mut options = companion.clone();
            // A companion is of another kind, which may have less.
            let kind = content.kind();
            options.forwarded &= capabilities.has(kind, "forwarded");
            options.disappear = options.disappear.filter(|_| capabilities.has(kind, "disappear"));
            options.recipient_name = options.recipient_name.filter(|_| capabilities.has(kind, "recipient_name"));
            Body { content, options }
        };
        let before: Vec<Body> = self.before.into_iter().map(with).collect();
        let mut parts = before;
        parts.push(body);
        parts.extend(self.more.into_iter().map(with));
        Fitted { parts, main, degraded: self.degraded }
    }

    fn wish(&mut self, field: &str, asked: bool, leave_out: impl FnOnce()) -> Result<(), SendError> {
        if asked && !self.capabilities.has(self.kind, field) {
            self.record(field, "left out")?;
            leave_out();
        }
        Ok(())
    }

    fn private(&mut self, field: &str, asked: bool, leave_out: impl FnOnce()) -> Result<(), SendError> {
        if asked && self.policy != OnUnsupported::Drop && !self.capabilities.has(self.kind, field) {
            return Err(self.refuse(field));
        }
        self.wish(field, asked, leave_out)
    }

    fn record(&mut self, field: &str, action: &str) -> Result<(), SendError> {
        if self.policy == OnUnsupported::Strict {
            return Err(self.refuse(field));
        }
        self.degraded.push(Degraded { field: field.into(), action: action.into() });
        Ok(())
    }

    fn refuse(&self, field: &str) -> SendError {
        SendError::new(
            ErrorClass::Unsupported,
            format!("this gateway has no `{field}` for messages of kind `{}`; nothing was sent", self.kind),
        )
    }

    fn refuse_kind(&self) -> SendError {
        let message = format!("this gateway has no messages of kind `{}`; nothing was sent", self.kind);
        SendError::new(ErrorClass::Unsupported, message)
    }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
