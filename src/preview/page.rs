//! The head of a page: what a card can be made of.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use html5gum::{DefaultEmitter, Token, Tokenizer};
use url::Url;

/// What the head of a page says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `og:title`.
    pub og_title: Option<String>,
    /// `<title>`.
    pub title: Option<String>,
    /// `og:description`.
    pub og_description: Option<String>,
    /// `<meta name="description">`.
    pub description: Option<String>,
    /// `og:image`, whole.
    pub og_image: Option<String>,
    /// `twitter:image`, which some gateways fall back to.
    pub twitter_image: Option<String>,
    /// `og:url`.
    pub og_url: Option<String>,
    /// `<link rel="canonical">`.
    pub canonical: Option<String>,
    /// `og:site_name`.
    pub site_name: Option<String>,
    /// `og:type`.
    pub og_type: Option<String>,
}

/// A page's bytes as they were before its server packed them, up to `most`; a page that was cut is
/// read as far as it goes. None for ways of packing that are not known here.
pub fn unpacked<'a>(body: &'a [u8], encoding: Option<&str>, most: usize) -> Option<Cow<'a, [u8]>> {
    let encoding = encoding.unwrap_or("identity").trim().to_ascii_lowercase();
    let mut unpacked = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    // What was read until an error stays, and the head is at the beginning.
    let _ = match encoding.as_str() {
        "" | "identity" => return Some(Cow::Borrowed(body)),
        "gzip" | "x-gzip" => MultiGzDecoder::new(body).take(most).read_to_end(&mut unpacked),
        "deflate" => ZlibDecoder::new(body).take(most).read_to_end(&mut unpacked),
        _ => return None,
    };
    Some(Cow::Owned(unpacked))
}

/// Text of a page in whatever it is written: the header's word first, then the page's own.
pub fn decode(body: &[u8], content_type: Option<&str>) -> String {
    let label = |text: &str| {
        let (_, rest) = text.to_ascii_lowercase().split_once("charset=").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let word = rest.trim_start_matches(['"', '\'', ' ']);
        let word: String = word.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c)).collect();
        encoding_rs::Encoding::for_label(word.as_bytes())
    };
    let beginning = String::from_utf8_lossy(&body[..body.len().min(2048)]);
    let encoding = content_type.and_then(label).or_else(|| label(&beginning)).unwrap_or(encoding_rs::UTF_8);
    encoding.decode(body).0.into_owned()
}

/// Reads the head of a page, wherever its tags stand; of two alike the first counts.
pub fn head(html: &str, base: &Url) -> Head {
    let mut head = Head::default();
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut in_title = false;
    let mut title = String::new();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let attribute = |name: &str| {
                    let value = tag.attributes.get(name.as_bytes())?;
                    Some(String::from_utf8_lossy(value).trim().to_owned())
                };
                match tag.name.as_slice() {
                    b"title" => in_title = head.title.is_none(),
                    b"meta" => {
                        // `property` is right, `name` is written as often.
                        let names = [attribute("property"), attribute("name")];
                        for name in names.into_iter().flatten() {
                            meta(&mut head, &name.to_ascii_lowercase(), attribute("content"), base);
                        }
                    }
                    b"link" => {
                        let canonical = attribute("rel").is_some_and(|rel| rel.eq_ignore_ascii_case("canonical"));
                        if canonical && head.canonical.is_none() {
                            head.canonical = attribute("href");
                        }
                    }
                    _ => {}
                }
            }
            Token::String(text) if in_title => title.push_str(&String::from_utf8_lossy(&text)),
            Token::EndTag(tag) if tag.name.as_slice() == b"title" && in_title => {
                in_title = false;
                head.title = said(&title);
            }
            _ => {}
        }
    }
    head
}

fn meta(head: &mut Head, name: &str, content: Option<String>, base: &Url) {
    let Some(content) = content.as_deref().and_then(said) else { return };
    let place = match name {
        "og:title" => &mut head.og_title,
        "og:description" => &mut head.og_description,
        "description" => &mut head.description,
        "og:image" | "og:image:url" | "og:image:secure_url" => &mut head.og_image,
        "twitter:image" | "twitter:image:src" => &mut head.twitter_image,
        "og:url" => &mut head.og_url,
        "og:site_name" => &mut head.site_name,
        "og:type" => &mut head.og_type,
        _ => return,
    };
    let is_address = name.contains("image");
    let content = match is_address {
        true => base.join(&content).map_or(content, String::from),
        false => content,
    };
    place.get_or_insert(content);
}

/// Text in one line, if there is any.
fn said(text: &str) -> Option<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_page_is_read_as_browsers_do() {
        let html = "<!doctype html><html><head><TITLE> A &amp;\n B </TITLE>
            <meta property=\"og:title\" content=\"The &quot;title&quot;\"><meta property='og:title' content='second'>
            <meta name=description content=words><meta property=og:image content=\"/a.png\">
            <script>document.write('<meta property=\"og:type\" content=\"no\">')</script>
            <link rel=canonical href=https://e.com/c></head>";
        let head = head(html, &Url::parse("https://e.com/x/y").unwrap());
        assert_eq!(head.title.as_deref(), Some("A & B"));
        assert_eq!(head.og_title.as_deref(), Some("The \"title\""));
        assert_eq!(head.description.as_deref(), Some("words"));
        assert_eq!(head.og_image.as_deref(), Some("https://e.com/a.png"));
        assert_eq!(head.canonical.as_deref(), Some("https://e.com/c"));
        assert_eq!(head.og_type, None);
    }

    #[test]
    fn other_alphabets_are_read_as_the_page_says() {
        let (body, _, _) = encoding_rs::WINDOWS_1251.encode("<title>Привет</title>");
        assert!(decode(&body, Some("text/html; charset=windows-1251")).contains("Привет"));
        let (body, _, _) = encoding_rs::SHIFT_JIS.encode("<meta charset=\"Shift_JIS\"><title>こんにちは</title>");
        assert!(decode(&body, Some("text/html")).contains("こんにちは"));
        assert_eq!(decode("é".as_bytes(), None), "é");
    }
}
