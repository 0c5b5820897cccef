//! Users of the site: who signs in, and who may make others.

pub(crate) mod api;
pub mod commands;
pub mod import;
pub(crate) mod model;
mod passwords;
mod store;

pub(crate) use model::{User, Username};
pub(crate) use passwords::PasswordRules;
pub(crate) use store::{count_admins, find, find_by_id, insert, lock, set_password, update_hash};
