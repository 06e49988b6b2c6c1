//! Express-Chat, also sold as m1bot and EkoChat: brands of one reseller of Meta's API.

mod adapter;
mod events;
mod options;

pub use adapter::ExpressChat;
pub use options::ExpressChatOptions;
