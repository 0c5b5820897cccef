//! Everything between the socket and a feature's `api.rs`: the listener, the bounds of a request,
//! its log line, errors in a service's own form, health and documentation.

pub(crate) mod address;
pub mod authorization;
pub mod body;
pub mod client;
mod connection;
pub mod docs;
pub mod guard;
pub mod health;
mod leaving;
mod listener;
pub mod names;
pub mod page;
pub mod problem;
pub mod route;
pub mod server;

pub use problem::{Invalid, Problem};
