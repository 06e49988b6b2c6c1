//! Text that must never be printed: what it proves, and what is done where others say it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// A credential. It shows itself as `***` wherever it might be printed; only [`Secret::reveal`]
/// gives the text, at the place where it goes onto the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire and for comparing.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its duration how much was right.
    pub fn matches(&self, given: &[u8]) -> bool {
        // Both sides are hashed to one length, so that not even that is told.
        is_same(&Sha256::digest(self.0.as_bytes()), &Sha256::digest(given))
    }

    /// The signature (HMAC, RFC 2104) that it makes of some content.
    pub fn signature(&self, hash: Hash, content: &[u8]) -> Vec<u8> {
        fn made<M: Mac + KeyInit>(key: &[u8], content: &[u8]) -> Vec<u8> {
            // Keys of every length are taken, so there is always a signature.
            let mac = <M as KeyInit>::new_from_slice(key);
            mac.map_or_else(|_| Vec::new(), |mac| mac.chain_update(content).finalize().into_bytes().to_vec())
        }
        let key = self.0.as_bytes();
        match hash {
            Hash::Sha1 => made::<Hmac<Sha1>>(key, content),
            Hash::Sha256 => made::<Hmac<Sha256>>(key, content),
            Hash::Sha512 => made::<Hmac<Sha512>>(key, content),
        }
    }

    /// Whether `given` is the signature that it makes of some content. Takes the same time however much of it is
    /// right.
    pub fn has_signed(&self, hash: Hash, content: &[u8], given: &[u8]) -> bool {
        is_signed(self.0.as_bytes(), hash, &[content], given)
    }

    /// The same for a signature in hexadecimal, without a prefix.
    pub fn has_signed_hex(&self, hash: Hash, content: &[u8], given: &str) -> bool {
        hex::decode(given).is_ok_and(|given| self.has_signed(hash, content, &given))
    }
}

/// Whether `given` is the signature (HMAC, RFC 2104) that a key makes of these pieces, one behind the other. Takes the
/// same time however much of it is right.
pub fn is_signed(key: &[u8], hash: Hash, pieces: &[&[u8]], given: &[u8]) -> bool {
    fn is_right<M: Mac + KeyInit>(key: &[u8], pieces: &[&[u8]], given: &[u8]) -> bool {
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.verify_slice(given).is_ok()
    }
    match hash {
        Hash::Sha1 => is_right::<Hmac<Sha1>>(key, pieces, given),
        Hash::Sha256 => is_right::<Hmac<Sha256>>(key, pieces, given),
        Hash::Sha512 => is_right::<Hmac<Sha512>>(key, pieces, given),
    }
}

/// The hash function of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, for callers that know nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Whether bytes are the same. Every byte is compared, whatever the first ones say: the time tells nothing but the
/// length.
pub fn is_same(ours: &[u8], given: &[u8]) -> bool {
    ours.ct_eq(given).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What stands in the place of a secret.
const STARS: &str = "***";
/// What is shorter is no secret: it would blacken half of every sentence.
const SHORTEST: usize = 4;
/// The same for what is left of one in Base64, of which every text has much.
const SHORTEST_ENCODED: usize = 6;
/// Most signs in front of one that JSON within JSON has put there.
const MOST_DOUBLED: usize = 16;
/// Characters that HTML knows by a name.
const ENTITIES: [(char, &str); 5] = [('&', "amp"), ('<', "lt"), ('>', "gt"), ('"', "quot"), ('\'', "apos")];

/// Finds secrets in what others say: as they are, with some of their characters written as addresses, forms,
/// JSON or HTML write them, in Base64 within whatever it encodes, and in hex.
#[derive(Clone, Debug, Default)]
pub struct Veil {
    secrets: Vec<Vec<char>>,
    /// As they stand within Base64, without the characters that they share with what stands around.
    base64: Vec<String>,
    hex: Vec<String>,
}

impl Veil {
    /// Over these. Of `user:password` the password is one too.
    pub fn over<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut veil = Self::default();
        for secret in secrets {
            let secret = secret.reveal();
            veil.add(secret);
            if let Some((_, password)) = secret.split_once(':') {
                veil.add(password);
            }
        }
        // One may stand within another.
        fn longest_first<T: Ord>(list: &mut Vec<T>, length: impl Fn(&T) -> usize) {
            list.sort_unstable_by(|a, b| length(b).cmp(&length(a)).then_with(|| a.cmp(b)));
            list.dedup();
        }
        longest_first(&mut veil.secrets, Vec::len);
        longest_first(&mut veil.base64, String::len);
        longest_first(&mut veil.hex, String::len);
        veil
    }

    /// Only over those that have so many characters.
    pub fn over_long_ones(&self, length: usize) -> Self {
        let long = |list: &[String]| list.iter().filter(|written| written.len() >= length).cloned().collect();
        let secrets = self.secrets.iter().filter(|secret| secret.len() >= length).cloned().collect();
        Self { secrets, base64: long(&self.base64), hex: long(&self.hex) }
    }

    fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        self.secrets.push(secret.chars().collect());
        self.hex.extend([hex::encode(secret), hex::encode_upper(secret)]);
        for before in ["", "x", "xx"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{secret}"));
            let shared = if before.is_empty() { 0 } else { 4 };
            let inner = encoded.get(shared..encoded.len().saturating_sub(2)).unwrap_or_default();
            if inner.len() >= SHORTEST_ENCODED {
                let form = |plus: &str, slash: &str| inner.replace('+', plus).replace('/', slash);
                self.base64.extend([inner.to_owned(), form("-", "_"), form("%2B", "%2F"), form("%2b", "%2f")]);
            }
        }
    }

    /// A text with stars in the places of secrets.
    pub fn drawn_over(&self, text: String) -> String {
        let exactly = |written: &String, text: &str| text.find(written.as_str()).map(|place| (place, written.len()));
        let text = self.base64.iter().fold(text, |text, way| starred(text, |text| exactly(way, text), is_base64));
        let text = self.hex.iter().fold(text, |text, way| starred(text, |text| exactly(way, text), |_| false));
        self.secrets.iter().fold(text, |text, secret| starred(text, |text| find(text, secret), |_| false))
    }
}

