//! What is still to be told to others: revocations to providers, broken links to the operator.

mod dispatcher;
mod model;
pub mod store;

pub use dispatcher::Dispatcher;
pub use model::{Message, Outbox, place};
