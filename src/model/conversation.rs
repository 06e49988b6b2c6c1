//! What is said to people by `ask`, and what they may say to be understood.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// A question with its choices as plain text: numbered, one a line.
pub fn numbered(text: &str, choices: &[String]) -> String {
    let lines = (1..).zip(choices).map(|(number, choice)| format!("\n{number}. {choice}"));
    std::iter::once(text.to_owned()).chain(lines).collect()
}

/// The choice that was meant: by its words or by its number; case, accents and what stands around it
/// are forgiven.
pub fn chosen<'a>(choices: &'a [String], said: &str) -> Option<&'a String> {
    let said = folded(said);
    if said.is_empty() {
        return None;
    }
    let by_words = choices.iter().find(|choice| folded(choice) == said);
    // A choice may itself be a number, and then that is what was meant.
    by_words.or_else(|| {
        let number: usize = said.strip_prefix('#').unwrap_or(&said).parse().ok()?;
        choices.get(number.checked_sub(1)?)
    })
}

/// A text without case, accents, and the signs around it.
pub fn folded(text: &str) -> String {
    let plain = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    // Accents are marks of their own now; so are what turns a digit into an emoji.
    let letters = plain.chars().filter(|c| !is_mark(*c));
    let letters: String = letters.flat_map(char::to_lowercase).map(|c| if c == 'ß' { 's' } else { c }).collect();
    let words: Vec<&str> = letters.split_whitespace().collect();
    let whole = words.join(" ");
    let bare = whole.trim_matches(|c: char| !c.is_alphanumeric() && c != '#');
    // What has no letters at all (an emoji, say) is what it is.
    if bare.is_empty() { whole } else { bare.to_owned() }
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{200b}'..='\u{200f}')
}

/// Most bytes of a pattern that messages are looked at by, and of what it becomes.
const LONGEST_PATTERN: usize = 4_096;
const LARGEST_PATTERN: usize = 256 << 10;
/// So much of a message is looked at: a stranger's text of any length costs no more.
const LOOKED_AT: usize = 16 << 10;

/// A pattern that messages are looked at by.
///
/// # Errors
/// Why it is none.
pub fn pattern(text: &str) -> Result<regex::Regex, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("it has {} bytes, {LONGEST_PATTERN} are the most", text.len()));
    }
    regex::RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map_err(|error| {
        let why = error.to_string();
        why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
    })
}

/// Whether a pattern finds something in a message.
pub fn finds(pattern: &regex::Regex, text: &str) -> bool {
    pattern.is_match(&text[..text.floor_char_boundary(LOOKED_AT)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_understood() {
        let choices: Vec<String> = ["Sí, por favor", "No", "Später"].map(str::to_owned).into();
        for (said, meant) in [
            ("1", 0),
            (" 2. ", 1),
            ("#3", 2),
            ("(2)", 1),
            ("3️⃣", 2),
            ("no", 1),
            ("NO!", 1),
            ("spater", 2),
            ("SPÄTER", 2),
            ("si,  por favor", 0),
            ("»no«", 1),
        ] {
            assert_eq!(chosen(&choices, said), Some(&choices[meant]), "{said}");
        }
        for said in ["", "0", "4", "maybe", "?", "no no", "99999999999999999999999", "12"] {
            assert_eq!(chosen(&choices, said), None, "{said}");
        }
    }

    #[test]
    fn a_number_that_is_a_choice_is_that_choice() {
        let choices: Vec<String> = ["3", "2", "1"].map(str::to_owned).into();
        assert_eq!(chosen(&choices, "1"), Some(&choices[2]));
        let emoji: Vec<String> = ["👍", "👎"].map(str::to_owned).into();
        assert_eq!(chosen(&emoji, "👎"), Some(&emoji[1]));
    }
}
