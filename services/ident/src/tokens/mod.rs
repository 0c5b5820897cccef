//! Signed tokens for people and machines: issued, refreshed in families, revoked, verified.

pub(crate) mod api;
pub(crate) mod authority;
pub(crate) mod model;
mod refresh;
mod store;
mod sync;

pub(crate) use authority::Authority;
pub(crate) use model::{Grant, Permission, Subject, Verified};
pub(crate) use refresh::{RefreshError, place_of_successor};
pub(crate) use store::revoke_subject;
pub(crate) use sync::{announce, keep_up_to_date, learn, look_for_key};
