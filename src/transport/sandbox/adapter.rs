//! The built-in stand-in for a gateway: delivers at once to phones that can be looked at.

use std::sync::Arc;

use super::events;
use super::options::SandboxOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::model::mime::PICTURES;
use crate::transport::extra::Raw;
use crate::transport::gateway::Adapter;
use crate::transport::site::{Phones, Site};
use crate::transport::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport};

const FILE: Intake = Intake::ANY;
const PICTURE: Intake = FILE.of(PICTURES);

/// Everything that a message can ask for, as far as anything can be shown of it.
const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["reply_to", "forwarded", "disappear", "mentions", "recipient_name"]),
        Kind::new(
            "link",
            &[
                "caption",
                "title",
                "description",
                "thumbnail",
                "high_quality",
                "preview",
                "reply_to",
                "forwarded",
                "disappear",
                "mentions",
                "recipient_name",
            ],
        ),
        Kind::media(
            "image",
            &["caption", "view_once", "hd", "reply_to", "forwarded", "disappear", "mentions", "recipient_name"],
            PICTURE,
        ),
        Kind::media(
            "file",
            &["caption", "name", "reply_to", "forwarded", "disappear", "mentions", "recipient_name"],
            FILE,
        ),
        Kind::media(
            "video",
            &["caption", "view_once", "hd", "gif", "note", "reply_to", "forwarded", "disappear", "recipient_name"],
            FILE,
        ),
        Kind::media("audio", &["reply_to", "forwarded", "disappear", "recipient_name"], FILE),
        Kind::media("voice", &["reply_to", "forwarded", "disappear", "recipient_name"], FILE),
        Kind::media("sticker", &["reply_to", "forwarded", "disappear", "recipient_name"], FILE),
        Kind::new("location", &["name", "address", "reply_to", "forwarded", "disappear", "recipient_name"]),
        Kind::new("contact", &["several", "organization", "reply_to", "forwarded", "disappear", "recipient_name"]),
        Kind::new("poll", &["max_answers", "reply_to", "forwarded", "disappear", "recipient_name"]),
        Kind::new("reaction", &["recipient_name"]),
        Kind::new("template", &["language", "components", "variables", "reply_to", "recipient_name"]),
    ],
    addresses: &["phone", "group", "newsletter", "lid", "bsuid"],
    cards: false,
    whole_cards: false,
    in_flight: 64,
    max_text: None,
    max_caption: None,
    window: false,
};

/// What gateways refuse is refused here too, so that trying it shows it.
const RAW: Raw = Raw { gateway: "the sandbox", own: "" };

/// The stand-in.
pub struct Sandbox {
    account: String,
    capabilities: &'static Capabilities,
    phones: Arc<dyn Phones>,
}

impl Sandbox {
    /// What it can do where it stands for no gateway in particular.
    pub const CAPABILITIES: &'static Capabilities = &CAPABILITIES;
}

impl Adapter for Sandbox {
    type Options = SandboxOptions;

    fn can(options: &SandboxOptions) -> &'static Capabilities {
        options.stands_for.unwrap_or(&CAPABILITIES)
    }

    fn new(options: &SandboxOptions, site: &Site<'_>) -> Result<Self, String> {
        Ok(Self { account: site.account.to_owned(), capabilities: Self::can(options), phones: site.phones.clone() })
    }
}

impl Transport for Sandbox {
    fn capabilities(&self) -> &'static Capabilities {
        self.capabilities
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let provider_id = format!("SANDBOX-{}", message.id);
        let kept = self.phones.receive(&self.account, message);
        Box::pin(async move {
            match kept.await {
                Ok(on) => {
                    let state = if on { MessageState::Delivered } else { MessageState::Sent };
                    Ok(Receipt { state, provider_id: Some(provider_id), chat: None, degraded: Vec::new() })
                }
                // A phone keeps a message once for each id, so a second try does no harm.
                Err(error) => Err(SendError::new(ErrorClass::Upstream { retry_after: None }, error)),
            }
        })
    }

    /// It hears by its phones.
    fn hears(&self, _: bool) -> bool {
        true
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(incoming)
    }

    fn download(&self, source: &str) -> Download {
        self.phones.file(source)
    }
}
