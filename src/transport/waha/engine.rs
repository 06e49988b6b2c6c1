//! The engines of WAHA, and what each of them can.

use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::mime::PICTURES;

/// It publishes no limit; a file inside a request is held in memory whole, here and there.
const INLINE: u64 = 16_000_000;
pub const FILE: Intake = Intake::ANY.inline(INLINE).typed();
pub const PICTURE: Intake = FILE.of(PICTURES);

const TEXT: Kind = Kind::new("text", &["reply_to", "mentions"]);
const CARD: Kind =
    Kind::new("link", &["caption", "title", "description", "thumbnail", "high_quality", "preview", "reply_to"]);
const LINK: Kind = Kind::new("link", &["caption", "high_quality", "preview", "reply_to"]);
const IMAGE: Kind = Kind::media("image", &["caption", "name", "reply_to"], PICTURE);
const DOCUMENT: Kind = Kind::media("file", &["caption", "name", "reply_to"], FILE);
const VIDEO: Kind = Kind::media("video", &["caption", "name", "note", "reply_to"], FILE);
const VOICE: Kind = Kind::media("voice", &["reply_to"], FILE);
const LOCATION: Kind = Kind::new("location", &["name", "reply_to"]);
const CONTACT: Kind = Kind::new("contact", &["several", "organization", "reply_to"]);
const POLL: Kind = Kind::new("poll", &["reply_to"]);
/// Asked by a poll, where the votes come back: its issues 1915, 2008 and 2042 say that the client in
/// JavaScript loses nearly all of them, and the others do not.
const QUESTION: Kind = Kind::new("question", &["reply_to"]);
const REACTION: Kind = Kind::new("reaction", &[]);

/// Of the client in Go, which makes cards.
const GOWS: Capabilities = Capabilities {
    kinds: &[TEXT, CARD, IMAGE, DOCUMENT, VIDEO, VOICE, LOCATION, CONTACT, POLL, REACTION, QUESTION],
    addresses: &["phone", "group", "newsletter", "lid"],
    cards: true,
    whole_cards: true,
    in_flight: 8,
    max_text: None,
    max_caption: None,
    window: false,
};

/// Of the client in JavaScript.
const NOWEB: Capabilities =
    Capabilities { kinds: &[TEXT, CARD, IMAGE, DOCUMENT, VIDEO, VOICE, LOCATION, CONTACT, POLL, REACTION], ..GOWS };

/// Of the engine that only drives WhatsApp's own page.
const WEBJS: Capabilities = Capabilities {
    kinds: &[TEXT, LINK, IMAGE, DOCUMENT, VIDEO, VOICE, LOCATION, CONTACT, POLL, REACTION, QUESTION],
    cards: false,
    whole_cards: false,
    ..GOWS
};

/// What drives WhatsApp inside WAHA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A browser with WhatsApp's own page.
    Webjs,
    /// A client in JavaScript.
    Noweb,
    /// A client in Go.
    Gows,
}

impl Engine {
    /// Reads `webjs`, `noweb` or `gows`.
    ///
    /// # Errors
    /// A sentence with what there is.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "webjs" => Ok(Self::Webjs),
            "noweb" => Ok(Self::Noweb),
            "gows" => Ok(Self::Gows),
            other => Err(format!("`{other}` is none of `webjs`, `noweb`, `gows`")),
        }
    }

    /// What the engine can do.
    pub fn capabilities(self) -> &'static Capabilities {
        match self {
            Self::Webjs => &WEBJS,
            Self::Noweb => &NOWEB,
            Self::Gows => &GOWS,
        }
    }

    /// Whether it takes an id of ours for a message, and knows messages without their chats.
    pub fn is_client(self) -> bool {
        self != Self::Webjs
    }
}
