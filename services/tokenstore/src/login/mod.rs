//! Signing in: at the login provider with a browser, or with its tokens.

pub mod api;
pub mod bearer;
pub mod sessions;
pub mod states;
