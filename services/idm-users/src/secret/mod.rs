//! Which `jwt.secret` the database was written under: another one is refused at the start, and changed
//! by a command only.

pub mod commands;
mod model;
mod store;

pub(crate) use model::keys;
pub(crate) use store::require;
