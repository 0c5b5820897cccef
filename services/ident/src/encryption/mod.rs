//! Secrets at rest under a new key: what other keys encrypted is encrypted anew with the first, so
//! that the others can go.

pub mod commands;
mod store;
