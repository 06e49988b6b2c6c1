//! Durations, sizes and rates as people write them: `1h30m`, `64MiB`, `30/min`.

use std::time::Duration;

const SCALES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Reads `500ms`, `2s`, `15m`, `1h30m`, `2d`, `1w` and sums of them.
///
/// # Errors
/// A sentence that says what is wrong with the text and how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let teach = || format!("`{text}` is no duration; write `500ms`, `2s`, `15m`, `1h30m` or `7d`");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(teach());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let amount: u64 = rest[..digits].parse().map_err(|_| teach())?;
        rest = rest[digits..].trim_start();
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "min" => "m",
            unit => unit,
        };
        let scale = SCALES.iter().find(|(name, _)| *name == unit).ok_or_else(teach)?.1;
        total = amount
            .checked_mul(scale)
            .and_then(|ms| total.checked_add(ms))
            .ok_or_else(|| format!("`{text}` is longer than time itself"))?;
        rest = rest[unit_end..].trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration the way it is read: `1h30m`, `500ms`, `0s`.
pub fn format_duration(span: Duration) -> String {
    let mut ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, scale) in SCALES[..5].iter().rev() {
        if ms >= *scale {
            text.push_str(&format!("{}{name}", ms / scale));
            ms %= scale;
        }
    }
    text
}

/// Reads `512`, `64KiB`, `1MiB`, `2GiB`, and the decimal `kB`, `MB`, `GB`.
///
/// # Errors
/// A sentence that says how a size is written.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let teach = || format!("`{text}` is no size; write `512KiB`, `1MiB` or `2GiB`");
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let amount: u64 = text[..split].replace('_', "").parse().map_err(|_| teach())?;
    let scale: u64 = match text[split..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(teach()),
    };
    amount.checked_mul(scale).ok_or_else(teach)
}

/// Reads `30/min`, `1/2s`, `100/s`: so many in such a span.
///
/// # Errors
/// A sentence that says how a rate is written.
pub fn parse_rate(text: &str) -> Result<(u32, Duration), String> {
    let teach = || format!("`{text}` is no rate; write `30/min`, `1/2s` or `100/s`");
    let (count, span) = text.split_once('/').ok_or_else(teach)?;
    let count: u32 = count.trim().parse().map_err(|_| teach())?;
    let span = span.trim();
    let span = match span {
        "day" => "d".into(),
        "hour" => "h".into(),
        other => other.to_owned(),
    };
    let span = if span.starts_with(|c: char| c.is_ascii_digit()) { span } else { format!("1{span}") };
    let span = parse_duration(&span).map_err(|_| teach())?;
    if count == 0 || span.is_zero() {
        return Err(teach());
    }
    Ok((count, span))
}

/// The nearest of `names` to what was written, for "did you mean".
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells a name of that length, and comparing it would take long.
    if wrong.len() > 100 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for text in ["500ms", "2s", "15m", "1h30m", "7d", "1d2h3m4s5ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("2 h 5 min").unwrap(), Duration::from_secs(7_500));
        for wrong in ["", "h", "5", "5x", "-1s", "1h 2", "99999999999999999999w"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(parse_bytes("1MiB").unwrap(), 1 << 20);
        assert_eq!(parse_bytes("10_000").unwrap(), 10_000);
        assert!(parse_bytes("1 apple").is_err());
        assert_eq!(parse_rate("1/2s").unwrap(), (1, Duration::from_secs(2)));
        assert_eq!(parse_rate("30/min").unwrap(), (30, Duration::from_secs(60)));
        assert!(parse_rate("0/s").is_err() && parse_rate("5").is_err());
    }

    #[test]
    fn near_names_are_offered_and_far_ones_not() {
        assert_eq!(nearest("webhok", ["webhook", "watch"]), Some("webhook"));
        assert_eq!(nearest("LATE", ["late", "LATER"]), Some("late"));
        assert_eq!(nearest("zebra", ["webhook", "watch"]), None);
    }
}
