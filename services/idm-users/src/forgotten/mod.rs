//! Forgotten passwords: `/iforgot` has a link mailed, `/reset` takes a new password by it.

pub(crate) mod api;
mod form;
pub(crate) mod reset;
mod store;
mod worker;

pub(crate) use form::{Form, from_elsewhere};
pub(crate) use worker::Worker;
