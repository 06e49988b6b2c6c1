//! What is shown to people: lines of the log, what commands print, and reports about mistakes.

mod controls;
mod floods;
mod mistakes;

/// Whether a letter steers a terminal, turns its lines around, or is there without being seen.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Fails if what was printed holds more than plain letters and the breaks between its lines.
fn assert_plain(what: &str, printed: &[u8]) -> String {
    let text = String::from_utf8(printed.to_vec()).unwrap();
    if let Some((at, letter)) = text.char_indices().find(|(_, letter)| *letter != '\n' && steers(*letter)) {
        let before = text.floor_char_boundary(at.saturating_sub(200));
        panic!("{what}: {letter:?} behind {:?}", &text[before..at]);
    }
    text
}
