//! The wall around files: what scripts, links and other programs cannot reach.

mod links;
mod listing;
mod modes;
mod own;
mod races;
mod special;
mod watched;
