//! ident keeps people's records with their linked accounts, tells others of every change, and issues
//! signed tokens to people and machines.
//!
//! The folders are what it does: `records`, `notifications`, `users`, `clients`, `login`, `tokens`,
//! `keys`, `oauth`, `encryption`, `import`. [`run`] serves one instance, for `main`, for tests and for the
//! development launcher alike.

mod access;
pub mod clients;
pub mod config;
pub mod encryption;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod import;
mod instance;
pub mod keys;
mod login;
pub mod notifications;
mod oauth;
mod openapi;
pub mod records;
mod state;
mod tokens;
pub mod users;

pub use instance::{Instance, migrate, open};

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
