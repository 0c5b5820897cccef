//! tokenstore keeps the accounts that people have linked at external providers: linked once, their tokens
//! encrypted, a fresh access token for their owner's applications whenever one is asked for.
//!
//! The folders are what it does: `login`, `providers`, `links`, `api_keys`, `page`, `outbox`, `audit`,
//! `encryption`, `import`. [`run`] serves one instance, for `main`, for tests and for the development launcher alike.

mod access;
mod api_keys;
mod around;
mod audit;
pub mod config;
mod cookies;
pub mod encryption;
mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod import;
mod instance;
mod links;
mod login;
mod openapi;
mod originals;
mod outbox;
mod page;
pub mod providers;
mod return_url;
mod state;
mod sweep;

pub use instance::{Instance, migrate, open};
pub use state::Shared;

use identity_core::failure::Failure;
use identity_core::runtime::Runtime;

use config::Config;

/// Serves one instance until the word to stop.
///
/// # Errors
/// [`Failure`] when it cannot start or go on.
pub async fn run(config: Config, runtime: Runtime) -> Result<(), Failure> {
    let address = runtime
        .listener
        .local_addr()
        .map_err(|error| Failure::because("listening", error))?;
    let instance = Instance::open(config, runtime.clock.clone(), Some(address)).await?;
    // On the heap: all that an instance does at once is one large future.
    Box::pin(instance.serve(runtime)).await
}
