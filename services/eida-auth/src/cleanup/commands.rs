//! `eida-auth cleanup`: as `GET /cleanup`.

use identity_core::failure::Failure;

use crate::state::Shared;

/// Removes what has expired.
///
/// # Errors
/// [`Failure`] when a database does not do it.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(shared: &Shared) -> Result<(), Failure> {
    let removed = shared.cleaner.clean().await;
    let removed = removed.map_err(|error| Failure::because("removing expired accounts", error))?;
    println!("Deleted {removed} temporary accounts.");
    Ok(())
}
