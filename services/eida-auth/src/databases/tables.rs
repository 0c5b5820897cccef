//! The tables of a data centre, as they are: names and columns are read at start, what is missing is
//! named, and SQL is built from what was found.

use identity_core::db::{Database, Error, tokio_postgres};
use identity_core::failure::Failure;

use crate::config::{AuthTables, PrivilegeTables};

/// Accounts, their credentials, and the mapping of memberships; all names quoted for SQL.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// The table of users.
    pub users: String,
    /// Its columns between `login` and `expires_at` in their order: first name, last name, email.
    pub names: [String; 3],
    /// The table of credentials.
    pub credentials: String,
    /// Its columns: the account, the password that stays empty, the digest.
    pub credential_columns: [String; 3],
    /// The table that maps memberships to networks.
    pub mapping: String,
}

/// Networks, and who may see them; all names quoted for SQL.
#[derive(Debug, Clone)]
pub struct Privileges {
    /// The inventory of networks.
    pub networks: String,
    /// Who may see which.
    pub privileges: String,
    /// Its column with the login.
    pub login: String,
    /// Whether it has `expires_at`.
    pub expires: bool,
}

impl AuthTables {
    /// Those of our own schema.
    #[must_use]
    pub fn own() -> Self {
        Self {
            users_table: "users".to_owned(),
            credentials_table: "credentials".to_owned(),
            mapping_table: "epos_fdsn".to_owned(),
        }
    }
}

impl PrivilegeTables {
    /// Those of our own schema.
    #[must_use]
    pub fn own() -> Self {
        Self {
            networks_table: "networks".to_owned(),
            privileges_table: "eida_temp_users".to_owned(),
        }
    }
}

/// A table as it was found.
struct Table {
    /// The key that names it.
    key: String,
    name: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: String,
    /// Whether a row can be inserted without it.
    optional: bool,
}

const TEXT: &[&str] = &["text", "character varying", "character", "citext"];
const NUMBER: &[&str] = &["smallint", "integer", "bigint"];
const MOMENT: &[&str] = &["timestamp with time zone", "timestamp without time zone"];

impl Accounts {
    /// Reads the tables of `names`.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the table and everything that it lacks.
    pub async fn check(database: &Database, names: &AuthTables) -> Result<Self, Failure> {
        let write = &["SELECT", "INSERT", "UPDATE", "DELETE"];
        let users = Table::find(database, "authdb.users_table", &names.users_table, write).await?;
        users.expect(&[("user_index", NUMBER), ("login", TEXT), ("expires_at", MOMENT)])?;
        let known = ["user_index", "login", "expires_at"];
        let others: Vec<_> = users
            .columns
            .iter()
            .filter(|column| !known.contains(&column.name.as_str()))
            .collect();
        let [first, last, email, rest @ ..] = others.as_slice() else {
            return Err(users.lacks(
                "three columns beside user_index, login and expires_at: first name, last name, email",
            ));
        };
        if let Some(needed) = rest.iter().find(|column| !column.optional) {
            return Err(users.lacks(&format!(
                "a default for the column {}, which is not known here",
                needed.name
            )));
        }
        let credentials = Table::find(
            database,
            "authdb.credentials_table",
            &names.credentials_table,
            write,
        )
        .await?;
        credentials.expect(&[("user_index", NUMBER)])?;
        let beside: Vec<_> = credentials
            .columns
            .iter()
            .filter(|column| column.name != "user_index")
            .collect();
        let [password, digest, rest @ ..] = beside.as_slice() else {
            return Err(
                credentials.lacks("two columns beside user_index: one that stays empty, and the digest")
            );
        };
        if !password.optional {
            return Err(credentials.lacks(&format!("leave for the column {} to stay empty", password.name)));
        }
        if let Some(needed) = rest.iter().find(|column| !column.optional) {
            return Err(credentials.lacks(&format!(
                "a default for the column {}, which is not known here",
                needed.name
            )));
        }
        let mapping = Table::find(
            database,
            "authdb.mapping_table",
            &names.mapping_table,
            &["SELECT"],
        )
        .await?;
        mapping.expect(&[
            ("epos_name", TEXT),
            ("network", TEXT),
            ("start_year", NUMBER),
            ("end_year", NUMBER),
        ])?;
        Ok(Self {
            users: quoted(&users.name),
            names: [first, last, email].map(|column| quoted(&column.name)),
            credential_columns: [quoted("user_index"), quoted(&password.name), quoted(&digest.name)],
            credentials: quoted(&credentials.name),
            mapping: quoted(&mapping.name),
        })
    }
}

