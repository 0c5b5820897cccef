//! Linked accounts as they are stored, their access tokens encrypted.

use identity_core::crypto::fernet::Keys;
use identity_core::db::{Error, GenericClient};
use secrecy::{ExposeSecret, SecretString};

use super::model::{NewAccount, NewToken, ServiceName};

/// The access token of a linked account, decrypted; none where none is stored.
pub async fn find_token(
    client: &impl GenericClient,
    keys: &Keys,
    user: i64,
    service: &ServiceName,
) -> Result<Option<SecretString>, Error> {
    let statement = client
        .prepare_cached(
            "SELECT account_id, access_token FROM linked_accounts WHERE user_id = $1 AND service = $2",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&user, &service.as_str()]).await? else {
        return Ok(None);
    };
    let (account, sealed): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let Some(sealed) = sealed else { return Ok(None) };
    let opened = keys.open_text(&place_of_token(user, service.as_str(), &account), &sealed);
    opened
        .map(Some)
        .map_err(|error| Error::corrupt(format!("linked account of user {user} at {service}: {error}")))
}

/// Where a token is stored, to which its ciphertext is bound.
pub fn place_of_token(user: i64, service: &str, account: &str) -> String {
    format!("ident.linked_accounts.access_token/{user}/{service}/{account}")
}

/// Accounts as the columns of an insertion.
pub(super) struct Accounts<'a> {
    pub(super) services: Vec<&'a str>,
    pub(super) ids: Vec<&'a str>,
    pub(super) tokens: Vec<Option<String>>,
}

impl<'a> Accounts<'a> {
    pub(super) fn of(
        keys: &Keys,
        user: i64,
        accounts: impl IntoIterator<Item = (&'a ServiceName, &'a NewAccount)>,
    ) -> Self {
        let mut columns = Self {
            services: Vec::new(),
            ids: Vec::new(),
            tokens: Vec::new(),
        };
        for (name, account) in accounts {
            columns.services.push(name.as_str());
            columns.ids.push(&account.id);
            columns.tokens.push(match &account.access_token {
                NewToken::Given(token) => {
                    let place = place_of_token(user, name.as_str(), &account.id);
                    Some(keys.seal(&place, token.expose_secret().as_bytes()))
                }
                NewToken::Unchanged | NewToken::Removed => None,
            });
        }
        columns
    }
}
