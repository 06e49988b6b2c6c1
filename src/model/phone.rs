//! Phones as people write them: what they mean by the numbering plan, and which spellings are one line.

use std::borrow::Cow;
use std::sync::OnceLock;

use phonenumber::Metadata;
use phonenumber::country::Id;
use phonenumber::metadata::{DATABASE, Descriptor};
use regex::{Regex, RegexBuilder};

/// Fewer digits are nobody's phone, and more are none by E.164.
const SHORTEST: usize = 7;
const LONGEST: usize = 15;
/// Most letters of one, with all that may stand between its digits.
const LONGEST_WRITING: usize = 100;

/// A country, for phones that are written without its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(Id);

impl Country {
    /// Reads its two letters (ISO 3166), such as `DE`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let id = text.to_ascii_uppercase().parse().map(Self);
        id.map_err(|_| format!("`{text}` is no country; write its two letters, such as `DE` or `US`"))
    }

    /// The two letters.
    pub fn name(&self) -> &str {
        self.0.as_ref()
    }

    fn plan(self) -> Option<&'static Metadata> {
        DATABASE.by_id(self.0.as_ref())
    }
}

/// International digits of a phone, without the `+`: as it stands with `+` or `00`, else as a number of
/// `country` if it is a valid one there, else as international digits.
///
/// # Errors
/// A sentence that names what was written, and why it is no phone.
pub fn read(text: &str, country: Option<Country>) -> Result<String, String> {
    let wrong = |why: &str| {
        let cut: String = text.chars().take(LONGEST_WRITING).collect();
        let shown = crate::plain::plain(&cut);
        format!("`{shown}` is no phone number: {why}; write it internationally, such as `+1 541-754-3010`")
    };
    // However it is spaced out; what follows looks at each piece of it.
    if text.chars().nth(LONGEST_WRITING).is_some() {
        return Err(wrong("it goes on for longer than any number does"));
    }
    let plain = simple(text).map_err(|why| wrong(&why))?;
    let plain = without_zero_fraction(&plain).map_err(wrong)?;
    if let Some(why) = is_more_than_one(plain, country) {
        return Err(wrong(why));
    }
    let digits: String = plain.chars().filter(char::is_ascii_digit).collect();
    let international = match plain.trim_start_matches([' ', '(']).starts_with('+') {
        true => Some(digits.as_str()),
        false => digits.strip_prefix("00"),
    };
    if let (None, Some(own)) = (international, country.and_then(|country| national(&digits, country))) {
        return Ok(own);
    }
    let digits = international.unwrap_or(&digits);
    if digits.starts_with('0') {
        return Err(wrong(match country {
            Some(_) => "it is none of the `country` that is set, and a country code does not begin with 0",
            None => "a country code does not begin with 0 (or say by `country:` in postrider.yaml whose it is)",
        }));
    }
    if !(SHORTEST..=LONGEST).contains(&digits.len()) {
        return Err(wrong(&format!("it has {} digits where {SHORTEST} to {LONGEST} are possible", digits.len())));
    }
    let digits = match is_as_it_stands(digits) {
        true => digits.to_owned(),
        false => normal(digits).ok_or_else(|| wrong("no country has such a number"))?,
    };
    match too_long_or_short(&digits) {
        Some(why) => Err(wrong(&why)),
        None => Ok(digits),
    }
}

/// The text in digits, `+`, blanks, brackets, dots, dashes and slashes, whatever they were written with.
fn simple(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    for letter in text.trim().chars() {
        match letter {
            '0'..='9' | '+' | ' ' | '(' | ')' | '.' | '-' | '/' => plain.push(letter),
            // Marks of direction and of no width, which copying brings along, and forms of emoji.
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fe00}'..='\u{fe0f}' => {}
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => plain.push(' '),
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => plain.push('-'),
            '\u{ff0b}' | '\u{fe62}' => plain.push('+'),
            '\u{ff08}' => plain.push('('),
            '\u{ff09}' => plain.push(')'),
            '\u{ff0e}' => plain.push('.'),
            '\u{ff0f}' => plain.push('/'),
            ',' | ';' | '\n' | '\r' | '|' | '&' => return Err("it is more than one number".into()),
            '#' | 'x' | 'X' => return Err(format!("`{letter}` begins an extension, which has no WhatsApp of its own")),
            other => match digit(other) {
                Some(digit) => plain.push(digit),
                None if other.is_control() || other.is_whitespace() => {
                    return Err(format!("the invisible U+{:04X} does not belong in one", u32::from(other)));
                }
                None => return Err(format!("`{other}` does not belong in one")),
            },
        }
    }
    let begin = plain.trim_start_matches([' ', '(']);
    let begin = begin.strip_prefix('+').unwrap_or(begin);
    if begin.starts_with('-') {
        return Err("a number does not begin with `-`".into());
    }
    match begin.contains('+') {
        true => Err("`+` belongs at its beginning only; is it more than one number?".into()),
        false => Ok(plain),
    }
}

