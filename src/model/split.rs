//! Long texts in pieces.

/// Pieces of at most so many characters, cut at a paragraph, else a line, a blank, or anywhere.
pub fn split(text: &str, most: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((limit, _)) = rest.char_indices().nth(most) {
        let head = &rest[..limit];
        let cut = ["\n\n", "\n", " "].iter().find_map(|mark| head.rfind(mark).filter(|cut| *cut > 0));
        let (piece, after) = rest.split_at(cut.unwrap_or(limit));
        pieces.push(piece.trim_end().to_owned());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}
