//! The accounts.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::look::Look;
use super::{Asked, Frame, Page, drawn};
use crate::http::House;
use crate::view::{AccountRow, Gauge, PaceRow};

#[derive(Template)]
#[template(path = "accounts.html")]
struct Accounts {
    frame: Frame,
    accounts: Vec<AccountRow>,
    /// The whole address of the account that somebody asked to see it of.
    address: Option<(String, String)>,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["address"])?;
    let mut accounts = house.view.accounts().await?;
    accounts.sort_by_key(|account| account.state != "paused");
    let address = asked.query.get("address").and_then(|name| {
        let all = house.view.accounts.borrow().clone();
        let (account, _) = all.iter().find(|(account, _)| account.name == name)?;
        let shown = accounts.iter().find(|account| account.name == name)?.inbound_url.clone()?;
        let token = account.inbound_token.as_ref()?;
        Some((name.to_owned(), format!("{shown}/{}", token.reveal())))
    });
    drawn(&Accounts { accounts, address, frame: Frame::of(&house, &asked, "accounts", "Accounts").await? })
}

/// What an account can do, as people call it.
const KINDS: [(&str, &str); 13] = [
    ("text", "text"),
    ("link", "links"),
    ("image", "pictures"),
    ("file", "files"),
    ("video", "films"),
    ("audio", "sound"),
    ("voice", "voice notes"),
    ("sticker", "stickers"),
    ("location", "places"),
    ("contact", "contacts"),
    ("poll", "polls"),
    ("reaction", "marks on messages"),
    ("template", "templates"),
];

impl Accounts {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn can(&self, account: &AccountRow) -> Vec<(&'static str, bool)> {
        KINDS.iter().map(|(kind, said)| (*said, account.capabilities.kind(kind).is_some())).collect()
    }

    fn width(&self, gauge: &Gauge) -> String {
        gauge.percent()
    }

    fn pace(&self, account: &AccountRow) -> String {
        match &account.pace {
            PaceRow::Unlimited(_) => "no limit".into(),
            PaceRow::Limited { rate, burst, per_recipient, quiet, .. } => {
                let mut said = Vec::new();
                if let Some(rate) = rate {
                    said.push(format!("{rate}, {burst} at once"));
                }
                if let Some(each) = per_recipient {
                    said.push(format!("{each} to one person"));
                }
                if let Some(quiet) = quiet {
                    said.push(format!("quiet {quiet}"));
                }
                if said.is_empty() { "no limit".into() } else { said.join("; ") }
            }
        }
    }

    fn whole_address(&self, account: &AccountRow) -> Option<&String> {
        self.address.as_ref().filter(|(name, _)| *name == account.name).map(|(_, address)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::KINDS;
    use crate::model::message::Content;

    #[test]
    fn each_kind_has_a_word() {
        assert_eq!(KINDS.map(|(kind, _)| kind).to_vec(), Content::KINDS.to_vec());
    }
}
