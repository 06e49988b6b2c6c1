//! Addresses that gateways are asked to fetch. A gateway stands in a network of its own, mostly ours: what the
//! engine itself may not call, it does not make a gateway call either.

use url::Url;

use crate::fetch::{Fetch, FetchError};
use crate::model::capability::Capabilities;
use crate::model::delivery::{Degraded, ErrorClass, SendError};
use crate::model::message::Content;

/// Takes the preview from a link whose page the gateway would load, though it may not. Gives what was
/// changed.
///
/// # Errors
/// [`ErrorClass::MediaRejected`] when nothing may be left out.
pub async fn spare(
    fetch: &Fetch,
    content: &mut Content,
    capabilities: &Capabilities,
    strict: bool,
) -> Result<Vec<Degraded>, SendError> {
    let Content::Link { url, preview, .. } = content else { return Ok(Vec::new()) };
    if *preview == Some(false) || capabilities.kind("link").is_none() {
        return Ok(Vec::new());
    }
    let Err(FetchError::Refused(why)) = fetch.permits(url).await else { return Ok(Vec::new()) };
    let why = not_asked("the link's page", &why);
    if strict {
        return Err(SendError::new(ErrorClass::MediaRejected, why));
    }
    *preview = Some(false);
    Ok(vec![Degraded { field: "preview".into(), action: format!("left out: {why}") }])
}

/// Whether the gateway may fetch all that a message names besides its own file: pictures of cards, files in
/// templates.
///
/// # Errors
/// As of [`handed_out`].
pub async fn all_handed_out(fetch: &Fetch, content: &Content, public: Option<&Url>) -> Result<(), SendError> {
    for url in content.addresses() {
        handed_out(fetch, url, public).await?;
    }
    Ok(())
}

/// Whether the gateway may fetch an address: what the engine may call, and what `public` leads to of ours.
///
/// # Errors
/// [`ErrorClass::MediaRejected`], with what to write into the settings.
pub async fn handed_out(fetch: &Fetch, url: &str, public: Option<&Url>) -> Result<(), SendError> {
    match fetch.permits(url).await {
        Err(FetchError::Refused(why)) => refused(url, public, &why),
        // What we do not reach the gateway may.
        _ => Ok(()),
    }
}

/// What a refusal of the engine's own rules means for a gateway.
///
/// # Errors
/// [`ErrorClass::MediaRejected`], unless the address is one of ours.
pub fn refused(url: &str, public: Option<&Url>, why: &str) -> Result<(), SendError> {
    match public.is_some_and(|public| is_ours(url, public)) {
        true => Ok(()),
        false => Err(SendError::new(ErrorClass::MediaRejected, not_asked("this file", why))),
    }
}

fn not_asked(what: &str, why: &str) -> String {
    format!("the gateway is not asked to fetch {what}, by the rules of `http.allow`: {why}")
}

/// An address of ours, below the one by which the world reaches us.
pub fn our_address(public: &Url, path: &str) -> String {
    format!("{}/{path}", public.as_str().trim_end_matches('/'))
}

/// Whether an address is one at which we give files and links to everybody.
fn is_ours(url: &str, public: &Url) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let below = url.path().strip_prefix(public.path().trim_end_matches('/'));
    url.origin() == public.origin() && below.is_some_and(|path| path.starts_with("/media/") || path.starts_with("/l/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_everybody_may_have_is_ours() {
        let public = Url::parse("http://192.168.1.9:8700/base/").unwrap();
        for (url, wanted) in [
            ("http://192.168.1.9:8700/base/media/x.png", true),
            ("http://192.168.1.9:8700/base/l/x", true),
            ("http://192.168.1.9:8700/base/media/../hooks/x", false),
            ("http://192.168.1.9:8700/base/media/%2e%2e/hooks/x", false),
            ("http://192.168.1.9:8700/media/x.png", false),
            ("http://192.168.1.9:8701/base/media/x.png", false),
            ("https://192.168.1.9:8700/base/media/x.png", false),
        ] {
            assert_eq!(is_ours(url, &public), wanted, "{url}");
        }
    }
}
