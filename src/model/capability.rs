//! What a transport can do, as data, and what becomes of a wish that it cannot fulfil.

use super::delivery::{Degraded, ErrorClass, SendError};
use super::message::{Body, Content};
use super::policy::OnUnsupported;
use super::recipient::Recipient;

/// What one transport can do.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Capabilities {
    /// Message kinds, each with the options that the gateway has a field for.
    pub kinds: &'static [(&'static str, &'static [&'static str])],
    /// Kinds of address: `phone`, `group`, `newsletter`, `lid`.
    pub addresses: &'static [&'static str],
    /// Requests that may be under way at once.
    pub in_flight: u32,
}

impl Capabilities {
    /// Whether it has a field for `option` on messages of this `kind`.
    pub fn has(&self, kind: &str, option: &str) -> bool {
        self.kinds.iter().any(|(name, options)| *name == kind && options.contains(&option))
    }

    /// # Errors
    /// A sentence, when the gateway has no way to address such a recipient.
    pub fn addresses(&self, to: &Recipient) -> Result<(), String> {
        let (kind, noun) = match to {
            Recipient::Phone(_) => ("phone", "a phone"),
            Recipient::Group(_) => ("group", "a group"),
            Recipient::Newsletter(_) => ("newsletter", "a channel"),
            Recipient::Lid(_) => ("lid", "a hidden identity"),
        };
        if self.addresses.contains(&kind) {
            return Ok(());
        }
        Err(format!("`{to}` is {noun}, which this gateway cannot address"))
    }

    /// Fits a message to the gateway: wishes without a field are emulated, left out or refused
    /// as `policy` says, and each change is recorded. Privacy wishes (`view_once`, `disappear`)
    /// are refused unless the policy is to drop.
    ///
    /// # Errors
    /// [`ErrorClass::Unsupported`] with the name of the wish.
    pub fn adapt(&self, mut body: Body, policy: OnUnsupported) -> Result<(Body, Vec<Degraded>), SendError> {
        let mut fit = Fit { capabilities: self, policy, kind: body.content.kind(), degraded: Vec::new() };
        if self.kinds.iter().all(|(kind, _)| *kind != fit.kind) {
            return Err(fit.refuse(fit.kind));
        }
        fit.content(&mut body.content)?;
        let options = &mut body.options;
        fit.wish("reply_to", options.reply_to.is_some(), || options.reply_to = None)?;
        fit.wish("forwarded", options.forwarded, || options.forwarded = false)?;
        fit.private("disappear", options.disappear.is_some(), || options.disappear = None)?;
        fit.wish("mentions", !options.mentions.is_empty(), || options.mentions.clear())?;
        fit.wish("recipient_name", options.recipient_name.is_some(), || options.recipient_name = None)?;
        Ok((body, fit.degraded))
    }
}

struct Fit<'a> {
    capabilities: &'a Capabilities,
    policy: OnUnsupported,
    kind: &'static str,
    degraded: Vec<Degraded>,
}

impl Fit<'_> {
    fn content(&mut self, content: &mut Content) -> Result<(), SendError> {
        match content {
            Content::Text { .. } => Ok(()),
            Content::Link { url, caption, title, description, thumbnail, high_quality, preview } => {
                self.card_as_words(caption, title, description)?;
                self.wish("thumbnail", thumbnail.is_some(), || *thumbnail = None)?;
                self.wish("high_quality", high_quality.is_some(), || *high_quality = None)?;
                if preview.is_some() && !self.capabilities.has("link", "preview") {
                    let off = *preview == Some(false);
                    self.record("preview", if off { "sent as text" } else { "left out" })?;
                    *preview = None;
                    if off {
                        let text = match caption.take() {
                            Some(caption) => format!("{caption}\n{url}"),
                            None => std::mem::take(url),
                        };
                        *content = Content::Text { text };
                        self.kind = "text";
                    }
                }
                Ok(())
            }
            Content::Image { caption, view_once, hd, .. } => {
                self.wish("caption", caption.is_some(), || *caption = None)?;
                self.private("view_once", view_once.is_some(), || *view_once = None)?;
                self.wish("hd", hd.is_some(), || *hd = None)
            }
            Content::File { caption, name, .. } => {
                self.wish("caption", caption.is_some(), || *caption = None)?;
                self.wish("name", name.is_some(), || *name = None)
            }
        }
    }

    /// Title and description of a card become lines of the caption where cards cannot be made.
    fn card_as_words(
        &mut self,
        caption: &mut Option<String>,
        title: &mut Option<String>,
        description: &mut Option<String>,
    ) -> Result<(), SendError> {
        let mut lines = Vec::new();
        for (field, value) in [("title", title), ("description", description)] {
            if value.is_none() || self.capabilities.has("link", field) {
                continue;
            }
            let words = value.take().unwrap_or_default();
            if self.policy == OnUnsupported::Emulate {
                self.record(field, "written into the caption")?;
                lines.push(if field == "title" { format!("*{words}*") } else { words });
            } else {
                self.record(field, "left out")?;
            }
        }
        if !lines.is_empty() {
            lines.extend(caption.take());
            *caption = Some(lines.join("\n"));
        }
        Ok(())
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::SendOptions;

    const PLAIN: Capabilities = Capabilities {
        kinds: &[("text", &[]), ("link", &["caption"]), ("image", &["caption"])],
        addresses: &["phone"],
        in_flight: 1,
    };

    fn link() -> Body {
        Body {
            content: Content::Link {
                url: "https://a.example".into(),
                caption: Some("look".into()),
                title: Some("Title".into()),
                description: Some("Words".into()),
                thumbnail: None,
                high_quality: None,
                preview: None,
            },
            options: SendOptions { reply_to: Some("X".into()), ..SendOptions::default() },
        }
    }

    #[test]
    fn a_card_becomes_words_and_each_change_is_recorded() {
        let (body, degraded) = PLAIN.adapt(link(), OnUnsupported::Emulate).unwrap();
        let Content::Link { caption, title, .. } = body.content else { panic!("still a link") };
        assert_eq!((caption.as_deref(), title), (Some("*Title*\nWords\nlook"), None));
        let fields: Vec<_> = degraded.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["title", "description", "reply_to"]);
    }

    #[test]
    fn strict_refuses_and_privacy_is_never_dropped_by_itself() {
        assert_eq!(PLAIN.adapt(link(), OnUnsupported::Strict).unwrap_err().class, ErrorClass::Unsupported);
        let mut secret = link();
        secret.options.disappear = Some(86_400);
        assert!(PLAIN.adapt(secret.clone(), OnUnsupported::Emulate).is_err());
        let (body, degraded) = PLAIN.adapt(secret, OnUnsupported::Drop).unwrap();
        assert_eq!(body.options.disappear, None);
        assert!(degraded.iter().any(|change| change.field == "disappear"));
    }

    #[test]
    fn a_link_without_preview_is_text() {
        let mut body = link();
        if let Content::Link { preview, .. } = &mut body.content {
            *preview = Some(false);
        }
        let (body, _) = PLAIN.adapt(body, OnUnsupported::Emulate).unwrap();
        assert_eq!(body.content, Content::Text { text: "*Title*\nWords\nlook\nhttps://a.example".into() });
    }
}
