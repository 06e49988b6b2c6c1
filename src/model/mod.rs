//! The nouns of Postrider and the decisions about them: no I/O, no async, nothing of ours but leaves.

pub mod accounts;
pub mod call;
pub mod capability;
pub mod conversation;
pub mod delivery;
pub mod diagnostic;
pub mod event;
pub mod fit;
pub mod inbound;
pub mod journal;
pub mod message;
pub mod mime;
pub mod occurrence;
pub mod opt_out;
pub mod phone;
pub mod policy;
pub mod question;
pub mod recipient;
pub mod run;
mod split;
pub mod walls;
pub mod zones;
