//! What people write: as scripts see it, and to whom it goes. The store takes it in and routes it, as
//! one transaction; what may begin because of it is made ready here.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::{SharedClock, rfc3339};
use crate::flow::catalog::Catalog;
use crate::flow::{OnMessage, prepare};
use crate::model::inbound::{Told, Written, is_believed};
use crate::model::opt_out::OptOut;
use crate::model::policy::Retry;
use crate::model::recipient::Recipient;
use crate::model::run::NewRun;
use crate::model::walls::FlowNames;
use crate::store::records::{Fate, Inbound, Letter, Received};
use crate::store::{Store, StoreError};

/// The account that something came to.
#[derive(Clone, Copy, Debug)]
pub struct Letterbox<'a> {
    /// Its name.
    pub account: &'a str,
    /// Its gateway lets us write freely only after people wrote.
    pub window: bool,
    /// What people write who want to hear no more.
    pub opt_out: Option<&'a OptOut>,
    /// How messages of ours are tried again.
    pub retry: Retry,
}

/// Takes in what gateways tell.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn Store>,
    clock: SharedClock,
    catalog: watch::Receiver<Arc<Catalog>>,
}

impl Inbox {
    /// Into this store; `catalog` has the triggers.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, catalog: watch::Receiver<Arc<Catalog>>) -> Self {
        Self { store, clock, catalog }
    }

    /// Takes in what one request told: when this returns, it is on disk and has gone to whom it
    /// concerns. Gives what became of each person's message.
    ///
    /// # Errors
    /// As the store's; the gateway may come again then.
    pub async fn take(&self, to: Letterbox<'_>, told: Vec<Told>) -> Result<Vec<Fate>, StoreError> {
        let mut received = Vec::with_capacity(told.len());
        // What an event says of two addresses counts for what comes behind it.
        let mut said: Vec<(Recipient, Recipient)> = Vec::new();
        let now = self.clock.now();
        for told in told {
            if let Some(at) = told.at().filter(|at| !is_believed(*at, now)) {
                let at = rfc3339(at);
                tracing::warn!(account = to.account, %at, "a message was left out: its time is not believed");
                continue;
            }
            received.push(match told {
                Told::Written(written) => Received::Letter(Box::new(self.letter(to, *written, &said).await?)),
                Told::Same(one, other) => {
                    said.push((one.clone(), other.clone()));
                    Received::Told(Told::Same(one, other))
                }
                other => Received::Told(other),
            });
        }
        let accounts = self.catalog.borrow().ground.accounts.clone();
        let inbound = Inbound {
            account: to.account.to_owned(),
            flows: accounts.by_name.get(to.account).map_or(FlowNames::ALL, |facts| facts.flows.clone()),
            window: to.window,
            opt_out: to.opt_out.cloned(),
            retry: to.retry,
            told: received,
            now,
        };
        self.store.receive(inbound).await
    }

    /// A message with all that may begin because of it.
    async fn letter(
        &self,
        to: Letterbox<'_>,
        written: Written,
        said: &[(Recipient, Recipient)],
    ) -> Result<Letter, StoreError> {
        let from = self.names(to.account, &written.from, said).await?;
        let chat = match written.chat == written.from {
            true => from.clone(),
            false => self.names(to.account, &written.chat, said).await?,
        };
        let event = event(to.account, &written, &from, &chat);
        let names: Vec<Recipient> = from.into_iter().chain(chat).collect();
        let text = written.text.as_deref().unwrap_or_default();
        let catalog = self.catalog.borrow().clone();
        let now = self.clock.now();
        let in_group = is_group(&written.chat);
        let begun = |wanted: &dyn Fn(&OnMessage) -> bool| -> Vec<NewRun> {
            let listeners = catalog.listeners.iter().filter(|(_, on)| wanted(on));
            let listeners = listeners.filter(|(flow, _)| catalog.ground.accounts.allows(to.account, &flow.who));
            let mut runs: Vec<NewRun> = Vec::new();
            for (flow, _) in listeners.filter(|(_, on)| on.wants(to.account, &names, in_group, text)) {
                // A flow with two triggers that fit runs once.
                if !runs.iter().any(|run| run.flow == *flow.name) {
                    runs.push(prepare(flow, "message", &event, now));
                }
            }
            runs
        };
        let first = begun(&|on| on.first);
        let mut others = begun(&|on| !on.first && !on.otherwise);
        if first.is_empty() && others.is_empty() {
            others = begun(&|on| on.otherwise);
        }
        Ok(Letter { first, others, event, written })
    }

    /// All addresses of somebody: what is known, and what was said just now.
    async fn names(
        &self,
        account: &str,
        who: &Recipient,
        said: &[(Recipient, Recipient)],
    ) -> Result<Vec<Recipient>, StoreError> {
        let mut names = vec![who.clone()];
        for (one, other) in said {
            for (name, same) in [(one, other), (other, one)] {
                if names.contains(name) && !names.contains(same) {
                    names.push(same.clone());
                }
            }
        }
        let mut all = names.clone();
        for name in names {
            for known in self.store.names(account, &name.to_string()).await? {
                // What is kept was checked when it came.
                let Ok(known) = Recipient::from_canonical(&known) else { continue };
                if !all.contains(&known) {
                    all.push(known);
                }
            }
        }
        Ok(all)
    }
}

/// Whether several people read what is written there.
fn is_group(chat: &Recipient) -> bool {
    matches!(chat, Recipient::Group(_) | Recipient::Newsletter(_))
}

/// A message as scripts see it. People are named by their phone where that is known: it is the
/// address that everything else takes.
fn event(account: &str, written: &Written, from: &[Recipient], chat: &[Recipient]) -> Value {
    let best = |names: &[Recipient]| {
        let phone = names.iter().find(|name| matches!(name, Recipient::Phone(_)));
        phone.or(names.first()).map(ToString::to_string)
    };
    let media = written.media.as_ref().map(|media| {
        json!({
            "kind": written.kind,
            "mime": media.mime,
            "name": media.name,
            "size": media.size,
            "account": account,
            "source": media.source,
        })
    });
    json!({
        "account": account,
        "from": best(from),
        "chat": best(chat),
        "group": is_group(&written.chat),
        "name": written.name,
        "text": written.text.as_deref().unwrap_or_default(),
        "kind": written.kind,
        "media": media,
        "fields": written.fields,
        "reply_to": written.reply_to,
        "message_id": written.message_id,
        "sent_at": rfc3339(written.at),
    })
}
