//! Signing in with a username and a password.

pub(crate) mod api;

pub(crate) use api::busy;
