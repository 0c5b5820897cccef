//! idm-users keeps the users of a study site, its study subjects, their links to an app, and a trail
//! of all changes.
//!
//! The folders are what it does: `sign_in`, `setup` (the first administrator), `users`, `forgotten`
//! (passwords), `subjects`, `links`, `audit`, `mail`, `status`, `secret`, `import`. [`run`] serves one instance, for
//! `main`, for tests and for the development launcher alike.

mod access;
mod answer;
pub mod audit;
pub mod config;
mod forgotten;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod import;
mod instance;
mod links;
mod mail;
mod openapi;
pub mod secret;
mod setup;
mod sign_in;
mod state;
mod status;
pub mod subjects;
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
