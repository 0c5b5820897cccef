//! `eida-auth verify`: what a token says, and whether it would be accepted. Nothing is written.

use std::io::Read;
use std::path::Path;

use identity_core::clock::Clock;
use identity_core::failure::Failure;
use identity_core::metrics::Metrics;
use jiff::Timestamp;

use super::accept::Refusal;
use crate::config::Config;
use crate::databases::Databases;
use crate::mappings;

/// The largest token that is read.
const LARGEST: u64 = 64 * 1024;

/// Explains the token in `file` (- for standard input).
///
/// # Errors
/// [`Failure::Other`] when it would not be accepted, after saying why.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn verify(file: &Path, config: &Config) -> Result<(), Failure> {
    let clock = Clock::system();
    let acceptor = crate::acceptor(config, &clock, &Metrics::new("eida-auth")).await?;
    let body = read(file).map_err(|error| Failure::because(&format!("reading {}", file.display()), error))?;
    let token = match acceptor.accept(&body, None).await {
        Ok(token) => token,
        Err(refusal) => {
            if let Ok(id) = acceptor.identify(&body) {
                println!("digest: {id}");
            }
            return Err(Failure::Other(format!(
                "it would not be accepted: {}",
                why(&refusal)
            )));
        }
    };
    println!("digest: {}", token.id);
    println!("signed by: {}", token.voucher);
    println!("valid until: {}", token.content.valid_until);
    let memberships: Vec<&str> = token.content.memberships.iter().map(String::as_str).collect();
    println!(
        "memberships: {}",
        if memberships.is_empty() {
            "none".to_owned()
        } else {
            memberships.join(", ")
        }
    );
    let databases = match Databases::open(config).await {
        Ok(databases) => databases,
        Err(failure) => {
            return Err(Failure::Other(format!(
                "it is genuine and valid, but what is mapped cannot be looked at: {failure}"
            )));
        }
    };
    let looking = |error| Failure::because("looking at the databases", error);
    let client = databases.auth.client().await.map_err(looking)?;
    let mapped = mappings::paths(&client, &databases.accounts)
        .await
        .map_err(looking)?;
    let leading: Vec<&str> = memberships
        .iter()
        .copied()
        .filter(|path| mapped.contains(*path))
        .collect();
    if leading.is_empty() {
        return Err(Failure::Other(
            "it would not be accepted: it is genuine and valid, but none of its memberships is mapped here"
                .to_owned(),
        ));
    }
    println!("mapped here: {}", leading.join(", "));
    println!("it would be accepted");
    Ok(())
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut body)?;
    } else {
        std::fs::File::open(file)?
            .take(LARGEST + 1)
            .read_to_end(&mut body)?;
    }
    Ok(body)
}

fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OpenPgp(refused) => refused.to_string(),
        Refusal::Jwt => "it is a JWT that is not valid, or of an issuer that is not known".to_owned(),
        Refusal::Content(unreadable) => unreadable.to_string(),
        Refusal::Expired(end) => format!("it expired at {}", Timestamp::to_string(end)),
    }
}
