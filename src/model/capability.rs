//! What a transport can do, as data.

use serde::Serialize;

use super::recipient::Recipient;

/// What one transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Message kinds that the gateway has.
    pub kinds: &'static [Kind],
    /// Kinds of address that it can send to: `phone`, `group`, `newsletter`, `lid`, `bsuid`.
    pub addresses: &'static [&'static str],
    /// Cards are made by whoever sends: what the author leaves out is ours to find on the page.
    pub cards: bool,
    /// A card needs title and description, or there is none.
    pub whole_cards: bool,
    /// Requests that may be under way at once.
    pub in_flight: u32,
    /// Most characters of a text.
    pub max_text: Option<usize>,
    /// Most characters of a caption.
    pub max_caption: Option<usize>,
    /// People can be written to freely only for 24 hours after they wrote last.
    pub window: bool,
}

/// One kind of message, with what the gateway has fields for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// The word for it.
    pub name: &'static str,
    /// Options that the gateway has a field for.
    pub options: &'static [&'static str],
    /// How it takes the file, for kinds that are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Intake>,
}

/// How a gateway takes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Intake {
    /// It fetches an address.
    pub url: bool,
    /// Endings that the last part of such an address must have; any, if there are none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub endings: &'static [&'static str],
    /// It takes bytes, up to so many; none at 0.
    pub bytes: u64,
    /// Most bytes of the file, however it comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<u64>,
    /// Types that it takes; any, if there are none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub formats: &'static [&'static str],
    /// It wants to be told the type of a file behind an address, and believes it.
    #[serde(skip)]
    pub typed: bool,
    /// It goes by the type that the server of an address gives.
    #[serde(skip)]
    pub served: bool,
}

impl Intake {
    /// From an address only.
    pub const URL: Self =
        Self { url: true, endings: &[], bytes: 0, largest: None, formats: &[], typed: false, served: false };

    /// From an address or as bytes, whatever size.
    pub const ANY: Self = Self { bytes: u64::MAX, ..Self::URL };

    /// With a limit.
    pub const fn up_to(self, largest: u64) -> Self {
        Self { largest: Some(largest), ..self }
    }

    /// With a limit for bytes that travel inside the request.
    pub const fn inline(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Of these types only.
    pub const fn of(self, formats: &'static [&'static str]) -> Self {
        Self { formats, ..self }
    }

    /// Told the type.
    pub const fn typed(self) -> Self {
        Self { typed: true, ..self }
    }

    /// Going by the server's word.
    pub const fn served(self) -> Self {
        Self { served: true, ..self }
    }

    /// From addresses with these endings only.
    pub const fn ending(self, endings: &'static [&'static str]) -> Self {
        Self { endings, ..self }
    }
}

impl Kind {
    /// A kind that is no file.
    pub const fn new(name: &'static str, options: &'static [&'static str]) -> Self {
        Self { name, options, media: None }
    }

    /// A kind that is a file.
    pub const fn media(name: &'static str, options: &'static [&'static str], media: Intake) -> Self {
        Self { name, options, media: Some(media) }
    }
}

impl Capabilities {
    /// The kind of that name, if the gateway has it.
    pub fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// Whether it has a field for `option` on messages of this `kind`.
    pub fn has(&self, kind: &str, option: &str) -> bool {
        self.kind(kind).is_some_and(|kind| kind.options.contains(&option))
    }

    /// # Errors
    /// A sentence, when the gateway has no way to address such a recipient.
    pub fn addresses(&self, to: &Recipient) -> Result<(), String> {
        if self.addresses.contains(&to.kind()) {
            return Ok(());
        }
        let noun = match to {
            Recipient::Phone(_) => "a phone",
            Recipient::Group(_) => "a group",
            Recipient::Newsletter(_) => "a channel",
            Recipient::Lid(_) => "a hidden identity",
            Recipient::Bsuid(_) => "a business-scoped id",
        };
        Err(format!("`{to}` is {noun}, which this gateway cannot address"))
    }
}
