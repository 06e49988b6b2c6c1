//! Who wants to hear no more, and by what words that is said.

use super::conversation::folded;

/// What people write who want to hear no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptOut {
    /// Words that alone make a message; case, accents and signs are forgiven.
    pub words: Vec<String>,
    /// What they are told, once.
    pub reply: Option<String>,
}

/// Words by which people leave, by language; English ones are understood everywhere. Words that mean much else
/// besides, such as `cancel`, are left out.
const LEAVING: [(&str, &[&str]); 13] = [
    ("en", &["stop", "stopall", "unsubscribe", "opt out", "optout"]),
    ("ar", &["إيقاف", "توقف"]),
    ("de", &["stopp", "abmelden", "abbestellen", "austragen"]),
    ("es", &["baja", "darme de baja", "no molestar"]),
    ("fr", &["arret", "desabonner", "me desabonner", "desinscription"]),
    ("hi", &["रोकें", "बंद करें"]),
    ("id", &["berhenti"]),
    ("it", &["disiscrivimi", "cancellami"]),
    ("nl", &["afmelden", "uitschrijven"]),
    ("pl", &["wypisz", "rezygnuje"]),
    ("pt", &["parar", "sair", "descadastrar"]),
    ("ru", &["стоп", "отписаться", "отписка"]),
    ("tr", &["dur", "ret"]),
];

impl OptOut {
    /// The usual words of a language and of English, without an answer.
    pub fn usual(language: &str) -> Self {
        let of = |wanted: &str| LEAVING.iter().find(|(name, _)| *name == wanted).map_or(&[][..], |(_, words)| words);
        let own = if language == "en" { &[][..] } else { of(language) };
        Self { words: of("en").iter().chain(own).map(|word| (*word).to_owned()).collect(), reply: None }
    }
}

/// Whether a message says nothing but one of these words.
pub fn says(words: &[String], said: &str) -> bool {
    let said = folded(said);
    !said.is_empty() && words.iter().any(|word| folded(word) == said)
}
