//! Whom a message goes to: read once, then trusted.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::phone::{self, Country};

/// A checked address. Its text form is canonical: `+15417543010` or `<id>@<kind>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// A phone in international digits, without the `+`.
    Phone(String),
    /// A WhatsApp group, the part before `@g.us`.
    Group(String),
    /// A channel, the part before `@newsletter`.
    Newsletter(String),
    /// A hidden identity, the part before `@lid`.
    Lid(String),
    /// Meta's business-scoped id of a person who hides the phone, such as `US.13491208655302741918`.
    Bsuid(String),
}

impl Recipient {
    /// Reads an address whose phones are written internationally.
    ///
    /// # Errors
    /// As [`Recipient::read`].
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, None)
    }

    /// Reads a phone in any usual writing, `...@g.us`, `...@newsletter`, `...@lid`, or a
    /// business-scoped id. Phones without `+` or `00` may be those of a country.
    ///
    /// # Errors
    /// A sentence that names what was written and what is allowed.
    pub fn read(text: &str, country: Option<Country>) -> Result<Self, String> {
        let text = text.trim();
        let Some((id, suffix)) = text.split_once('@') else {
            return match is_bsuid(text) {
                true => Ok(Self::Bsuid(text.into())),
                false => phone::read(text, country).map(Self::Phone),
            };
        };
        let known = matches!(suffix, "g.us" | "newsletter" | "lid" | "s.whatsapp.net" | "c.us");
        if !known {
            return Err(format!(
                "`{text}` is no recipient: behind `@` only `g.us` (group), `newsletter` (channel) and `lid` are known"
            ));
        }
        let numbered = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        // Groups of the official API have long ids of letters and digits.
        let opaque = suffix == "g.us"
            && (16..=256).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b));
        if !numbered && !opaque {
            return Err(format!("`{text}` is no recipient: digits belong before the `@`"));
        }
        match suffix {
            "g.us" => Ok(Self::Group(id.into())),
            "newsletter" => Ok(Self::Newsletter(id.into())),
            "lid" => Ok(Self::Lid(id.into())),
            _ => phone::read(id, None).map(Self::Phone),
        }
    }

    /// Reads back what [`fmt::Display`] wrote, without checking again what was checked then.
    ///
    /// # Errors
    /// A sentence, when it is not of that form.
    pub fn from_canonical(text: &str) -> Result<Self, String> {
        match text.strip_prefix('+') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Self::Phone(digits.into())),
            _ => Self::parse(text),
        }
    }

    /// The one spelling that stands for all of a person's, see [`phone::person`].
    pub fn person(&self) -> Self {
        match self {
            Self::Phone(digits) => Self::Phone(phone::person(digits).into_owned()),
            other => other.clone(),
        }
    }

    /// The part before the `@`, or the phone's digits.
    pub fn id(&self) -> &str {
        match self {
            Self::Phone(id) | Self::Group(id) | Self::Newsletter(id) | Self::Lid(id) | Self::Bsuid(id) => id,
        }
    }

    /// Which kind of address it is: `phone`, `group`, `newsletter`, `lid` or `bsuid`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Phone(_) => "phone",
            Self::Group(_) => "group",
            Self::Newsletter(_) => "newsletter",
            Self::Lid(_) => "lid",
            Self::Bsuid(_) => "bsuid",
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(digits) => write!(f, "+{digits}"),
            Self::Group(id) => write!(f, "{id}@g.us"),
            Self::Newsletter(id) => write!(f, "{id}@newsletter"),
            Self::Lid(id) => write!(f, "{id}@lid"),
            Self::Bsuid(id) => f.write_str(id),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_canonical(&text).map_err(serde::de::Error::custom)
    }
}

