//! Long texts in pieces.

use unicode_segmentation::UnicodeSegmentation;

/// Pieces of at most so many characters, cut at a paragraph, else a line, a blank, or between what
/// people see as letters; outside of a `*bold*` passage if that costs no more than half a piece.
pub fn split(text: &str, most: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((limit, _)) = rest.char_indices().nth(most) {
        let (piece, after) = rest.split_at(cut(rest, limit));
        pieces.push(piece.trim_end().to_owned());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

/// Where a text that goes on after `limit` bytes is cut: more than nothing, at most there.
fn cut(text: &str, limit: usize) -> usize {
    let head = &text[..limit];
    let marks = ["\n\n", "\n", " "];
    // Marks open and close within a line.
    let is_whole = |cut: &usize| head[..*cut].rsplit('\n').next().is_none_or(|line| line.matches('*').count() % 2 == 0);
    let at_mark = marks.iter().find_map(|mark| {
        let mut cuts = head.rmatch_indices(mark).map(|(cut, _)| cut).filter(|cut| *cut > 0);
        let last = cuts.next()?;
        let outside = std::iter::once(last).chain(cuts).take_while(|cut| *cut > limit / 2).find(is_whole);
        outside.or(Some(last))
    });
    let between_letters = || {
        let ends = text.grapheme_indices(true).map(|(start, _)| start).take_while(|start| *start <= limit);
        ends.last().filter(|cut| *cut > 0)
    };
    at_mark.or_else(between_letters).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn what_is_seen_as_one_stays_in_one_piece() {
        // A family is one letter to people, of seven characters.
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        assert_eq!(split(&family.repeat(3), 10), [family, family, family]);
        assert_eq!(split("e\u{301}e\u{301}e\u{301}", 3), ["e\u{301}", "e\u{301}", "e\u{301}"]);
        // Longer than a piece: cut all the same, and nothing is lost.
        assert_eq!(split(family, 3).concat(), family);
        // A passage in bold is not torn where a cut before it costs little.
        assert_eq!(split("aaaa bbbb cccc *bold words* d", 22), ["aaaa bbbb cccc", "*bold words* d"]);
        assert_eq!(
            split("a *bold words without end that go on* d", 20),
            ["a *bold words", "without end that go", "on* d"]
        );
        assert_eq!(split("3 * 4 is twelve and more", 12), ["3 * 4 is", "twelve and", "more"]);
    }

    #[test]
    fn paragraphs_come_first_then_lines_then_blanks() {
        assert_eq!(split("aa\n\nbb cc\ndd", 9), ["aa", "bb cc\ndd"]);
        assert_eq!(split("aaaa\nbb cc dd", 9), ["aaaa", "bb cc dd"]);
        assert_eq!(split("aaaaaaaaaaaa", 5), ["aaaaa", "aaaaa", "aa"]);
        assert_eq!(split("short", 5), ["short"]);
    }
}
