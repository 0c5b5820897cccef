//! Signing in: `POST /auth`, and whose token it is.

pub(crate) mod api;
mod token;

pub(crate) use api::{busy, check_password, too_many};
pub(crate) use token::user_of;