/// `CC.<up to 128 letters and digits>`, or the parent's form `CC.ENT.<...>`.
fn is_bsuid(text: &str) -> bool {
    let Some((country, id)) = text.split_once('.') else { return false };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A pattern that finds a recipient in a text, as whole words. A phone (canonical, such as
/// `+15417543010`) it finds as people write phones: with its country, or with the prefix that stands for
/// the own country, whatever stands between the digits; and without either, where the digits are enough
/// to be nothing else.
pub fn pattern(recipient: &str) -> String {
    let digits = recipient.strip_prefix('+').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let written = match digits.map(|digits| (digits, phone::split(digits))) {
        None => regex::escape(recipient),
        Some((digits, None)) => spaced(digits),
        Some((digits, Some((country, rest)))) => writings(digits, rest, country.national_prefix()).join("|"),
    };
    format!(r"(?:^|%2[Bb]|[^\p{{Alphabetic}}\p{{N}}])(?:{written})(?:$|[^\p{{Alphabetic}}\p{{N}}])")
}

fn writings(digits: &str, rest: &str, own_country: Option<&str>) -> Vec<String> {
    let code = spaced(&digits[..digits.len() - rest.len()]);
    // So few digits may be an amount, or a day.
    let abroad = if digits.len() < 10 { r"(?:\+|00|%2[Bb])" } else { r"(?:\+|00|%2[Bb])?" };
    let mut all = vec![format!("{abroad}{BETWEEN}{code}{BETWEEN}0?{BETWEEN}{}", spaced(rest))];
    if let Some(own_country) = own_country.filter(|prefix| prefix.len() + rest.len() >= 9) {
        all.push(format!("{own_country}{BETWEEN}{}", spaced(rest)));
    }
    if rest.len() >= 9 {
        all.push(rest.to_owned());
        // Neither a day nor an hour begins with three digits.
        all.push(format!("{}{SEPARATOR}+{}", &rest[..3], spaced(&rest[3..])));
    }
    all
}

/// What may stand between two digits of a phone: brackets, dashes, dots, spaces, and the marks of
/// direction that a copied number brings along.
const SEPARATOR: &str = r"[\s().\-/\u{2010}-\u{2015}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]";
const BETWEEN: &str = r"[\s().\-/\u{2010}-\u{2015}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]*";

fn spaced(digits: &str) -> String {
    digits.chars().map(String::from).collect::<Vec<_>>().join(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_found_in_every_writing_and_nobody_else() {
        let finds = |recipient: &str, text: &str| regex::Regex::new(&pattern(recipient)).unwrap().is_match(text);
        for text in [
            "+1 541-754-3010",
            r#"{"to":15417543010}"#,
            "001 (541) 754.3010",
            "call (541) 754 3010 now",
            "541\u{a0}754\u{2011}3010",
            "\u{202a}+1 541 754 3010\u{202c}",
            "15417543010@c.us",
        ] {
            assert!(finds("+15417543010", text), "{text}");
        }
        for (phone, text) in [
            ("+15417543010", "to=%2B15417543010"),
            ("+4915123456789", "0151 23456789"),
            ("+4915123456789", "+49 (0) 151 / 23 45 67 89"),
            ("+4915123456789", "49151-23456789"),
            ("+79123456789", "8 (912) 345-67-89"),
            ("+4520260731", "+45 20 26 07 31"),
            ("+4520260731", "4520260731"),
            ("+34612345678", "612 345 678"),
        ] {
            assert!(finds(phone, text), "{phone} {text}");
        }
        for (phone, text) in [
            ("+15417543010", "154175430101"),
            ("+15417543010", "915417543010"),
            ("+15417543010", "+15417543011"),
            ("+15417543010", "x5417543010"),
            ("+4520260731", "2026-07-31"),
            ("+4520260731", "20260731"),
            ("+12026073110", "2026-07-31 10:15"),
            ("+13107202612", "31.07.2026 12:15"),
            ("+6834012", r#"{"amount":4012,"id":6834012}"#),
        ] {
            assert!(!finds(phone, text), "{phone} {text}");
        }
        assert!(finds("77512345678901@lid", r#"["77512345678901@lid"]"#));
        assert!(!finds("77512345678901@lid", "177512345678901@lid") && !finds("a.b", "a-b"));
    }

    #[test]
    fn other_addresses_keep_their_kind() {
        for text in [
            "120363024512345678@g.us",
            "15417543010-1570918620@g.us",
            "Y2FwaV9ncm91cDoxOTUwNTU1MDA3@g.us",
            "1203@newsletter",
            "77@lid",
            "US.13491208655302741918",
            "US.ENT.13491208655302741918",
        ] {
            assert_eq!(Recipient::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, part) in
            [("abc", "`a` does not belong"), ("a@b.c", "only `g.us`"), ("", "no phone"), ("x@g.us", "digits belong")]
        {
            let error = Recipient::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
