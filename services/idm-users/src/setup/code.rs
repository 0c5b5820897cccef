//! The code that keeps strangers from being the first: the configured one, or one that the log tells.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::state::Shared;
use crate::users;

/// Which code is asked for.
#[derive(Debug)]
pub(crate) enum Setup {
    /// None: only this machine reaches the service.
    Open,
    /// The one of `init.code`.
    Configured(SecretString),
    /// The one that the log told at the start.
    Told,
}

impl Setup {
    /// Whether a code is asked for.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self, Self::Open)
    }

    /// Whether `given` is the code.
    ///
    /// # Errors
    /// What Postgres says.
    pub(super) async fn accepts(&self, client: &impl GenericClient, given: &str) -> Result<bool, Error> {
        let known = match self {
            Self::Open => return Ok(true),
            Self::Configured(code) => digest(code.expose_secret()),
            Self::Told => {
                let row = client.query_opt("SELECT digest FROM setup_code", &[]).await?;
                match row {
                    Some(row) => row.try_get(0)?,
                    None => return Ok(false),
                }
            }
        };
        Ok(known.as_bytes().ct_eq(digest(given).as_bytes()).into())
    }
}

/// Makes a code where one is needed, and tells it in the log; the one of an earlier start ends.
///
/// # Errors
/// What Postgres says.
pub(crate) async fn prepare(state: &Shared) -> Result<(), Error> {
    let client = state.database.client().await?;
    if users::count_admins(&client).await? > 0 {
        return Ok(());
    }
    let url = format!("{}/init", state.public_url);
    if !matches!(*state.setup, Setup::Told) {
        tracing::warn!(url, "there is no administrator yet; make the first");
        return Ok(());
    }
    let code = new_code();
    let sql = "INSERT INTO setup_code (digest) VALUES ($1) ON CONFLICT (one) DO UPDATE SET digest = $1";
    client.execute(sql, &[&digest(&code)]).await?;
    tracing::warn!(
        url,
        code,
        "there is no administrator yet; make the first with this setup code"
    );
    Ok(())
}

/// 80 random bits, in groups that can be read out.
fn new_code() -> String {
    let text = BASE32_NOPAD.encode(&random::bytes::<10>());
    let groups: Vec<String> = text
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    groups.join("-")
}

/// Of the code as people type it: with or without hyphens and blanks, in any case.
fn digest(code: &str) -> String {
    let plain: String = code
        .chars()
        .filter(|character| !character.is_whitespace() && *character != '-')
        .flat_map(char::to_uppercase)
        .collect();
    HEXLOWER.encode(&Sha256::digest(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let code = new_code();
        assert_eq!(code.len(), 19);
        assert_eq!(digest(&code), digest(&code.to_lowercase().replace('-', " ")));
        assert_ne!(digest(&code), digest(&new_code()));
    }
}
