//! Links between a subject and an app: made by a user, carried to the app as a JWT, established by it.

pub(crate) mod api;
mod code;
pub(crate) mod establish;
pub(crate) mod jwt;
pub(crate) mod model;
mod store;

pub(crate) use api::secret_place;
pub(crate) use model::{Link, LinkClaims, Refused as LinkChangeRefused, link_id};
pub(crate) use store::{find, insert, update};
