//! The original's table `refresh_token`.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};

/// How many rows are read at once.
const PAGE: i64 = 1000;

/// A row, as the original wrote it.
#[derive(Debug)]
pub struct Token {
    pub id: i64,
    pub provider: Option<String>,
    /// The subject at the login provider.
    pub user: Option<String>,
    /// Encrypted with the original's key.
    pub sealed: Option<Vec<u8>>,
    /// In seconds; 0 where it does not end.
    pub expires_in: Option<i64>,
    /// In Unix seconds.
    pub expires_at: Option<f64>,
    /// Whether there is a later one of the same person and provider.
    pub replaced: bool,
}

/// Whether the schema of the connection has the table.
pub async fn has_table(client: &impl GenericClient) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM information_schema.columns
               WHERE table_schema = current_schema() AND table_name = 'refresh_token'
                 AND column_name IN ('id', 'provider', 'token', 'expires_in', 'expires_at', 'user_id')";
    let columns: i64 = client.query_one(sql, &[]).await?.try_get(0)?;
    Ok(columns == 6)
}

/// Up to a page of rows behind the id `after`.
pub async fn tokens(client: &impl GenericClient, after: i64) -> Result<Vec<Token>, Error> {
    let sql =
        "SELECT id::bigint, provider::text, user_id::text, token, expires_in::bigint, expires_at::float8,
                      EXISTS (SELECT FROM refresh_token n
                              WHERE n.user_id = t.user_id AND n.provider = t.provider AND n.id > t.id)
               FROM refresh_token t WHERE id > $1::bigint ORDER BY id LIMIT $2";
    let rows = client.query(sql, &[&after, &PAGE]).await?;
    let token = |row: &Row| {
        Ok(Token {
            id: row.try_get(0)?,
            provider: row.try_get(1)?,
            user: row.try_get(2)?,
            sealed: row.try_get(3)?,
            expires_in: row.try_get(4)?,
            expires_at: row.try_get(5)?,
            replaced: row.try_get(6)?,
        })
    };
    rows.iter().map(token).collect()
}
