//! Taking over the refresh tokens of the original, from its database (docs/migrating.md).
//!
//! `original` finds its table and reads it, `model` says what becomes of a row, `commands` does it.

pub mod commands;
mod model;
mod original;
