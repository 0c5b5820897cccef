//! Taking over the documents of C3-PRO's IDM service, as `MongoDB` exports them (docs/migrating.md).
//!
//! `documents` reads them out of a file, `store` keeps them in a table of their own until all are there, `model` says
//! what becomes of one, `commands` does it.

pub mod commands;
mod documents;
mod model;
mod store;
