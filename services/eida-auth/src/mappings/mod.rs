//! The mapping of memberships to networks, which data centres keep as a table of four columns.

pub mod commands;
pub(crate) mod model;
mod store;

pub use model::{Mapping, read_csv};
pub use store::paths;
