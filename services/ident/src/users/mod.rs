//! People who can sign in: `/api/users`, the records with username, password and permissions.

pub(crate) mod api;
pub mod commands;
pub(crate) mod model;
mod store;

pub(crate) use model::{Credentials, Username};
pub(crate) use store::{
    email_of, find as find_credentials, find_by_username, permissions_of, update_password_hash, upsert,
};
