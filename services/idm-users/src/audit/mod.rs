//! The audit trail: what was changed, by whom, when. Each row carries the hash of the one before it, so
//! that none can be changed, taken out or put in without the chain breaking there.

pub(crate) mod api;
pub mod commands;
mod model;
mod store;

pub(crate) use model::Entry;
pub(crate) use store::append;
