//! Scripts that wait for people, clocks and the world.

mod ask;
mod ask_limits;
mod bot;
mod by_hand;
mod damaged;
mod files;
mod forget;
mod http;
mod http_guard;
mod http_retry;
mod http_secrets;
mod once_wrong;
mod once_wrong_too;
mod opt_out;
mod replay;
mod routing;
pub mod server;
mod simulate;
mod together;
mod values;
mod versions;
mod waiting;
mod walk;
mod which;
