//! Tokens: what a client shows to get a login. One of `OpenPGP`, or a JWT of the new EAS.

mod accept;
pub mod commands;
mod model;

pub use accept::{Acceptor, Counts, Refusal};
pub use model::{Content, Token, TokenId, Unreadable};