/// Puts stars in the places that `next` finds, and over what of the same kind is around them: the ends of an
/// encoded secret are encoded with their neighbours.
fn starred(text: String, next: impl Fn(&str) -> Option<(usize, usize)>, same: impl Fn(char) -> bool) -> String {
    let (mut done, mut rest) = (String::new(), text.as_str());
    while let Some((place, length)) = next(rest) {
        done.push_str(rest[..place].trim_end_matches(&same));
        done.push_str(STARS);
        rest = rest[place + length..].trim_start_matches(&same);
    }
    match done.is_empty() {
        true => text,
        false => done + rest,
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '=')
}

/// The first place that says a secret, with its length.
fn find(text: &str, secret: &[char]) -> Option<(usize, usize)> {
    let mut space = [0; 4];
    let first = secret.first()?.encode_utf8(&mut space).as_bytes()[0];
    let begins = |byte: u8| byte == first || matches!(byte, b'%' | b'+' | b'\\' | b'&');
    let places = text.bytes().enumerate().filter(|(place, byte)| begins(*byte) && text.is_char_boundary(*place));
    places.map(|(place, _)| place).find_map(|place| Some((place, said(&text[place..], secret)?)))
}

/// How many bytes of a text's beginning say a secret, if it begins with one; the most where it is in doubt.
fn said(text: &str, secret: &[char]) -> Option<usize> {
    // Where what was looked at so far may end: mostly in one place.
    let mut ends = vec![0];
    for wanted in secret {
        let mut next: Vec<usize> = Vec::new();
        for end in ends {
            for length in ways(&text[end..], *wanted).into_iter().flatten() {
                if !next.contains(&(end + length)) {
                    next.push(end + length);
                }
            }
        }
        ends = next;
    }
    ends.into_iter().max()
}

/// The lengths of what a text begins with, where that is a character in one writing or another.
fn ways(text: &str, wanted: char) -> [Option<usize>; 4] {
    let mut ways = [None; 4];
    ways[0] = text.starts_with(wanted).then(|| wanted.len_utf8());
    // Most characters of most texts begin nothing that is written otherwise.
    match text.as_bytes().first() {
        Some(b'%') => ways[1] = percent(text, wanted),
        Some(b'+') if wanted == ' ' => ways[1] = Some(1),
        Some(b'\\') => {
            // JSON within JSON doubles them.
            let more = text.bytes().take(MOST_DOUBLED).take_while(|b| *b == b'\\').count() - 1;
            let last = &text[more..];
            let plain = last[1..].starts_with(wanted).then(|| 1 + wanted.len_utf8());
            ways[1] = plain.map(|length| more + length);
            ways[2] = unicode(last, wanted).or_else(|| short(last, wanted)).map(|length| more + length);
            ways[3] = (wanted == '\\' && more > 0).then_some(2);
        }
        Some(b'&') => ways[1] = entity(text, wanted),
        _ => {}
    }
    ways
}

/// `%XX` for each of a character's bytes.
fn percent(text: &str, wanted: char) -> Option<usize> {
    let mut space = [0; 4];
    let bytes = wanted.encode_utf8(&mut space).as_bytes();
    let mut rest = text.as_bytes();
    for byte in bytes {
        let [b'%', high, low, ..] = rest else { return None };
        let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
        if value != u32::from(*byte) {
            return None;
        }
        rest = &rest[3..];
    }
    Some(3 * bytes.len())
}

