//! What is taken over, in Postgres. Nothing here changes a row that is there.

use identity_core::crypto::fernet::Keys;
use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use crate::clients::{self, Client};
use crate::records::{Draft, NewToken, place_of_token, words_of_name};
use crate::users::{self, Credentials};

/// What became of a row.
#[derive(Debug)]
pub enum Outcome {
    Taken,
    /// The same was there.
    There,
    /// Something else stands in its way.
    Refused(String),
}

/// Makes a person of this id, or of the next one.
async fn insert_record(
    client: &impl GenericClient,
    id: Option<i64>,
    draft: &Draft,
    now: Timestamp,
) -> Result<Option<i64>, Error> {
    let sql = "INSERT INTO users (id, name, name_words, email, email_key, created_at, updated_at)
               VALUES (coalesce($1, nextval('users_id_seq')), $2, array_to_tsvector($3), $4, $5, $6, $6)
               ON CONFLICT DO NOTHING RETURNING id";
    let statement = client.prepare_cached(sql).await?;
    let words = words_of_name(&draft.name);
    let Draft { name, email, .. } = draft;
    let row = client
        .query_opt(&statement, &[&id, name, &words, &email.text, &email.key, &now])
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn id_of_address(client: &impl GenericClient, draft: &Draft) -> Result<Option<i64>, Error> {
    let statement = client
        .prepare_cached("SELECT id FROM users WHERE email_key = $1")
        .await?;
    let row = client.query_opt(&statement, &[&draft.email.key]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Makes a person of this id.
pub async fn insert_person(
    client: &impl GenericClient,
    id: i64,
    draft: &Draft,
    now: Timestamp,
) -> Result<Outcome, Error> {
    if insert_record(client, Some(id), draft, now).await?.is_some() {
        return Ok(Outcome::Taken);
    }
    Ok(match id_of_address(client, draft).await? {
        Some(known) if known == id => Outcome::There,
        Some(other) => Outcome::Refused(format!("the email address is that of person {other} here")),
        None => Outcome::Refused("somebody else has this id here".to_owned()),
    })
}

/// Links the accounts of `draft` to the person.
pub async fn insert_accounts(
    client: &impl GenericClient,
    keys: &Keys,
    user: i64,
    draft: &Draft,
) -> Result<Outcome, Error> {
    let sql =
        "INSERT INTO linked_accounts (user_id, service, account_id, access_token) VALUES ($1, $2, $3, $4)
               ON CONFLICT DO NOTHING";
    let statement = client.prepare_cached(sql).await?;
    for (name, account) in &draft.services {
        let token = match &account.access_token {
            NewToken::Given(token) => {
                let place = place_of_token(user, name.as_str(), &account.id);
                Some(keys.seal(&place, token.expose_secret().as_bytes()))
            }
            NewToken::Unchanged | NewToken::Removed => None,
        };
        if client
            .execute(&statement, &[&user, &name.as_str(), &account.id, &token])
            .await?
            == 0
        {
            return Ok(Outcome::Refused(
                "the account is linked to somebody else here".to_owned(),
            ));
        }
    }
    Ok(Outcome::Taken)
}

/// Gives the person of this address credentials, and makes them first where there is none.
pub async fn insert_user(
    client: &impl GenericClient,
    draft: &Draft,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let key = credentials
        .username
        .as_ref()
        .map_or("", |username| username.key.as_str());
    if let Some((owner, _)) = users::find_by_username(client, key).await? {
        return Ok(match id_of_address(client, draft).await? {
            Some(id) if id == owner => Outcome::There,
            _ => Outcome::Refused(format!("the username is that of person {owner} here")),
        });
    }
    let id = match id_of_address(client, draft).await? {
        Some(id) if users::find_credentials(client, id).await?.username.is_some() => {
            return Ok(Outcome::Refused(format!(
                "person {id} here has the same address and signs in with another username"
            )));
        }
        Some(id) => id,
        None => match insert_record(client, None, draft, now).await? {
            Some(id) => id,
            None => {
                return Ok(Outcome::Refused(
                    "somebody else has its id here; try again".to_owned(),
                ));
            }
        },
    };
    users::upsert(client, id, credentials, now).await?;
    Ok(Outcome::Taken)
}

/// Makes a client with its secret; false where there is one of this id.
pub async fn insert_client(
    client: &impl GenericClient,
    new: &Client,
    secret_hash: Option<&str>,
    now: Timestamp,
) -> Result<bool, Error> {
    if clients::find(client, new.id).await?.is_some() {
        return Ok(false);
    }
    clients::insert(client, new, now).await?;
    if let Some(hash) = secret_hash {
        clients::insert_secret(client, new.id, random::uuid(), hash, now).await?;
    }
    Ok(true)
}

/// Lets new people get ids behind all that were taken.
pub async fn count_on(client: &impl GenericClient) -> Result<(), Error> {
    let sql = "SELECT setval('users_id_seq', greatest((SELECT max(id) FROM users), (SELECT last_value FROM users_id_seq)))
               FROM users HAVING count(*) > 0";
    client.query(sql, &[]).await?;
    Ok(())
}
