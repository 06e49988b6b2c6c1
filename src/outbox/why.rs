//! Why a message waits, in words.

use jiff::Timestamp;

use super::pace::quiet_until;
use super::{Account, LaneView};
use crate::clock::{after, rfc3339};
use crate::model::delivery::MessageState;
use crate::model::phone::person_of;
use crate::model::policy::OnUnknown;
use crate::store::records::MessageRecord;

/// Why a message is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// `schedule`, `pause`, `retry`, `order`, `daily`, `new_recipients`, `quiet`, `pace`, `unknown` or `end`.
    pub kind: &'static str,
    /// When that changes by itself, as far as it is known.
    pub until: Option<Timestamp>,
    /// The reason, as the gateway or the lane gave it.
    pub reason: Option<String>,
    /// All of it in one sentence.
    pub text: String,
}

impl Why {
    fn new(kind: &'static str, until: Option<Timestamp>, reason: Option<&str>, text: String) -> Self {
        Self { kind, until, reason: reason.map(str::to_owned), text }
    }

    fn end(text: impl Into<String>) -> Self {
        Self::new("end", None, None, text.into())
    }
}

/// Why a message is not on its way yet, or why it is where it is. `lane` is that of its account,
/// none when the account is not configured any more; `behind` says that an earlier message to
/// the same recipient is still on its way.
pub fn why(message: &MessageRecord, lane: Option<(&Account, &LaneView)>, behind: bool, now: Timestamp) -> Option<Why> {
    let out = message.parts.iter().any(|part| part.is_out());
    match message.state {
        MessageState::Scheduled => {
            message.due_at.map(|at| Why::new("schedule", Some(at), None, format!("schedule: due at {}", rfc3339(at))))
        }
        MessageState::Queued => Some(queued(message, lane, behind, now)),
        MessageState::Unknown => Some(unknown(message, lane.map(|(account, _)| account))),
        MessageState::Rejected | MessageState::Dead => message.error.clone().map(Why::end),
        MessageState::Expired if out => Some(Why::end("its `valid_for` passed before all of its parts were out")),
        MessageState::Expired => Some(Why::end("its `valid_for` passed before it could be sent")),
        MessageState::Cancelled if out => Some(Why::end("taken back when some of its parts were out already")),
        _ => None,
    }
}

/// The store decides by the same facts what is sent again (`rows::outbox::unknown_since`).
fn unknown(message: &MessageRecord, account: Option<&Account>) -> Why {
    let error = message.error.as_deref().unwrap_or("no clear answer came");
    let resends = account.filter(|account| account.on_unknown == OnUnknown::Resend && !message.recalled);
    let (until, what) = match resends {
        Some(account) if message.tries >= account.retry.attempts => {
            (None, format!("after {} tries it is not sent again (`attempts` of `retry`); ", message.tries))
        }
        Some(account) => match after(message.changed_at, account.unknown_after) {
            at if message.expires_at.is_some_and(|end| end <= at) => {
                (None, "it is not sent again, since its `valid_for` ends before; ".into())
            }
            at => (Some(at), format!("it is sent again at {} if nothing tells more until then; ", rfc3339(at))),
        },
        None => (None, String::new()),
    };
    Why::new("unknown", until, Some(error), format!("unknown: {error}; {what}`postrider messages release` settles it"))
}

fn queued(message: &MessageRecord, lane: Option<(&Account, &LaneView)>, behind: bool, now: Timestamp) -> Why {
    let Some((account, lane)) = lane else {
        let reason = format!("account `{}` is not configured any more", message.account);
        return Why::new("pause", None, Some(&reason), format!("pause: {reason}"));
    };
    if let Some((reason, probe_at)) = &lane.paused {
        let text = format!("pause: {reason}; tries again at {}", rfc3339(*probe_at));
        return Why::new("pause", Some(*probe_at), Some(reason), text);
    }
    if let Some(at) = message.due_at.filter(|at| *at > now) {
        let error = message.error.as_deref().unwrap_or("the last try failed");
        return Why::new("retry", Some(at), Some(error), format!("retry: {error}; tries again at {}", rfc3339(at)));
    }
    if behind {
        let text = "order: an earlier message to this recipient is on its way";
        return Why::new("order", None, None, text.into());
    }
    if let Some(at) = lane.full_until.filter(|at| *at > now) {
        let text = format!("pace: the account has sent its messages of the day (`daily`); goes on at {}", rfc3339(at));
        return Why::new("daily", Some(at), None, text);
    }
    if let Some(at) = lane.held_until(&person_of(&message.to)).filter(|at| *at > now) {
        let why = "the account has written to its new people of the day (`new_recipients`)";
        let text = format!("pace: {why}; this one's turn comes at {}", rfc3339(at));
        return Why::new("new_recipients", Some(at), None, text);
    }
    let quiet = account.pace.quiet.and_then(|quiet| quiet_until(&quiet, &message.to, &account.zone, now));
    if let Some(at) = quiet {
        return Why::new("quiet", Some(at), None, format!("quiet hours: it goes out at {}", rfc3339(at)));
    }
    match lane.paced_until.filter(|at| *at > now) {
        Some(at) => Why::new("pace", Some(at), None, format!("pace: the account may send again at {}", rfc3339(at))),
        None => Why::new("pace", None, None, "pace: its turn comes".into()),
    }
}
