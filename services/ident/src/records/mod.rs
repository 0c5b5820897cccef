//! People's records with their linked accounts (docs/ident.md, "Records").

pub(crate) mod api;
mod media;
mod model;
mod patch;
mod query;
mod store;
mod tags;
mod words;

pub(crate) use api::{delete_user, id_of, no_such_user, not_valid, refused};
pub use model::ServiceName;
pub(crate) use model::{Account as LinkedAccount, Draft, User, checked_text};
pub(crate) use patch::Patch;
pub(crate) use query::ListQuery;
pub(crate) use store::{find, find_for_update, insert, list, place_of_token, update};
