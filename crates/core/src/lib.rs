//! What two of the identity services need, and nothing else.
//!
//! A service is put together from these parts: [`config`] is read, [`db`] is opened and migrated,
//! [`http`] serves until [`runtime::Runtime`] says stop. Nothing here is global: state is passed.

pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod db;
pub mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
pub mod import;
pub mod metrics;
pub mod outgoing;
pub mod runtime;
pub mod telemetry;
pub mod throttle;