/// Zeros of the scripts whose digits are used for phones; the other nine follow each (Unicode, class Nd).
const ZEROS: [u32; 36] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

fn digit(letter: char) -> Option<char> {
    let code = u32::from(letter);
    let value = ZEROS.iter().find_map(|zero| code.checked_sub(*zero).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

/// A table makes `15417543010.0` of a number; any other fraction is none.
fn without_zero_fraction(text: &str) -> Result<&str, &'static str> {
    let Some((whole, fraction)) = text.rsplit_once('.') else { return Ok(text) };
    let bare = whole.strip_prefix('+').unwrap_or(whole);
    let is_fraction = (1..=3).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if !is_fraction || bare.len() < SHORTEST || !bare.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text);
    }
    match fraction {
        "0" | "00" => Ok(whole),
        _ => Err("it is a fraction"),
    }
}

/// Whether something stands behind a number that is whole: a second one, a range, an extension.
fn is_more_than_one(text: &str, country: Option<Country>) -> Option<&'static str> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_whole = |before: &str| {
        let number = digits(before);
        let (written_out, number) = match before.trim_start_matches([' ', '(']).starts_with('+') {
            true => (true, number.as_str()),
            false => (number.starts_with("00"), number.strip_prefix("00").unwrap_or(&number)),
        };
        let own = || country.filter(|_| !written_out).is_some_and(|country| national(number, country).is_some());
        number.len() >= SHORTEST && (own() || normal(number).is_some_and(|number| is_known(&number)))
    };
    for (place, mark) in text.char_indices().filter(|(_, mark)| matches!(mark, '/' | '(' | '-')) {
        let (before, after) = (&text[..place], &text[place + 1..]);
        let behind = digits(after).len();
        if behind == 0 || digits(before).is_empty() {
            continue;
        }
        let apart = mark != '-' || (before.ends_with(' ') && after.starts_with(' '));
        let is_end = mark == '/' && behind <= 3;
        if is_end || (apart && is_whole(before)) {
            return Some("it is more than one number, or has an extension");
        }
    }
    None
}

/// The digits of a number that is valid in a country, written as one calls it there.
fn national(digits: &str, country: Country) -> Option<String> {
    let plan = country.plan()?;
    let code = plan.country_code().to_string();
    // Many leave out only the `+`.
    if let Some(rest) = digits.strip_prefix(&code)
        && !rest.starts_with('0')
        && is_known(digits)
    {
        return Some(digits.to_owned());
    }
    let good = |all: String| is_known(&all).then_some(all);
    // Prefixes of carriers, and marks of mobiles, are known by the country's own rules only.
    let by_rules = || {
        let parsed = phonenumber::parse(Some(country.0), digits).ok()?;
        (parsed.code().value().to_string() == code).then(|| format!("{code}{}", parsed.national()))
    };
    let without = plan.national_prefix().and_then(|prefix| digits.strip_prefix(prefix));
    let bare = format!("{code}{}", without.unwrap_or(digits));
    let written = format!("{code}{digits}");
    // An old spelling is a number, though the plan knows the new one only.
    normal(&written).and_then(good).or_else(|| by_rules().and_then(good)).or_else(|| good(bare))
}

/// Whether international digits are, in one of their spellings, a valid number by the numbering plan. Plans change: one that is not may
/// be a number all the same.
pub fn is_known(digits: &str) -> bool {
    let valid = |digits: &str| plan_of(digits).is_some_and(|(numbers, rest)| numbers.is_match(rest));
    valid(digits) || other_spelling(digits).is_some_and(|other| valid(&other))
}

