//! Tests at the border: the real HTTP server, the real store, a fake gateway over HTTP, the real
//! binary for commands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by failing")]

mod authors;
mod bad_files;
mod cli;
mod clockwork;
mod concurrency;
mod conversations;
mod corners;
mod corpus;
mod crash;
mod damage;
mod docs;
mod files;
mod fuzz;
mod gateways;
mod hostile;
mod http;
mod inbound;
mod keep;
mod kill;
mod ledger;
mod odd_files;
mod oracle;
mod order;
mod pages;
mod pinned;
mod place;
mod poison;
mod preview;
mod recipients;
mod reload;
mod runs;
mod settings;
mod shown;
mod sql;
mod store;
mod stored;
mod support;
mod tidy;
mod told;
mod turn;
mod watching;
mod webhook;
mod why;
