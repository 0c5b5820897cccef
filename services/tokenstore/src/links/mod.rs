//! Linked accounts: begun, ended by the provider's redirect, their tokens handed out fresh, revoked.

pub mod api;
pub mod asking;
pub mod authorize;
pub mod keep_alive;
mod lock;
pub mod model;
pub mod refresh;
pub mod states;
pub mod store;

pub use model::{LinkKey, Status};
pub use refresh::{NoToken, Refresher};
