//! Taking over the data of the two originals, from their databases (docs/migrating.md).
//!
//! `originals` finds their tables and reads them, `people` and `accounts` say what becomes of a row, `store`
//! writes it.

mod accounts;
pub mod commands;
mod originals;
mod people;
mod store;
