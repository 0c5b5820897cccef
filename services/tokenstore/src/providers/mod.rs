//! The providers: what the configuration and its presets say of them, what they say of themselves, and
//! how they are spoken to.

mod assertion;
pub mod commands;
pub(crate) mod discovery;
mod doctor;
pub(crate) mod identity;
pub mod model;
pub mod presets;
pub(crate) mod protocol;
mod provider;
pub(crate) mod wire;

pub use model::{Metadata, Settings};
pub use protocol::{Begun, Callback, Obtained, ProviderError};
pub use provider::{Identity, Provider, Providers};
pub use wire::Unreachable;
