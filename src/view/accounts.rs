//! Accounts.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Seen, Time, View};
use crate::clock::rfc3339;
use crate::model::capability::Capabilities;
use crate::model::policy::Pace;
use crate::outbox::{Account, SharedView};
use crate::transport::sandbox;
use crate::units::format_duration;

/// An account as it is shown. It holds no credential.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountRow {
    /// Its name.
    pub name: String,
    /// What it speaks to.
    pub transport: &'static str,
    /// `ready` or `paused`.
    pub state: &'static str,
    /// Why nothing goes out.
    pub reason: Option<String>,
    /// What the last look at the gateway gave.
    pub checked: Option<Checked>,
    /// What the gateway said of its link to WhatsApp, while that is down.
    pub link: Option<String>,
    /// What came for it and was not taken.
    pub unheard: Option<Unheard>,
    /// When it tries again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub probe_at: Option<Time>,
    /// How fast it may send: a map, or `unlimited`.
    #[schema(value_type = Object)]
    pub pace: PaceRow,
    /// Since when it is paused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// Messages that wait.
    pub backlog: u64,
    /// When the oldest of them was written.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Time>,
    /// Messages that are rejected, dead or unknown.
    pub bad_messages: u64,
    /// Messages of today, where they are counted.
    pub today: Option<Gauge>,
    /// People who got something for the first time today, where they are counted.
    pub new_people: Option<Gauge>,
    /// The account that takes over.
    pub fallback: Option<String>,
    /// Where its gateway calls us; what is secret of that is left out.
    pub inbound_url: Option<String>,
    /// The address goes on with a part that only the gateway knows.
    pub inbound_token: bool,
    /// When something last came from its gateway.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_heard: Option<Time>,
    /// What it can do.
    #[schema(value_type = Object)]
    pub capabilities: &'static Capabilities,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Gauge {
    /// So many.
    pub used: u32,
    /// Of so many at most.
    pub most: Option<u32>,
}

impl Gauge {
    /// How full it is, in hundredths with two more digits; a whole one where there is no most.
    pub fn percent(&self) -> String {
        let most = self.most.unwrap_or(1).max(1);
        format!("{:.2}", f64::from(self.used.min(most)) * 100.0 / f64::from(most))
    }
}

/// What a look at a gateway gave.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Checked {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Whether something could be sent.
    pub ok: bool,
    /// What it said.
    pub said: String,
}

impl Checked {
    /// What a look gave.
    pub fn of(at: Timestamp, found: &Result<String, String>) -> Self {
        let (Ok(said) | Err(said)) = found;
        Self { at: Time(at), ok: found.is_ok(), said: said.clone() }
    }
}

/// What came for an account and was not taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Unheard {
    /// The last time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How fast an account may send.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PaceRow {
    /// `unlimited`.
    Unlimited(&'static str),
    /// As it is set.
    Limited {
        /// Such as `30/1m`.
        rate: Option<String>,
        /// So many at once.
        burst: u32,
        /// To one person.
        per_recipient: Option<String>,
        /// In a day.
        daily: Option<u32>,
        /// New people in a day.
        new_recipients: Option<u32>,
        /// Pauses by chance.
        jitter: Option<String>,
        /// When nothing goes out.
        quiet: Option<String>,
    },
}

impl PaceRow {
    fn of(pace: &Pace) -> Self {
        if *pace == Pace::UNLIMITED {
            return Self::Unlimited("unlimited");
        }
        let rate = |rate: (u32, std::time::Duration)| format!("{}/{}", rate.0, format_duration(rate.1));
        Self::Limited {
            rate: pace.rate.map(rate),
            burst: pace.burst,
            per_recipient: pace.per_recipient.map(rate),
            daily: pace.daily,
            new_recipients: pace.new_recipients,
            jitter: pace.jitter.map(format_duration),
            quiet: pace.quiet.map(|quiet| quiet.to_string()),
        }
    }
}

impl View {
    /// All accounts.
    pub async fn accounts(&self) -> Seen<Vec<AccountRow>> {
        let accounts = self.accounts.borrow().clone();
        let bad = self.store.bad_messages().await?;
        let mut rows = Vec::with_capacity(accounts.len());
        for (account, view) in accounts.iter() {
            let bad = bad.iter().filter(|(name, ..)| *name == account.name).map(|(.., count)| count).sum::<u64>();
            rows.push(self.account_row(account, view, bad).await?);
        }
        Ok(rows)
    }

    async fn account_row(&self, account: &Account, view: &SharedView, bad_messages: u64) -> Seen<AccountRow> {
        let (view, now) = (view.look(), self.clock.now());
        // Until something has gone out, the look at the gateway tells.
        let missed = view.checked.as_ref().filter(|_| !view.sends).and_then(|(_, found)| found.as_ref().err());
        let closed = view.paused.as_ref().map(|(reason, _)| reason).or(missed);
        let day = now.to_zoned(account.zone.clone()).date().to_string();
        let spent = self.store.spent(&account.name, &day).await?;
        let pace = &account.pace;
        let gauge = |used: Option<u32>, most: Option<u32>| most.map(|_| Gauge { used: used.unwrap_or(0), most });
        Ok(AccountRow {
            name: account.name.clone(),
            transport: account.kind,
            state: if closed.is_some() { "paused" } else { "ready" },
            reason: match (closed, view.full_until.filter(|until| *until > now)) {
                (Some(reason), _) => Some(reason.clone()),
                (None, Some(until)) => Some(format!("its messages of the day are used up until {}", rfc3339(until))),
                (None, None) => None,
            },
            checked: view.checked.as_ref().map(|(at, found)| Checked::of(*at, found)),
            link: view.link_down.clone(),
            unheard: view.unheard.as_ref().map(|unheard| Unheard {
                at: Time(unheard.at),
                reason: unheard.reason.clone(),
                count: unheard.count,
            }),
            probe_at: view.paused.as_ref().map(|(_, at)| Time(*at)),
            pace: PaceRow::of(pace),
            since: view.paused_since.map(Time),
            backlog: self.store.lane_length(&account.name).await?,
            oldest: spent.oldest.map(Time),
            bad_messages,
            today: gauge(spent.sent, pace.daily),
            new_people: gauge(spent.new, pace.new_recipients),
            fallback: account.fallback.as_ref().map(|fallback| fallback.name.clone()),
            inbound_url: account
                .public_url
                .as_ref()
                .filter(|_| account.kind != sandbox::NAME)
                .map(|base| format!("{}/gateways/{}", base.as_str().trim_end_matches('/'), account.name)),
            inbound_token: account.inbound_token.is_some(),
            last_heard: spent.heard.map(Time),
            capabilities: account.transport.capabilities(),
        })
    }
}