impl Privileges {
    /// Reads the tables of `names`.
    ///
    /// # Errors
    /// [`Failure::Configuration`] naming the table and everything that it lacks.
    pub async fn check(database: &Database, names: &PrivilegeTables) -> Result<Self, Failure> {
        let networks = Table::find(
            database,
            "privilegedb.networks_table",
            &names.networks_table,
            &["SELECT"],
        )
        .await?;
        let of_network = [("network", TEXT), ("start_year", NUMBER), ("end_year", NUMBER)];
        networks.expect(&[&[("network_id", NUMBER)], &of_network[..]].concat())?;
        let write = &["SELECT", "INSERT", "UPDATE", "DELETE"];
        let privileges = Table::find(
            database,
            "privilegedb.privileges_table",
            &names.privileges_table,
            write,
        )
        .await?;
        let login = if privileges.has("login") && !privileges.has("name") {
            "login"
        } else {
            "name"
        };
        privileges.expect(&[&[("network_id", NUMBER), (login, TEXT)], &of_network[..]].concat())?;
        let expires = privileges.has("expires_at");
        if expires {
            privileges.expect(&[("expires_at", MOMENT)])?;
        }
        let known = [
            "network_id",
            "network",
            "start_year",
            "end_year",
            "expires_at",
            login,
        ];
        let needed = privileges
            .columns
            .iter()
            .find(|it| !it.optional && !known.contains(&it.name.as_str()));
        if let Some(needed) = needed {
            return Err(privileges.lacks(&format!(
                "a default for the column {}, which is not known here",
                needed.name
            )));
        }
        Ok(Self {
            networks: quoted(&networks.name),
            privileges: quoted(&privileges.name),
            login: quoted(login),
            expires,
        })
    }
}

impl Table {
    /// Looks `name` up, which the configuration's `key` gave, and what of `privileges` we have on it.
    async fn find(database: &Database, key: &str, name: &str, privileges: &[&str]) -> Result<Self, Failure> {
        let looking = |error: Error| Failure::because(&format!("looking at the table {name} ({key})"), error);
        let client = database.client().await.map_err(looking)?;
        let sql = "SELECT attribute.attname::text, format_type(attribute.atttypid, NULL),
                          NOT attribute.attnotnull OR attribute.atthasdef OR attribute.attidentity <> ''
                   FROM pg_attribute attribute
                   WHERE attribute.attrelid = to_regclass($1::text) AND attribute.attnum > 0 AND NOT attribute.attisdropped
                   ORDER BY attribute.attnum";
        let rows = client
            .query(sql, &[&quoted(name)])
            .await
            .map_err(|error| looking(error.into()))?;
        let column = |row: &tokio_postgres::Row| {
            Ok(Column {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                optional: row.try_get(2)?,
            })
        };
        let columns: Result<Vec<Column>, tokio_postgres::Error> = rows.iter().map(column).collect();
        let table = Self {
            key: key.to_owned(),
            name: name.to_owned(),
            columns: columns.map_err(|error| looking(error.into()))?,
        };
        if table.columns.is_empty() {
            return Err(Failure::configuration(format!(
                "{key}: there is no table {name} in the schema {}, or its use is not granted",
                database.schema()
            )));
        }
        let sql = "SELECT privilege FROM unnest($2::text[]) privilege
                   WHERE NOT has_table_privilege(to_regclass($1::text), privilege)";
        let missing = client.query(sql, &[&quoted(name), &privileges]).await;
        let missing = missing.map_err(|error| looking(error.into()))?;
        let missing: Result<Vec<String>, _> = missing.iter().map(|row| row.try_get(0)).collect();
        let missing = missing.map_err(|error: tokio_postgres::Error| looking(error.into()))?;
        if missing.is_empty() {
            Ok(table)
        } else {
            Err(table.lacks(&format!("the privilege {} for our role", missing.join(", "))))
        }
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.name == column)
    }

    /// Names every expected column that is missing or of another type.
    fn expect(&self, expected: &[(&str, &[&str])]) -> Result<(), Failure> {
        let missing = expected.iter().filter_map(|(name, kinds)| {
            let found = self.columns.iter().find(|column| column.name == *name);
            match found {
                None => Some(format!("the column {name}")),
                Some(column) if !kinds.contains(&column.kind.as_str()) => {
                    let expected = kinds.first().copied().unwrap_or_default();
                    Some(format!(
                        "the type {expected} for the column {name}, which is {}",
                        column.kind
                    ))
                }
                Some(_) => None,
            }
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(self.lacks(&missing.join(", ")))
        }
    }

    fn lacks(&self, what: &str) -> Failure {
        Failure::configuration(format!("{}: the table {} lacks {what}", self.key, self.name))
    }
}

/// A name for SQL, in which it can be nothing else.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
