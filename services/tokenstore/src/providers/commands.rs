//! `tokenstore doctor`.

use std::sync::Arc;

use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::outgoing::Outgoing;

use super::doctor::{Weight, examine};
use super::{Provider, Providers};
use crate::config::Config;

/// Examines all providers and prints what was found.
///
/// # Errors
/// [`Failure::Other`] where something cannot work.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(config: Config) -> Result<(), Failure> {
    let outgoing = Outgoing::new(&config.base.outgoing)?;
    let login = Arc::new(Provider::new(config.oidc, &outgoing, &outgoing));
    let providers = Providers::new(config.providers, &outgoing, &outgoing);
    let now = Clock::system().now();
    let mut wrong = 0;
    for (title, provider, links) in std::iter::once(("login provider".to_owned(), &login, false)).chain(
        providers
            .iter()
            .map(|provider| (format!("provider {}", provider.id()), provider, true)),
    ) {
        println!("{title}");
        for finding in examine(provider, links, now).await {
            let mark = match finding.weight {
                Weight::Good => "ok     ",
                Weight::Warning => "warning",
                Weight::Wrong => "WRONG  ",
            };
            wrong += usize::from(finding.weight == Weight::Wrong);
            println!("  {mark}  {}", finding.text);
        }
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(Failure::Other(format!("{wrong} things cannot work")))
    }
}
