//! Express-Chat, also sold as m1bot and EkoChat: brands of one reseller of Meta's API.

mod events;
mod options;
mod send;

pub use options::ExpressChatOptions;
pub use send::ExpressChat;
