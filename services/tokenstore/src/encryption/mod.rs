//! Encryption keys: made, brought into use, retired, while the service runs.

pub mod commands;
mod store;
