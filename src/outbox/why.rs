//! Why a message waits, in words.

use jiff::Timestamp;

use super::pace::quiet_until;
use super::{Account, LaneView};
use crate::clock::rfc3339;
use crate::model::delivery::MessageState;
use crate::model::phone::person_of;
use crate::store::rows::MessageRecord;

/// Why a message is not on its way yet, or why it is where it is. `lane` is that of its account,
/// none when the account is not configured any more; `behind` says that an earlier message to
/// the same recipient is still on its way.
pub fn why(
    message: &MessageRecord,
    lane: Option<(&Account, &LaneView)>,
    behind: bool,
    now: Timestamp,
) -> Option<String> {
    let out = message.parts.iter().any(|part| part.is_out());
    match message.state {
        MessageState::Scheduled => message.due_at.map(|at| format!("schedule: due at {}", rfc3339(at))),
        MessageState::Queued => Some(queued(message, lane, behind, now)),
        MessageState::Unknown => Some(format!(
            "unknown: {}; `postrider messages release` settles it",
            message.error.as_deref().unwrap_or("no clear answer came")
        )),
        MessageState::Rejected | MessageState::Dead => message.error.clone(),
        MessageState::Expired if out => Some("its `valid_for` passed before all of its parts were out".into()),
        MessageState::Expired => Some("its `valid_for` passed before it could be sent".into()),
        MessageState::Cancelled if out => Some("taken back when some of its parts were out already".into()),
        _ => None,
    }
}

fn queued(message: &MessageRecord, lane: Option<(&Account, &LaneView)>, behind: bool, now: Timestamp) -> String {
    let Some((account, lane)) = lane else {
        return format!("pause: account `{}` is not configured any more", message.account);
    };
    if let Some((reason, probe_at)) = &lane.paused {
        return format!("pause: {reason}; tries again at {}", rfc3339(*probe_at));
    }
    if let Some(at) = message.due_at.filter(|at| *at > now) {
        let error = message.error.as_deref().unwrap_or("the last try failed");
        return format!("retry: {error}; tries again at {}", rfc3339(at));
    }
    if behind {
        return "order: an earlier message to this recipient is on its way".into();
    }
    if let Some(at) = lane.full_until.filter(|at| *at > now) {
        return format!("pace: the account has sent its messages of the day (`daily`); goes on at {}", rfc3339(at));
    }
    if let Some(at) = lane.held_until(&person_of(&message.to)).filter(|at| *at > now) {
        let why = "the account has written to its new people of the day (`new_recipients`)";
        return format!("pace: {why}; this one's turn comes at {}", rfc3339(at));
    }
    let quiet = account.pace.quiet.and_then(|quiet| quiet_until(&quiet, &message.to, &account.zone, now));
    if let Some(at) = quiet {
        return format!("quiet hours: it goes out at {}", rfc3339(at));
    }
    match lane.paced_until.filter(|at| *at > now) {
        Some(at) => format!("pace: the account may send again at {}", rfc3339(at)),
        None => "pace: its turn comes".into(),
    }
}
