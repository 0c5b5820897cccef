//! Machine clients: registered with a secret, a public key or both, and authenticated by exactly
//! what they are registered with.

pub(crate) mod api;
mod authenticate;
pub mod commands;
pub(crate) mod model;
mod store;
pub(crate) mod token;

pub(crate) use authenticate::{Presented, RememberedSecrets, authenticate};
pub(crate) use model::Client;
pub(crate) use store::{find, insert, insert_secret, permissions_of};