/// A pattern of all numbers behind a country's code, and what stands behind it here.
fn plan_of(digits: &str) -> Option<(&'static Regex, &str)> {
    static BY_CODE: [OnceLock<Option<Regex>>; 1000] = [const { OnceLock::new() }; 1000];
    let (plans, rest) = plans(digits)?;
    let code = usize::from(plans.first()?.country_code());
    let pattern = BY_CODE.get(code)?.get_or_init(|| {
        // The tables keep a hundred patterns compiled, and North America alone has more.
        let kinds = plans.iter().flat_map(|plan| kinds(plan));
        let numbers: Vec<_> = kinds.map(|kind| format!("(?:{})", kind.national_number().as_str())).collect();
        let pattern = format!("^(?:{})$", numbers.join("|"));
        // Every digit is an ASCII one here; all of Unicode's would take the plan of North America 100 ms.
        RegexBuilder::new(&pattern).ignore_whitespace(true).unicode(false).dfa_size_limit(1 << 18).build().ok()
    });
    Some((pattern.as_ref()?, rest))
}

/// What numbers a plan has; only these have lengths, the plan as a whole has none in these tables.
fn kinds(plan: &Metadata) -> impl Iterator<Item = &Descriptor> {
    let all = plan.descriptors();
    let kinds = [
        all.fixed_line(),
        all.mobile(),
        all.toll_free(),
        all.premium_rate(),
        all.shared_cost(),
        all.personal_number(),
        all.voip(),
        all.pager(),
        all.uan(),
        all.voicemail(),
    ];
    kinds.into_iter().flatten()
}

fn has_length(kind: &Descriptor, rest: &str) -> bool {
    kind.possible_length().iter().any(|length| usize::from(*length) == rest.len())
}

/// Why digits cannot be a number of their country: no number of it is so long. None where it can be one.
fn too_long_or_short(digits: &str) -> Option<String> {
    let Some((plans, rest)) = plans(digits) else { return Some("no country has such a code".into()) };
    let code = &digits[..digits.len() - rest.len()];
    let is_possible = match code {
        // Shorter ones are for the neighbours only.
        "1" => rest.len() == 10,
        _ => plans.iter().any(|plan| kinds(plan).any(|kind| has_length(kind, rest))),
    };
    if other_spelling(digits).is_some() || is_possible {
        return None;
    }
    Some(format!("no number of +{code} has {} digits behind that", rest.len()))
}

/// The digits without a trunk prefix that people wrote though it does not belong there.
fn normal(digits: &str) -> Option<String> {
    if other_spelling(digits).is_some() {
        return Some(digits.to_owned());
    }
    let parsed = phonenumber::parse(None, format!("+{digits}")).ok()?;
    Some(format!("{}{}", parsed.code().value(), parsed.national()))
}

/// Whether parsing would give the digits back as they are: the country code exists, and the rest
/// neither begins with the country's trunk prefix nor could be rewritten. Parsing proper walks
/// several regular expressions, which is most of the cost of a short message.
fn is_as_it_stands(digits: &str) -> bool {
    split(digits).is_some_and(|(country, rest)| {
        let rewritten = country.national_prefix_transform_rule().is_some();
        // A trunk prefix that is a plain text can be compared; a pattern has to be parsed.
        let trunk = country.national_prefix_for_parsing().is_some_and(|pattern| {
            let text = pattern.as_str().trim_start_matches("^(?:").trim_end_matches(')');
            !text.bytes().all(|b| b.is_ascii_digit()) || rest.starts_with(text)
        });
        let trunk = trunk || country.national_prefix().is_some_and(|prefix| rest.starts_with(prefix));
        !rewritten && !trunk && !rest.starts_with('0') && rest.len() >= 8
    })
}

/// Reads the tables of the world's phones, which the first phone needs and which takes some 50 ms.
pub fn warm() {
    let _ = split("1");
}

/// A phone in the way of writing that its country has, behind the country's code; as it is, if that is not known.
pub fn shown(address: &str) -> String {
    match phonenumber::parse(None, address) {
        Ok(number) => number.format().mode(phonenumber::Mode::International).to_string(),
        Err(_) => address.to_owned(),
    }
}

/// The country that international digits begin with, and the rest. Where several share a code it is the
/// first of them.
pub fn split(digits: &str) -> Option<(&'static Metadata, &str)> {
    let (plans, rest) = plans(digits)?;
    Some((*plans.first()?, rest))
}

fn plans(digits: &str) -> Option<(Vec<&'static Metadata>, &str)> {
    (1..=3).find_map(|length| {
        let code: u16 = digits.get(..length)?.parse().ok()?;
        Some((DATABASE.by_code(&code).filter(|plans| !plans.is_empty())?, &digits[length..]))
    })
}

