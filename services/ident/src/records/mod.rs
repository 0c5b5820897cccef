//! People's records with their linked accounts (docs/ident.md, "Records").

pub(crate) mod api;
pub(crate) mod media;
pub(crate) mod model;
pub(crate) mod patch;
pub(crate) mod query;
mod store;
pub(crate) mod tags;
mod words;

pub(crate) use api::{delete_user, id_of, no_such_user, not_valid, refused};
pub use model::ServiceName;
pub(crate) use model::{Account as LinkedAccount, Draft, NewToken, User, checked_text};
pub(crate) use patch::Patch;
pub(crate) use query::ListQuery;
pub(crate) use store::{ById, find, find_for_update, insert, list, place_of_token, update};
pub(crate) use words::words_of_name;
