//! Blocked tokens in our own database.

use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;

use crate::tokens::TokenId;

/// Blocks `token` and gives the logins that it was given. In the caller's transaction.
///
/// # Errors
/// What Postgres says.
pub async fn block(
    client: &impl GenericClient,
    token: TokenId,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    // Waits for all who write logins now, and lets those after them see the block.
    client
        .batch_execute("LOCK TABLE issued_logins IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    let digest = &token.0[..];
    let sql = "INSERT INTO blocked_tokens (token_digest, blocked_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&digest, &now]).await?;
    let sql = "SELECT login FROM issued_logins WHERE token_digest = $1";
    let rows = client.query(sql, &[&digest]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Forgets the logins of `token`, which are ended.
///
/// # Errors
/// What Postgres says.
pub async fn forget(client: &impl GenericClient, token: TokenId) -> Result<(), Error> {
    let sql = "DELETE FROM issued_logins WHERE token_digest = $1";
    client.execute(sql, &[&&token.0[..]]).await?;
    Ok(())
}
