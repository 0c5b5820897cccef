//! Changes of records, told to a receiver over HTTP: at least once, in order for each user.
//!
//! A change and its event are committed together; a dispatcher in every instance delivers what is
//! due.

pub mod commands;
mod dispatcher;
mod model;
mod store;

pub use dispatcher::Dispatcher;
pub use model::{Destination, EventKind, NewEvent};
