//! People's records with their linked accounts (docs/ident.md, "Records").

mod accounts;
pub(crate) mod api;
pub(crate) mod media;
pub(crate) mod model;
mod page;
pub(crate) mod patch;
pub(crate) mod query;
mod store;
pub(crate) mod tags;
mod words;

pub(crate) use accounts::place_of_token;
pub(crate) use api::{delete_user, id_of, no_such_user, not_valid, refused};
pub use model::ServiceName;
pub(crate) use model::{Account as LinkedAccount, Draft, NewToken, User, checked_text};
pub(crate) use page::list;
pub(crate) use patch::Patch;
pub(crate) use query::ListQuery;
pub(crate) use store::{ById, find, find_for_update, insert, update};
pub(crate) use words::words_of_name;
