//! Study subjects: who was invited, has consented, is enrolled, has withdrawn.

pub(crate) mod api;
pub mod commands;
pub(crate) mod dates;
pub(crate) mod model;
pub(crate) mod query;
mod store;

pub(crate) use api::unknown;
pub(crate) use dates::{Moment, shown};
pub(crate) use model::Subject;
pub(crate) use store::{find, follow_links, insert, lock};
