//! Names of headers: events have them in small letters, and scripts may write them in any.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rhai::Token;

/// Follows the words of a script as they are read, one after the other.
#[derive(Default)]
pub struct HeaderNames {
    /// How much of `event.headers[` has just been read, in words.
    read: AtomicU8,
}

impl HeaderNames {
    /// The word; a text that asks `event.headers` for a header has small letters.
    pub fn told(&self, word: Token) -> Token {
        let read = self.read.load(Relaxed);
        let now = match (read, &word) {
            (_, Token::Identifier(name)) if name.as_str() == "event" => 1,
            (1, Token::Period | Token::Elvis) => 2,
            (2, Token::Identifier(name)) if name.as_str() == "headers" => 3,
            (3, Token::LeftBracket | Token::QuestionBracket) => 4,
            _ => 0,
        };
        self.read.store(now, Relaxed);
        match word {
            Token::StringConstant(name) if read == 4 => {
                Token::StringConstant(Box::new(name.to_ascii_lowercase().into()))
            }
            word => word,
        }
    }
}