/// The other way in which the same line is written, where there are two: WhatsApp knows a person by one of
/// them, and tells it by either.
///
/// Brazil: mobiles have got a 9 in front of their eight digits (2012 to 2016). Mexico: mobiles had a 1 in front
/// for callers from abroad (until 2019). Argentina: mobiles have a 9 there. Benin: all numbers have got 01 in
/// front (2024).
pub fn other_spelling(digits: &str) -> Option<String> {
    let mobile = |letter: Option<&u8>| letter.is_some_and(|letter| (b'6'..=b'9').contains(letter));
    let of = |code: &str| digits.strip_prefix(code).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    if let Some(rest) = of("55") {
        let bytes = rest.as_bytes();
        return match rest.len() {
            11 if bytes[2] == b'9' && mobile(bytes.get(3)) => Some(format!("55{}{}", &rest[..2], &rest[3..])),
            10 if mobile(bytes.get(2)) => Some(format!("55{}9{}", &rest[..2], &rest[2..])),
            _ => None,
        };
    }
    if let Some(rest) = of("52") {
        return match rest.len() {
            11 => rest.strip_prefix('1').map(|rest| format!("52{rest}")),
            10 => Some(format!("521{rest}")),
            _ => None,
        };
    }
    if let Some(rest) = of("54") {
        return match rest.len() {
            11 => rest.strip_prefix('9').map(|rest| format!("54{rest}")),
            10 => Some(format!("549{rest}")),
            _ => None,
        };
    }
    let rest = of("229")?;
    match rest.len() {
        10 => rest.strip_prefix("01").map(|rest| format!("229{rest}")),
        8 => Some(format!("22901{rest}")),
        _ => None,
    }
}

/// The spelling that stands for a line, so that a person is one whatever was written: as the plan has it now.
pub fn person(digits: &str) -> Cow<'_, str> {
    match other_spelling(digits) {
        // The newer spelling is the longer one, but for Mexico.
        Some(other) if (other.len() > digits.len()) != digits.starts_with("52") => Cow::Owned(other),
        _ => Cow::Borrowed(digits),
    }
}

/// The same for an address as it is kept: `+` and digits, or something else, which stays.
pub fn person_of(address: &str) -> Cow<'_, str> {
    match address.strip_prefix('+').map(person) {
        Some(Cow::Owned(digits)) => Cow::Owned(format!("+{digits}")),
        _ => Cow::Borrowed(address),
    }
}

/// The other spelling of an address as it is kept.
pub fn other_address(address: &str) -> Option<String> {
    other_spelling(address.strip_prefix('+')?).map(|digits| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_parsed_would_have_come_out_the_same() {
        let mut skipped = 0;
        for code in 1..1000 {
            for rest in ["23456789", "541754301", "7700900123", "15123456789", "8123456789", "9123456789", "3012345678"]
            {
                let digits = format!("{code}{rest}");
                if digits.len() <= 15 && is_as_it_stands(&digits) {
                    skipped += 1;
                    assert_eq!(normal(&digits).as_deref(), Some(digits.as_str()), "{digits}");
                }
            }
        }
        assert!(skipped > 500, "{skipped}");
        assert!(is_as_it_stands("15417543010"));
    }

    #[test]
    fn the_examples_of_all_plans_are_known_numbers() {
        let mut examples = 0;
        for code in 1..1000 {
            for plan in DATABASE.by_code(&code).unwrap_or_default() {
                for example in kinds(plan).filter_map(Descriptor::example) {
                    examples += 1;
                    assert!(is_known(&format!("{code}{example}")), "+{code} {example}");
                }
            }
        }
        assert!(examples > 1_000, "{examples}");
        // No exchange of North America begins with 0 or 1, and no number of it is shorter.
        for unknown in ["15410543010", "15411543010", "1541754301"] {
            assert!(!is_known(unknown), "{unknown}");
        }
        assert!(is_known("15417543010"));
    }

    #[test]
    fn a_line_is_one_person_in_both_spellings() {
        for (new, old) in [
            ("5541987654321", "554187654321"),
            ("525512345678", "5215512345678"),
            ("5491123456789", "541123456789"),
            ("2290197979797", "22997979797"),
        ] {
            assert_eq!(other_spelling(new).as_deref(), Some(old));
            assert_eq!(other_spelling(old).as_deref(), Some(new));
            assert_eq!((person(new), person(old)), (new.into(), Cow::Borrowed(new)));
            assert_eq!(person_of(&format!("+{old}")), format!("+{new}"));
        }
        // A line in the wall, and other countries, have one.
        for one in ["554132345678", "5541932345678", "15417543010", "4915123456789", "77@lid"] {
            assert_eq!((other_spelling(one), person(one)), (None, one.into()));
        }
    }
}
