//! The columns of secrets in Postgres, walked through in pages by their keys. A row that changes meanwhile
//! was written with the first key already, and is left as it is; what was interrupted is taken up again.

use identity_core::crypto::fernet::Keys;
use identity_core::db::{Error, GenericClient};
use uuid::Uuid;

use crate::access::Person;
use crate::links::LinkKey;
use crate::{login, outbox};

/// How many rows are read at once.
const PAGE: i64 = 200;

/// A column of secrets. Rows are known by up to three texts, in the order of the table's key.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    table: &'static str,
    name: &'static str,
    key: [&'static str; 3],
}

const NONE: &str = "''::text";

/// All columns of secrets.
pub const COLUMNS: [Column; 6] = [
    Column {
        table: "links",
        name: "refresh_token",
        key: ["issuer", "subject", "provider"],
    },
    Column {
        table: "links",
        name: "access_token",
        key: ["issuer", "subject", "provider"],
    },
    Column {
        table: "sessions",
        name: "id_token",
        key: ["digest", NONE, NONE],
    },
    Column {
        table: "login_states",
        name: "secrets",
        key: ["digest", NONE, NONE],
    },
    Column {
        table: "link_states",
        name: "secrets",
        key: ["digest", NONE, NONE],
    },
    Column {
        table: "outbox",
        name: "content",
        key: ["id::text", NONE, NONE],
    },
];

/// A secret as it is stored.
#[derive(Debug)]
pub struct Secret {
    key: [String; 3],
    sealed: String,
}

impl Column {
    /// What its secrets are, for people.
    #[must_use]
    pub fn title(self) -> String {
        format!("{}.{}", self.table, self.name)
    }

    fn place(self, secret: &Secret) -> String {
        let [first, second, third] = &secret.key;
        match self.table {
            "links" => {
                let person = Person {
                    issuer: first.clone(),
                    subject: second.clone(),
                };
                LinkKey::new(&person, third).place(self.name)
            }
            "sessions" => login::sessions::place(first),
            "outbox" => outbox::place(Uuid::parse_str(first).unwrap_or_default()),
            table => format!("tokenstore.{table}.{}/{first}", self.name),
        }
    }

    /// How many secrets there are.
    pub async fn count(self, client: &impl GenericClient) -> Result<u64, Error> {
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {} IS NOT NULL",
            self.table, self.name
        );
        let count: i64 = client.query_one(&sql, &[]).await?.try_get(0)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// The next page of secrets behind `last`.
    pub async fn page(
        self,
        client: &impl GenericClient,
        last: Option<&Secret>,
    ) -> Result<Vec<Secret>, Error> {
        let Self {
            table,
            name: column,
            key: [a, b, c],
        } = self;
        let sql = format!(
            "SELECT {a}, {b}, {c}, {column} FROM {table}
             WHERE {column} IS NOT NULL AND ({a}, {b}, {c}) > ($1, $2, $3)
             ORDER BY {a}, {b}, {c} LIMIT $4"
        );
        let empty = [String::new(), String::new(), String::new()];
        let [first, second, third] = last.map_or(&empty, |last| &last.key);
        let rows = client.query(&sql, &[first, second, third, &PAGE]).await?;
        let secret = |row: &identity_core::db::tokio_postgres::Row| {
            Ok(Secret {
                key: [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?],
                sealed: row.try_get(3)?,
            })
        };
        rows.iter().map(secret).collect()
    }

    /// Encrypts one secret anew, if another key than the first made it; false where nothing was to be done.
    pub async fn reseal(
        self,
        client: &impl GenericClient,
        keys: &Keys,
        secret: &Secret,
    ) -> Result<bool, Error> {
        let place = self.place(secret);
        let new = keys
            .reseal(&place, &secret.sealed)
            .map_err(|error| Error::corrupt(format!("{place}: {error}")))?;
        let Some(new) = new else {
            return Ok(false);
        };
        let Self {
            table,
            name: column,
            key: [a, b, c],
        } = self;
        let sql = format!(
            "UPDATE {table} SET {column} = $5 WHERE {a} = $1 AND {b} = $2 AND {c} = $3 AND {column} = $4"
        );
        let [first, second, third] = &secret.key;
        let changed = client
            .execute(&sql, &[first, second, third, &secret.sealed, &new])
            .await?;
        Ok(changed > 0)
    }
}

impl Secret {
    /// The fingerprint of the key that made it; none where no configured one did.
    pub fn maker<'a>(&self, keys: &'a Keys) -> Option<&'a str> {
        keys.maker(&self.sealed)
    }
}

/// The fingerprints that the database knows, the oldest first.
pub async fn recorded(client: &impl GenericClient) -> Result<Vec<String>, Error> {
    let rows = client
        .query(
            "SELECT fingerprint FROM encryption_keys ORDER BY recorded_at",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Forgets that a key is needed.
pub async fn forget(client: &impl GenericClient, fingerprint: &str) -> Result<u64, Error> {
    Ok(client
        .execute(
            "DELETE FROM encryption_keys WHERE fingerprint = $1",
            &[&fingerprint],
        )
        .await?)
}
