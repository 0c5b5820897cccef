//! Signing in with a username and a password.

pub(crate) mod api;
mod throttle;

pub(crate) use api::busy;
pub(crate) use throttle::{Throttle, Tried};
