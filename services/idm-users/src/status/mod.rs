//! `/` and `/status`: whether the service, its database and its mail work.

pub(crate) mod api;
