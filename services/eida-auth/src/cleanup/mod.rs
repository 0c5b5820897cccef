//! Removing what has expired: accounts, their credentials and their privileges.

pub mod api;
mod cleaner;
pub mod commands;
mod store;

pub use cleaner::Cleaner;
