//! The one place in which what the engine knows becomes plain words.

use crate::model::delivery::MessageState;
use crate::model::occurrence::Fate;
use crate::model::run::RunState;

/// A state as people are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// How it is meant: `ok`, `go`, `wait`, `fail`, `doubt`, or nothing in particular.
    pub tone: &'static str,
    /// The name of a picture.
    pub icon: &'static str,
    /// The words.
    pub text: &'static str,
}

const fn word(tone: &'static str, icon: &'static str, text: &'static str) -> Word {
    Word { tone, icon, text }
}

/// Where a run stands.
pub fn run(state: RunState) -> Word {
    match state {
        RunState::Queued => word("", "clock", "waiting to start"),
        RunState::Running => word("go", "play", "running"),
        RunState::Waiting => word("wait", "wait", "waiting"),
        RunState::Succeeded => word("ok", "check", "finished"),
        RunState::Failed => word("fail", "fail", "failed"),
        RunState::Cancelled => word("", "ban", "cancelled"),
        RunState::Skipped => word("", "ban", "skipped"),
    }
}

/// Where a message stands.
pub fn message(state: MessageState) -> Word {
    match state {
        MessageState::Scheduled => word("", "clock", "planned for later"),
        MessageState::Queued => word("wait", "wait", "waiting to go out"),
        MessageState::Sending => word("go", "up", "going out now"),
        MessageState::Accepted => word("ok", "check", "taken by the gateway"),
        MessageState::Sent => word("ok", "check", "sent"),
        MessageState::Delivered => word("ok", "check2", "delivered"),
        MessageState::Read => word("go", "check2", "read"),
        MessageState::Unknown => word("doubt", "doubt", "not known whether it went out"),
        MessageState::Rejected => word("fail", "fail", "refused"),
        MessageState::Dead => word("fail", "fail", "given up"),
        MessageState::Expired => word("", "clock", "too late, not sent"),
        MessageState::Cancelled => word("", "ban", "taken back"),
    }
}

/// Why an attempt failed, by the word that the record has for it.
pub fn outcome(outcome: &str) -> Option<&'static str> {
    Some(match outcome {
        "open" | "preparing" => "under way",
        "upstream" => "nobody answered at the gateway’s address",
        "rate_limited" => "the gateway said: too fast",
        "auth" => "the gateway does not accept the credentials",
        "quota" => "the gateway’s plan is used up",
        "not_connected" => "the gateway, or its phone, is away",
        "invalid" | "unsupported" => "the gateway cannot send this",
        "recipient_invalid" => "this number has no WhatsApp",
        "opted_out" => "the person wants no more messages",
        "window_closed" => "the person has not written in the last 24 hours; only templates arrive",
        "media_rejected" => "the file was not accepted",
        "too_large" => "it is too large",
        "ambiguous" => "the connection broke after the message was handed over",
        "interrupted" => "the engine stopped at that moment",
        state => return MessageState::parse(state).map(|state| message(state).text),
    })
}

/// What started a run.
pub fn trigger(kind: &str) -> Word {
    match kind {
        "webhook" => word("", "hook", "a webhook"),
        "cron" | "every" | "at" => word("", "clock", "the clock"),
        "watch" => word("", "file", "a file"),
        "message" => word("", "in", "a message"),
        "manual" => word("", "hand", "by hand"),
        "flow" => word("", "flows", "another flow"),
        "failure" => word("", "alert", "something that failed"),
        _ => word("", "play", "something else"),
    }
}

/// How a run was started: `by hand`, `by a webhook`.
pub fn started(kind: &str) -> String {
    match trigger(kind).text {
        "by hand" => "by hand".into(),
        what => format!("by {what}"),
    }
}

/// A text as a sentence: with one mark at its end.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.ends_with(['.', '!', '?', '…']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

/// What became of an instant that was due.
pub fn fate(fate: Fate) -> Word {
    match fate {
        Fate::Ran => word("ok", "check", "ran"),
        Fate::Late => word("wait", "clock", "ran late"),
        Fate::Coalesced => word("wait", "clock", "missed; a later run stands for it"),
        Fate::TooLate => word("fail", "fail", "did not run: it was too late"),
        Fate::Skipped => word("", "ban", "skipped"),
        Fate::Down => word("fail", "fail", "did not run: the engine was down"),
        Fate::BeforeKnown => word("", "ban", "had passed when the flow was first seen"),
    }
}

/// What became of something that came in.
pub fn arrival(outcome: &str) -> Word {
    match outcome {
        "began" => word("ok", "check", "started a run"),
        "answered" => word("ok", "check", "answered a question"),
        "repeated" => word("wait", "ask", "was no answer; the question was repeated"),
        "opted" => word("", "ban", "asked for no more messages, or for messages again"),
        "known" => word("", "copy", "came twice"),
        "refused" => word("fail", "lock", "turned away"),
        "reaction" => word("", "in", "marked a message"),
        _ => word("", "info", "nobody wanted it"),
    }
}

/// The same behind the name of the person who wrote.
pub fn wrote(outcome: &str) -> &'static str {
    match outcome {
        "repeated" => "gave no answer; the question was repeated:",
        "known" => "wrote what had come before:",
        "unwanted" => "wrote, and no flow wanted it:",
        "began" => "started a run:",
        "answered" => "answered a question:",
        "reaction" => "marked a message:",
        other => arrival(other).text,
    }
}