/// `\uXXXX`, twice for what lies beyond sixteen bits.
fn unicode(text: &str, wanted: char) -> Option<usize> {
    let mut space = [0; 2];
    let units = wanted.encode_utf16(&mut space);
    for (n, unit) in units.iter().enumerate() {
        let written = text.get(6 * n..6 * n + 6)?.strip_prefix("\\u")?;
        if u16::from_str_radix(written, 16) != Ok(*unit) {
            return None;
        }
    }
    Some(6 * units.len())
}

/// `\n` and its like.
fn short(text: &str, wanted: char) -> Option<usize> {
    let letter = match wanted {
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => return None,
    };
    text.starts_with(letter).then_some(letter.len())
}

/// `&amp;`, or any character by its number.
fn entity(text: &str, wanted: char) -> Option<usize> {
    let end = text.bytes().take(12).position(|b| b == b';')?;
    let name = text.get(1..end)?;
    let number = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        },
        None => ENTITIES.iter().find(|(_, known)| *known == name).map(|(c, _)| u32::from(*c)),
    };
    (number == Some(u32::from(wanted))).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_through_takes_no_longer_for_what_it_says() {
        // The time is that of a look at each place: with the square of it this would take an hour.
        let veil = Veil::over([&Secret::new("k/+&=\"hü sh")]);
        for hostile in ["\\", "&", "%2", "k\\", "&#x", "+"] {
            let text = hostile.repeat((1 << 18) / hostile.len());
            assert_eq!(veil.drawn_over(text.clone()), text, "{hostile}");
        }
        // One that may be read in many ways has no more ends than signs.
        let text = "\\".repeat(300);
        assert_eq!(Veil::over([&Secret::new("\\".repeat(60) + "x")]).drawn_over(text.clone()), text);
        let slashes = Secret::new("a\\\\\\\\b");
        let written = serde_json::to_string(&serde_json::to_string(slashes.reveal()).unwrap()).unwrap();
        assert_eq!(Veil::over([&slashes]).drawn_over(written), "\"\\\"***\\\"\"");
    }

    #[test]
    fn only_the_whole_signature_counts() {
        // RFC 2202, 3; RFC 4231, 4.3: test case 2 of each.
        let (secret, content) = (Secret::new("Jefe"), b"what do ya want for nothing?");
        let known = [
            (Hash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Hash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ];
        for (hash, written) in known {
            assert_eq!(hex::encode(secret.signature(hash, content)), written);
            assert!(secret.has_signed_hex(hash, content, written));
            assert!(!secret.has_signed_hex(hash, b"nothing", written));
            assert!(!Secret::new("jefe").has_signed_hex(hash, content, written));
            for part in ["", "zz", &written[..2], &written[2..], &format!("{written}00")] {
                assert!(!secret.has_signed_hex(hash, content, part), "{part}");
            }
        }
        assert!(secret.has_signed(Hash::Sha512, b"", &Secret::new("Jefe").signature(Hash::Sha512, b"")));
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let secret = Secret::new("k/+&=\"hü sh");
        let veil = Veil::over([&secret]);
        for written in [
            "k/+&=\"hü sh",
            "k%2F%2B%26%3D%22h%C3%BC%20sh",
            "k%2f%2b%26%3d%22h%c3%bc+sh",
            "k/%2b&=%22h%C3%bc sh",
            "k\\/+&=\\\"h\\u00fc sh",
            "k\\u002F+&=\\\"h\\u00FC\\u0020sh",
            "k/+&amp;=&quot;h&#252; sh",
            "k\\\\/+&=\\\\\\\"h\\\\u00fc sh",
            "k&#x2F;+&#38;=&#x22;hü sh",
            &hex::encode("k/+&=\"hü sh"),
            &hex::encode_upper("k/+&=\"hü sh"),
        ] {
            assert_eq!(veil.drawn_over(format!("<{written}>")), "<***>", "{written}");
        }
        for before in ["", "u:", "us:", "use:", "user:"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}k/+&=\"hü sh"));
            assert_eq!(veil.drawn_over(format!("Basic {encoded}==, more")), "Basic ***, more", "{before}");
        }
        let plain = "k/+ is none, 5 % of it; a\\b & c";
        assert_eq!(veil.drawn_over(plain.into()), plain);
    }

    #[test]
    fn a_password_is_a_secret_of_its_own_and_short_ones_are_none() {
        let (pair, short) = (Secret::new("user:hushhush"), Secret::new("abc"));
        let veil = Veil::over([&pair, &short]);
        assert_eq!(veil.drawn_over("hushhush for user:hushhush, abc".into()), "*** for ***, abc");
        assert_eq!(veil.over_long_ones(12).drawn_over("hushhush for user:hushhush".into()), "hushhush for ***");
    }
}
