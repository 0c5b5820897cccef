//! People's records with their linked accounts (docs/ident.md, "Records").

pub mod api;
mod media;
mod model;
mod patch;
mod query;
mod store;
mod words;

pub use model::{ServiceName, User};