/// With a capital letter, as a sentence begins; a name from a script keeps its own.
pub fn capital(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or_default();
    if !word.chars().all(|c| c.is_alphabetic() || ",'’".contains(c)) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// `1 message`, `3 messages`.
pub fn many(count: u64, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{} {several}", grouped(count)),
    }
}

/// A number with thin groups.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time in at most two units: `0.31 s`, `5 h 5 min`, `3 days`.
pub fn span(seconds: f64) -> String {
    let whole = |one: u64, a: &str, other: u64, b: &str| match other {
        0 => format!("{one} {a}"),
        _ => format!("{one} {a} {other} {b}"),
    };
    if seconds < 0.095 {
        return format!("{} ms", (seconds * 1000.0).max(0.0).round());
    }
    if seconds < 10.0 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.trim_end_matches(".0"));
    }
    let total = seconds.round() as u64;
    match total {
        0..60 => format!("{total} s"),
        60..3600 => whole(total / 60, "min", if total < 600 { total % 60 } else { 0 }, "s"),
        3600..172_800 => whole(total / 3600, "h", total % 3600 / 60, "min"),
        _ => {
            let (days, hours) = (total / 86_400, total % 86_400 / 3600);
            whole(days, "days", if days < 7 { hours } else { 0 }, "h")
        }
    }
}

/// A cron line in words, where it is one that people write; else none.
pub fn cron(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return nickname(line) };
    let number = |text: &str| text.parse::<u8>().ok();
    let clock = || Some(format!("{:02}:{:02}", number(hour)?, number(minute)?));
    let weekdays = || -> Option<String> {
        const DAYS: [(&str, &str); 7] = [
            ("SUN", "Sundays"),
            ("MON", "Mondays"),
            ("TUE", "Tuesdays"),
            ("WED", "Wednesdays"),
            ("THU", "Thursdays"),
            ("FRI", "Fridays"),
            ("SAT", "Saturdays"),
        ];
        let one = |text: &str| {
            let place = number(text).map(usize::from).map(|place| place % 7);
            place.or(DAYS.iter().position(|(name, _)| text.eq_ignore_ascii_case(name))).map(|place| DAYS[place].1)
        };
        let upper = weekday.to_ascii_uppercase();
        if matches!(upper.as_str(), "MON-FRI" | "1-5") {
            return Some("on working days".into());
        }
        let days = weekday.split(',').map(one).collect::<Option<Vec<_>>>()?;
        Some(format!("on {}", days.join(", ")))
    };
    match (minute, hour, day, month, weekday) {
        ("*", "*", "*", "*", "*") => Some("every minute".into()),
        (step, "*", "*", "*", "*") if step.starts_with("*/") => Some(format!("every {} minutes", number(&step[2..])?)),
        (minute, "*", "*", "*", "*") => Some(format!("every hour at minute {}", number(minute)?)),
        ("0", step, "*", "*", "*") if step.starts_with("*/") => Some(format!("every {} hours", number(&step[2..])?)),
        (_, _, "*", "*", "*") => Some(format!("every day at {}", clock()?)),
        (_, _, "*", "*", _) => Some(format!("{} at {}", weekdays()?, clock()?)),
        (_, _, day, "*", "*") => Some(format!("on day {} of each month at {}", number(day)?, clock()?)),
        _ => None,
    }
}

fn nickname(line: &str) -> Option<String> {
    Some(match line.to_ascii_lowercase().as_str() {
        "@hourly" => "every hour".into(),
        "@daily" | "@midnight" => "every day at 00:00".into(),
        "@weekly" => "on Sundays at 00:00".into(),
        "@monthly" => "on the first of each month".into(),
        "@yearly" | "@annually" => "on 1 January".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_people_say_them() {
        let said = [0.0004, 0.31, 2.0, 9.94, 59.6, 61.0, 900.0, 18_300.0, 90_000.0, 200_000.0, 900_000.0].map(span);
        let expected = [
            "0 ms",
            "0.3 s",
            "2 s",
            "9.9 s",
            "1 min",
            "1 min 1 s",
            "15 min",
            "5 h 5 min",
            "25 h",
            "2 days 7 h",
            "10 days",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn lines_that_people_write_are_told_in_words_and_others_not() {
        for (line, said) in [
            ("30 8 * * *", Some("every day at 08:30")),
            ("0 9 * * MON-FRI", Some("on working days at 09:00")),
            ("0 9 * * 0,6", Some("on Sundays, Saturdays at 09:00")),
            ("*/15 * * * *", Some("every 15 minutes")),
            ("5 * * * *", Some("every hour at minute 5")),
            ("0 8 1 * *", Some("on day 1 of each month at 08:00")),
            ("@daily", Some("every day at 00:00")),
            ("0 8 1 1 *", None),
            ("0 8-10 * * *", None),
            ("*/10 * * * * *", None),
        ] {
            assert_eq!(cron(line).as_deref(), said, "{line}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_048_310].map(grouped), ["0", "999", "1,000", "1,048,310"]);
    }
}
