//! Flow files, written from the browser: whole, or not at all, and never over what somebody else has written.

use axum::http::StatusCode;
use tokio::sync::Mutex;

use super::error::Refused;
use crate::view::{View, hash_of};

/// Largest file that is written.
pub const LARGEST: usize = 1 << 20;

/// Writes flow files, one at a time.
#[derive(Default)]
pub struct Editor {
    one: Mutex<()>,
}

/// The file of a flow that is called so.
///
/// # Errors
/// When flows cannot be called so.
pub fn file_of(name: &str) -> Result<String, Refused> {
    let sound = |part: &str| {
        let first = part.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        first && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    };
    let name = name.trim();
    // Pages of other things are at these addresses.
    let taken = name == "new" || ["/edit", "/start"].iter().any(|end| name.ends_with(end));
    match name.len() <= 100 && name.split('/').all(sound) {
        true if taken => {
            Err(Refused::bad(format!("a flow of the dashboard cannot be called `{name}`")).hint("use another name"))
        }
        true => Ok(format!("flows/{name}.yaml")),
        false => Err(Refused::bad(format!("a flow cannot be called `{name}`"))
            .hint("use small letters, digits, `-` and `_`, such as `shop/order-received`")),
    }
}

impl Editor {
    /// Writes a file, if it holds the text of this hash; without one, if it is not there. Gives the new hash.
    ///
    /// # Errors
    /// When editing is switched off, the file is another one by now, or cannot be written.
    pub async fn save(&self, view: &View, file: &str, text: &str, hash: Option<&str>) -> Result<String, Refused> {
        if !view.catalog.borrow().ground.editable {
            return Err(Refused::new(StatusCode::FORBIDDEN, "edit", "flows are not edited here")
                .hint("`dashboard: { edit: false }` in postrider.yaml says so"));
        }
        if text.len() > LARGEST {
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a flow has at most 1 MiB"));
        }
        // Browsers write line ends as forms have them.
        let text = text.replace("\r\n", "\n");
        let _one = self.one.lock().await;
        let (files, path) = (view.files.clone(), file.to_owned());
        let (wanted, new) = (hash.map(str::to_owned), hash_of(&text));
        let write = move || {
            let there = files.text_if_there(&path).map_err(|why| (StatusCode::CONFLICT, why))?;
            match (&wanted, &there) {
                (None, Some(_)) => return Err((StatusCode::CONFLICT, format!("{path} is there already"))),
                (Some(_), None) => return Err((StatusCode::CONFLICT, format!("{path} is gone"))),
                (Some(wanted), Some(there)) if hash_of(there) != *wanted => {
                    return Err((StatusCode::CONFLICT, format!("{path} was changed by somebody else meanwhile")));
                }
                _ => {}
            }
            files.write_flow(&path, text.as_bytes()).map_err(|why| (StatusCode::CONFLICT, why))
        };
        let done = tokio::task::spawn_blocking(write).await;
        match done {
            Ok(Ok(())) => Ok(new),
            Ok(Err((status, why))) => {
                Err(Refused::new(status, "file", why).hint("load it again; your text is still here"))
            }
            Err(error) => Err(Refused::busy(error.to_string())),
        }
    }
}
