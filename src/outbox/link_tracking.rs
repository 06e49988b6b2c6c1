//! Tracking: links whose clicks are counted lead over an address of ours.

use url::Url;

use super::addresses::our_address;
use crate::id::MessageId;
use crate::links::LinkKey;
use crate::model::delivery::{ErrorClass, SendError};
use crate::model::message::Content;

/// Puts our address in the place of a link that is to be tracked.
///
/// # Errors
/// [`ErrorClass::Unsupported`] when nothing leads here from outside any more.
pub fn track(key: &LinkKey, content: &mut Content, message: MessageId, public: Option<&Url>) -> Result<(), SendError> {
    let Content::Link { url, track: Some(true), .. } = content else { return Ok(()) };
    let Some(public) = public else {
        let message = "`track` needs `public_url` in postrider.yaml, which has been removed since";
        return Err(SendError::new(ErrorClass::Unsupported, message));
    };
    *url = our_address(public, &format!("l/{}", key.click(message)));
    Ok(())
}
