//! The fields of a cron line, each checked by itself: what a general parser forgives would silently
//! mean something else here.

/// What a field takes.
struct Field {
    name: &'static str,
    range: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field { name: "second", range: "0 to 59", least: 0, most: 59, names: &[] },
    Field { name: "minute", range: "0 to 59", least: 0, most: 59, names: &[] },
    Field { name: "hour", range: "0 to 23", least: 0, most: 23, names: &[] },
    Field { name: "day", range: "1 to 31", least: 1, most: 31, names: &[] },
    Field { name: "month", range: "1 to 12 or JAN to DEC", least: 1, most: 12, names: &MONTHS },
    Field { name: "weekday", range: "0 to 7 or SUN to SAT", least: 0, most: 7, names: &WEEKDAYS },
];

/// Checks a line and writes it in numbers: five fields, or six with seconds first.
///
/// # Errors
/// A sentence that names the field, what is wrong with it, and what to write.
pub fn checked(line: &str) -> Result<String, String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    if let Some(part) = parts.iter().find(|part| part.split(',').any(str::is_empty)) {
        return Err(format!("`{line}`: `{part}` has an empty item; write lists without blanks, such as `9,17`"));
    }
    if let Some((name, zone)) =
        parts.first().and_then(|first| first.split_once('=')).filter(|(name, _)| name.ends_with("TZ"))
    {
        return Err(format!("`{name}` has no place in a line; write `timezone: {zone}` beside `schedule`"));
    }
    if parts.len() == 7 {
        return Err(format!("`{line}` has 7 fields, and no line names years; for one time of one year there is `at`"));
    }
    if !(5..=6).contains(&parts.len()) {
        let count = parts.len();
        return Err(format!(
            "`{line}` has {count} fields; write five (minute hour day month weekday), or six with seconds first"
        ));
    }
    let fields = &FIELDS[FIELDS.len() - parts.len()..];
    let checked = parts.iter().zip(fields).map(|(part, field)| {
        if part.contains(',') && part.split(',').any(|item| item == "*") {
            return Err(format!("`{line}`: `*` is every {}, so nothing stands beside it", field.name));
        }
        let items: Result<Vec<String>, String> = part.split(',').map(|item| field.item(item)).collect();
        items.map(|items| items.join(",")).map_err(|why| format!("`{line}`: {why}"))
    });
    checked.collect::<Result<Vec<_>, _>>().map(|fields| fields.join(" "))
}

impl Field {
    /// One item of a list, in numbers.
    fn item(&self, item: &str) -> Result<String, String> {
        let name = self.name;
        if let Some((base, step)) = item.split_once('/') {
            if let Some(why) = self.elsewhere(base) {
                return Err(format!("`{item}`: {why}"));
            }
            return self.step(item, base, step);
        }
        if item == "*" {
            return Ok(item.into());
        }
        if let Some(why) = self.elsewhere(item) {
            return Err(format!("`{item}`: {why}"));
        }
        match (name, item.to_ascii_uppercase().as_str()) {
            ("day", "L" | "LW") => return Ok(item.to_ascii_uppercase()),
            ("day", upper) if upper.ends_with('W') => {
                let day = self.value(item, &item[..item.len() - 1])?;
                return Ok(format!("{day}W"));
            }
            ("weekday", upper) if upper.len() > 1 && upper.ends_with('L') => {
                return Ok(format!("{}L", self.value(item, &item[..item.len() - 1])? % 7));
            }
            ("weekday", upper) if upper.contains('#') => {
                let (day, nth) = item.split_once('#').unwrap_or((item, ""));
                return match nth.parse() {
                    Ok(nth @ 1..=5) => Ok(format!("{}#{nth}", self.value(item, day)? % 7)),
                    _ => Err(format!("`{item}`: behind `#` stands 1 to 5, such as `FRI#2` for the second Friday")),
                };
            }
            _ => {}
        }
        match item.split_once('-') {
            Some((from, to)) => self.span(item, from, to),
            None if name == "weekday" && item.eq_ignore_ascii_case("L") => {
                Err("`L` is no weekday; the last Friday of a month is `FRIL`, its last day is `L` as the day".into())
            }
            None => Ok(self.value(item, item)?.to_string()),
        }
    }

    /// What to write for the words of other programs.
    fn elsewhere(&self, item: &str) -> Option<String> {
        let upper = item.to_ascii_uppercase();
        // `FRIL` is the last Friday.
        let full = |name: &&&str| {
            let rest = upper.strip_prefix(**name).unwrap_or_default();
            !matches!(rest, "" | "L") && rest.bytes().all(|byte| byte.is_ascii_alphabetic())
        };
        if let Some(name) = self.names.iter().find(full) {
            return Some(format!("names have three letters; write `{name}`"));
        }
        match upper.as_str() {
            "?" => Some("write `*`, which is any value".into()),
            _ if upper == "H" || upper.starts_with("H(") => {
                Some(format!("nothing is chosen for you; write a {} yourself, or add `jitter`", self.name))
            }
            _ if upper.contains('~') => {
                Some(format!("nothing is drawn by lot; write a {} yourself, or add `jitter`", self.name))
            }
            _ if self.name == "day" && upper.starts_with("L-") => {
                Some("days are not counted from the end of a month; `L` is the last one, `28` is in each".into())
            }
            _ => None,
        }
    }

    fn step(&self, item: &str, base: &str, step: &str) -> Result<String, String> {
        let name = self.name;
        let width = self.most - self.least;
        let step = match step.parse::<u32>() {
            Ok(step) if step > 0 && step <= width => step,
            Ok(step) if step > width => {
                return Err(format!(
                    "a step of {step} is wider than the {name} itself; for longer intervals there is `every`"
                ));
            }
            _ => return Err(format!("`{item}`: a step is a whole number from 1, such as `*/15`")),
        };
        match base.split_once('-') {
            _ if base == "*" => Ok(format!("*/{step}")),
            Some((from, to)) => Ok(format!("{}/{step}", self.span(item, from, to)?)),
            None => Err(format!("`{item}`: a step follows `*` or a range, such as `*/15` or `0-30/5`")),
        }
    }

    fn span(&self, item: &str, from: &str, to: &str) -> Result<String, String> {
        let (first, mut last) = (self.value(item, from)?, self.value(item, to)?);
        // Sunday ends a week that began on another day.
        if self.name == "weekday" && last == 0 && first > 0 {
            last = 7;
        }
        match first <= last {
            true => Ok(format!("{first}-{last}")),
            false => Err(format!(
                "`{item}` goes backwards; write two with a comma between them: `{from}-{},{}-{to}`",
                self.end(),
                self.begin()
            )),
        }
    }

    fn begin(&self) -> &str {
        match self.name {
            "weekday" => "SUN",
            "month" => "JAN",
            "day" => "1",
            _ => "0",
        }
    }

    fn end(&self) -> &str {
        match self.name {
            "weekday" => "SAT",
            "month" => "DEC",
            "day" => "31",
            "hour" => "23",
            _ => "59",
        }
    }

    fn value(&self, item: &str, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|place| u32::try_from(place).ok()).map(|place| place + self.least);
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let value = named.or(number).filter(|value| (self.least..=self.most).contains(value));
        value.ok_or_else(|| match text == item {
            true => format!("`{item}` is no {}; it takes {}", self.name, self.range),
            false => format!("`{item}`: `{text}` is no {}; it takes {}", self.name, self.range),
        })
    }
}
