//! The page: a person's accounts and API keys, without a line of JavaScript.

mod api;
mod view;

pub use api::routes;
pub use view::error;
