//! Signing keys and what tokens are issued with: JWKS, `/api/configuration`, rotation.

pub(crate) mod api;
pub mod commands;
pub(crate) mod model;
mod rotation;
mod store;

pub(crate) use model::{Configuration, StoredKey};
pub use rotation::Rotation;
pub(crate) use rotation::auto_configure;
pub(crate) use store::{find_configuration, list, place};
