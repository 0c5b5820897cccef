//! Tokens that are refused, however valid.

pub mod commands;
mod store;
