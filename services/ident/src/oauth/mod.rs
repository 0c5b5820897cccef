//! The same tokens by OAuth 2.0: token endpoint, introspection, revocation, metadata.

pub(crate) mod api;
pub(crate) mod metadata;
pub(crate) mod request;
