//! A question as it stands in the store: flat, told apart by one word. Files of earlier versions read,
//! whatever the kinds of questions are called in memory.

use serde::{Deserialize, Serialize};

use super::{Asked, Change, Errand, Question, Read, Wait};
use crate::id::MessageId;
use crate::model::call::Call;

/// What is written of a [`Question`]; its fields are explained there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are those of the kinds of questions, where each is explained")]
pub enum QuestionRecord {
    Sleep {
        until: i64,
    },
    Delivery {
        message: MessageId,
        goal: String,
        until: Option<i64>,
    },
    Cancel {
        message: MessageId,
    },
    Http {
        calls: Vec<Call>,
        all: bool,
        #[serde(default)]
        again: Vec<u32>,
    },
    Move {
        from: String,
        to: String,
        #[serde(default)]
        seen: Option<[i64; 3]>,
    },
    Save {
        account: String,
        source: String,
        #[serde(default)]
        mime: Option<String>,
        to: String,
    },
    Part {
        part: u32,
        to: String,
    },
    Increment {
        shared: bool,
        key: String,
        by: serde_json::Number,
    },
    Ask(Box<Asked>),
    Message {
        account: Option<String>,
        from: Option<String>,
        text: Option<String>,
        until: i64,
    },
    Event {
        name: String,
        key: Option<String>,
        after: i64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        got: Vec<i64>,
        until: Option<i64>,
    },
    Read(Read),
}

impl From<QuestionRecord> for Question {
    fn from(record: QuestionRecord) -> Self {
        match record {
            QuestionRecord::Read(read) => Self::Read(read),
            QuestionRecord::Sleep { until } => Self::Wait(Wait::Sleep { until }),
            QuestionRecord::Delivery { message, goal, until } => Self::Wait(Wait::Delivery { message, goal, until }),
            QuestionRecord::Ask(asked) => Self::Wait(Wait::Ask(asked)),
            QuestionRecord::Message { account, from, text, until } => {
                Self::Wait(Wait::Message { account, from, text, until })
            }
            QuestionRecord::Event { name, key, after, got, until } => {
                Self::Wait(Wait::Event { name, key, after, got, until })
            }
            QuestionRecord::Http { calls, all, again } => Self::Errand(Errand::Http { calls, all, again }),
            QuestionRecord::Move { from, to, seen } => Self::Errand(Errand::Move { from, to, seen }),
            QuestionRecord::Save { account, source, mime, to } => {
                Self::Errand(Errand::Save { account, source, mime, to })
            }
            QuestionRecord::Part { part, to } => Self::Errand(Errand::Part { part, to }),
            QuestionRecord::Cancel { message } => Self::Change(Change::Cancel { message }),
            QuestionRecord::Increment { shared, key, by } => Self::Change(Change::Increment { shared, key, by }),
        }
    }
}

