//! The columns of secrets in Postgres, walked through in pages. A row that changes meanwhile was
//! written with the first key already, and is left as it is.

use identity_core::crypto::fernet::{Keys, OpenError};
use identity_core::db::{Error, GenericClient};
use uuid::Uuid;

use crate::{keys as signing, records, tokens};

/// How many rows are read at once.
const PAGE: i64 = 500;

/// The access tokens of linked accounts; gives how many were encrypted anew.
pub async fn reencrypt_accounts(client: &impl GenericClient, keys: &Keys) -> Result<u64, Error> {
    let list = "SELECT user_id, service, account_id, access_token FROM linked_accounts
                WHERE access_token IS NOT NULL AND (user_id, service) > ($1, $2) ORDER BY user_id, service LIMIT $3";
    let update = "UPDATE linked_accounts SET access_token = $4
                  WHERE user_id = $1 AND service = $2 AND access_token = $3";
    let (mut last, mut changed) = ((0_i64, String::new()), 0);
    loop {
        let rows = client.query(list, &[&last.0, &last.1, &PAGE]).await?;
        let Some(end) = rows.last() else {
            return Ok(changed);
        };
        for row in &rows {
            let (user, service): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            let (account, old): (String, String) = (row.try_get(2)?, row.try_get(3)?);
            let place = records::place_of_token(user, &service, &account);
            if let Some(new) = keys
                .reseal(&place, &old)
                .map_err(|error| corrupt(&place, &error))?
            {
                changed += client.execute(update, &[&user, &service, &old, &new]).await?;
            }
        }
        last = (end.try_get(0)?, end.try_get(1)?);
    }
}

/// The private halves of signing keys; gives how many were encrypted anew.
pub async fn reencrypt_signing_keys(client: &impl GenericClient, keys: &Keys) -> Result<u64, Error> {
    let mut changed = 0;
    for row in client
        .query("SELECT kid, private_key FROM signing_keys", &[])
        .await?
    {
        let (kid, old): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let place = signing::place(&kid);
        if let Some(new) = keys
            .reseal(&place, &old)
            .map_err(|error| corrupt(&place, &error))?
        {
            let update = "UPDATE signing_keys SET private_key = $3 WHERE kid = $1 AND private_key = $2";
            changed += client.execute(update, &[&kid, &old, &new]).await?;
        }
    }
    Ok(changed)
}

/// The successors that refreshed tokens have; gives how many were encrypted anew.
pub async fn reencrypt_successors(client: &impl GenericClient, keys: &Keys) -> Result<u64, Error> {
    let list = "SELECT family_id, generation, successor FROM token_refreshes
                WHERE (family_id, generation) > ($1, $2) ORDER BY family_id, generation LIMIT $3";
    let update = "UPDATE token_refreshes SET successor = $4
                  WHERE family_id = $1 AND generation = $2 AND successor = $3";
    let (mut last, mut changed) = ((Uuid::nil(), -1_i32), 0);
    loop {
        let rows = client.query(list, &[&last.0, &last.1, &PAGE]).await?;
        let Some(end) = rows.last() else {
            return Ok(changed);
        };
        for row in &rows {
            let (family, generation, old): (Uuid, i32, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let place = tokens::place_of_successor(family, generation);
            if let Some(new) = keys
                .reseal(&place, &old)
                .map_err(|error| corrupt(&place, &error))?
            {
                changed += client
                    .execute(update, &[&family, &generation, &old, &new])
                    .await?;
            }
        }
        last = (end.try_get(0)?, end.try_get(1)?);
    }
}

fn corrupt(place: &str, error: &OpenError) -> Error {
    Error::corrupt(format!("{place}: {error}"))
}
