//! eida-auth gives a temporary login for a signed token: the `/auth` method of a seismological data
//! centre in EIDA.
//!
//! The folders are what it does: `openpgp` and `tokens` tell good tokens from bad, `credentials` writes
//! logins into the `databases`, `cleanup` removes them, `mappings` says which memberships lead to which
//! networks, `blocks` refuses tokens, `about` tells of the service. [`run`] serves one instance, for
//! `main`, for tests and for the development launcher alike.

mod about;
pub mod blocks;
pub mod cleanup;
pub mod config;
pub mod credentials;
pub mod databases;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod instance;
pub mod mappings;
mod openapi;
pub mod openpgp;
mod state;
pub mod tokens;

pub use instance::{Instance, acceptor};
pub use state::Shared;

use identity_core::failure::Failure;
use identity_core::runtime::Runtime;

use config::Config;

/// Serves one instance until the word to stop.
///
/// # Errors
/// [`Failure`] when it cannot start or go on.
pub async fn run(config: Config, runtime: Runtime) -> Result<(), Failure> {
    let instance = Instance::open(config, runtime.clock.clone()).await?;
    // On the heap: all that an instance does at once is one large future.
    Box::pin(instance.serve(runtime)).await
}