impl From<Question> for QuestionRecord {
    fn from(question: Question) -> Self {
        match question {
            Question::Read(read) => Self::Read(read),
            Question::Wait(wait) => match wait {
                Wait::Sleep { until } => Self::Sleep { until },
                Wait::Delivery { message, goal, until } => Self::Delivery { message, goal, until },
                Wait::Ask(asked) => Self::Ask(asked),
                Wait::Message { account, from, text, until } => Self::Message { account, from, text, until },
                Wait::Event { name, key, after, got, until } => Self::Event { name, key, after, got, until },
            },
            Question::Errand(errand) => match errand {
                Errand::Http { calls, all, again } => Self::Http { calls, all, again },
                Errand::Move { from, to, seen } => Self::Move { from, to, seen },
                Errand::Save { account, source, mime, to } => Self::Save { account, source, mime, to },
                Errand::Part { part, to } => Self::Part { part, to },
            },
            Question::Change(change) => match change {
                Change::Cancel { message } => Self::Cancel { message },
                Change::Increment { shared, key, by } => Self::Increment { shared, key, by },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01000000-0000-7000-8000-000000000001";

    /// Each kind as earlier versions wrote it, with all fields and with those alone that they always wrote.
    const WRITTEN: [&str; 25] = [
        r#"{"ask":"sleep","until":1700000000000}"#,
        r#"{"ask":"delivery","message":"ID","goal":"settled","until":null}"#,
        r#"{"ask":"delivery","message":"ID","goal":"clicked","until":5}"#,
        r#"{"ask":"cancel","message":"ID"}"#,
        r#"{"ask":"http","calls":[],"all":true,"again":[0,2]}"#,
        r#"{"ask":"move","from":"a","to":"b","seen":[1,2,3]}"#,
        r#"{"ask":"move","from":"a","to":"b","seen":null}"#,
        r#"{"ask":"save","account":"main","source":"s","mime":"image/png","to":"t"}"#,
        r#"{"ask":"save","account":"main","source":"s","mime":null,"to":"t"}"#,
        r#"{"ask":"part","part":1,"to":"t"}"#,
        r#"{"ask":"increment","shared":false,"key":"k","by":1}"#,
        r#"{"ask":"increment","shared":true,"key":"k","by":0.5}"#,
        r#"{"ask":"ask","message":"ID","reminder":"ID","repetition":"ID","account":"main","to":"+15417543010","text":"?","choices":["a","b"],"timeout":9,"remind":4}"#,
        r#"{"ask":"ask","message":"ID","reminder":"ID","repetition":"ID","account":"main","to":"+15417543010","text":"?","timeout":9}"#,
        r#"{"ask":"message","account":null,"from":null,"text":null,"until":7}"#,
        r#"{"ask":"message","account":"main","from":"+15417543010","text":"^yes","until":7}"#,
        r#"{"ask":"event","name":"paid","key":null,"after":0,"until":null}"#,
        r#"{"ask":"event","name":"paid","key":"k","after":3,"got":[5,6],"until":8}"#,
        r#"{"ask":"read","read":"kv","key":"k"}"#,
        r#"{"ask":"read","read":"shared","key":"k"}"#,
        r#"{"ask":"read","read":"keys","shared":true,"prefix":"p","unsaved":[["a",true],["b",false]]}"#,
        r#"{"ask":"read","read":"flow","name":"f"}"#,
        r#"{"ask":"read","read":"snapshot","path":"p"}"#,
        r#"{"ask":"read","read":"seen","path":"p"}"#,
        r#"{"ask":"read","read":"keyed","key":"k","to":"+15417543010"}"#,
    ];

    #[test]
    fn what_is_written_of_a_question_is_what_earlier_versions_wrote() {
        for written in WRITTEN.map(|text| text.replace("ID", ID)) {
            let read: Question = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
    }

    #[test]
    fn requests_are_written_as_before() {
        let written = r#"{"ask":"http","calls":[{"method":"GET","url":"https://example.com/","timeout":30000}],"all":false,"again":[]}"#;
        let read: Question = serde_json::from_str(written).unwrap();
        assert!(matches!(&read, Question::Errand(Errand::Http { calls, all: false, .. }) if calls.len() == 1));
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
    }

    #[test]
    fn fields_that_were_added_later_may_be_missing() {
        let pairs = [
            (r#"{"ask":"http","calls":[],"all":false}"#, r#"{"ask":"http","calls":[],"all":false,"again":[]}"#),
            (r#"{"ask":"move","from":"a","to":"b"}"#, r#"{"ask":"move","from":"a","to":"b","seen":null}"#),
            (
                r#"{"ask":"save","account":"main","source":"s","to":"t"}"#,
                r#"{"ask":"save","account":"main","source":"s","mime":null,"to":"t"}"#,
            ),
            (
                r#"{"ask":"read","read":"keys","shared":false,"prefix":""}"#,
                r#"{"ask":"read","read":"keys","shared":false,"prefix":"","unsaved":[]}"#,
            ),
        ];
        for (old, now) in pairs {
            let (old, now): (Question, Question) =
                (serde_json::from_str(old).unwrap(), serde_json::from_str(now).unwrap());
            assert_eq!(old, now);
        }
    }

    #[test]
    fn each_kind_is_what_it_is() {
        let kind = |text: &str| match serde_json::from_str(&text.replace("ID", ID)).unwrap() {
            Question::Read(_) => "read",
            Question::Wait(_) => "wait",
            Question::Errand(_) => "errand",
            Question::Change(_) => "change",
        };
        let kinds = WRITTEN.map(kind);
        let count = |name| kinds.iter().filter(|kind| **kind == name).count();
        assert_eq!((count("read"), count("wait"), count("errand"), count("change")), (7, 9, 6, 3));
    }
}
