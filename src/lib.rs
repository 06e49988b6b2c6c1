//! Postrider.
#![allow(missing_docs)]
pub mod app;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod files;
pub mod flow;
pub mod http;
pub mod id;
pub mod memory;
pub mod model;
pub mod outbox;
pub mod run;
pub mod script;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod units;
pub mod wake;
