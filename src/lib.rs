//! Postrider is a durable automation engine: YAML flows start Rhai scripts, scripts send WhatsApp
//! messages through gateways. This page is the map of the house.
//!
//! # The main job
//!
//! ```text
//! http::webhook   verifies, reads the body, makes the event
//!   → run::intake      the event is a durable run; only now is the caller told 202
//!   → run::dispatch    reads ready runs from the store onto the board
//!   → run::worker      takes a run from the board, on a thread of its own kind
//!   → script::turn     pure: script + event + journal → ending, entries, promises
//!   → store            entries, messages and the run's new state in one transaction
//!   → outbox::lane     claims (the attempt is on record), sends, settles
//!   → transport        one gateway's dialect over HTTP
//! ```
//!
//! The other ways in meet it at the run: [`trigger`] begins runs for the clock and for files, each
//! in one transaction with what makes it unique (the instant; the file's content). Files that
//! change are taken over by `app::reload`: [`flow::library`] reads what changed, [`flow::catalog`]
//! is the set that is live, swapped whole; [`changes`] only tells when to look.
//!
//! # What keeps the promise
//!
//! * **A signal is a hint, the table is the truth.** Bells ([`wake`]) only shorten a wait; every
//!   service reads the store by itself and would find its work without them.
//! * **A turn does no I/O.** What a script wants is a promise (recorded, the script goes on) or a
//!   question (the turn ends; with the answer in the journal it is run again from its first line).
//!   The first question closes a latch, so that nothing can swallow it.
//! * **One turn, one transaction.** Journal entries and messages are on disk together, before the
//!   outside world is touched; a message's id is made from run, position and index, so the same
//!   promise is one message.
//! * **An attempt is on record before the wire is touched.** One that is open after a crash, or
//!   ends without a clear answer, is `unknown`: nobody guesses.
//! * **One writer.** All changes go through one thread that puts whatever waits into one
//!   transaction ([`store::sqlite`]); the folder's lock makes one engine the owner.
//!
//! # Layers
//!
//! Imports point downward only; `tests/it/tidy.rs` checks it.
//!
//! | row | modules | job |
//! |---|---|---|
//! | 9 | [`cli`] | commands |
//! | 8 | [`app`] | composition root: settings become ready objects, services start and stop |
//! | 7 | [`config`] | `postrider.yaml`, `.env`, flags |
//! | 6 | [`http`], [`trigger`], [`alarm`] | public side (webhooks), private side (pages, API); clock and files |
//! | 5 | [`view`] | read models: API, commands and pages say the same |
//! | 4 | [`run`], [`inbound`] | intake, board, threads, errands, waiting callers; what people write |
//! | 3 | [`flow`], [`outbox`] | flow files and versions; lanes, order, pace, retries |
//! | 2 | [`store`], [`transport`], [`script`] | durable state; gateways; Rhai |
//! | 1 | [`model`] | nouns and pure decisions |
//! | 0 | [`blobs`], [`changes`], [`clock`], [`feed`], [`fetch`], [`files`], [`id`], [`links`], [`memory`], [`plain`], [`preview`], [`secret`], [`shutdown`], [`tally`], [`telemetry`], [`units`], [`wake`] | leaves |

pub mod alarm;
pub mod app;
pub mod blobs;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod feed;
pub mod fetch;
pub mod files;
pub mod flow;
pub mod http;
pub mod id;
pub mod inbound;
pub mod links;
pub mod memory;
pub mod model;
pub mod outbox;
pub mod plain;
pub mod preview;
pub mod run;
pub mod script;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod tally;
pub mod telemetry;
pub mod transport;
pub mod trigger;
pub mod units;
pub mod view;
pub mod wake;
