//! The originals' tables, known by their columns: releases name the tables of the second one differently.

use identity_core::db::tokio_postgres::Row;
use identity_core::db::{Error, GenericClient};
use uuid::Uuid;

/// How many rows are read at once.
const PAGE: i64 = 1000;

/// Those that a database has.
#[derive(Debug, Default)]
pub struct Tables {
    /// The first original's people.
    pub people: Option<Table>,
    /// Their linked accounts.
    pub services: Option<Table>,
    /// Who signs in at the second original.
    pub users: Option<Table>,
    /// Its machine clients.
    pub clients: Option<Table>,
}

/// A table, and those of its columns that not every release has.
#[derive(Debug, Clone)]
pub struct Table {
    /// Quoted.
    name: String,
    columns: Vec<(String, String)>,
}

impl Tables {
    /// Looks for them in the schema of the connection.
    pub async fn find(client: &impl GenericClient) -> Result<Self, Error> {
        let sql = "SELECT table_name::text, array_agg(column_name::text), array_agg(data_type::text)
                   FROM information_schema.columns WHERE table_schema = current_schema() GROUP BY table_name
                   ORDER BY table_name";
        let mut tables = Self::default();
        for row in client.query(sql, &[]).await? {
            let name: String = row.try_get(0)?;
            let (columns, types): (Vec<String>, Vec<String>) = (row.try_get(1)?, row.try_get(2)?);
            let table = Table {
                name: format!("\"{}\"", name.replace('"', "\"\"")),
                columns: columns.into_iter().zip(types).collect(),
            };
            let kind = if table.has(&["id", "name", "email_address"]) {
                &mut tables.people
            } else if table.has(&["user_id", "sv_id", "sv_name"]) {
                &mut tables.services
            } else if table.has(&["id", "username", "password_hash"]) {
                &mut tables.users
            } else if table.has(&["id", "secret_hash", "public_key"]) {
                &mut tables.clients
            } else {
                continue;
            };
            *kind = Some(table);
        }
        Ok(tables)
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.people.is_none() && self.users.is_none() && self.clients.is_none()
    }
}

impl Table {
    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.type_of(name).is_some())
    }

    fn type_of(&self, name: &str) -> Option<&str> {
        let mut columns = self.columns.iter();
        columns
            .find(|(column, _)| column == name)
            .map(|(_, kind)| kind.as_str())
    }

    /// A column as an expression of `kind`; null where this release does not have it.
    fn column(&self, name: &str, kind: &str) -> String {
        match self.type_of(name) {
            Some("bytea") => format!("convert_from({name}, 'LATIN1')::{kind}"),
            Some(_) => format!("{name}::{kind}"),
            None => format!("NULL::{kind}"),
        }
    }
}

/// A person of the first original.
#[derive(Debug)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub email: Option<String>,
    /// Whether there is a picture, which has no place here.
    pub picture: bool,
}

/// Up to a page of people behind the id `after`.
pub async fn people(client: &impl GenericClient, table: &Table, after: i64) -> Result<Vec<Person>, Error> {
    let (name, picture) = (&table.name, table.column("picture_url", "text"));
    let sql = format!(
        "SELECT id::bigint, name::text, email_address::text, coalesce({picture}, '') <> '' FROM {name}
         WHERE id > $1::bigint ORDER BY id LIMIT $2"
    );
    let rows = client.query(&sql, &[&after, &PAGE]).await?;
    let person = |row: &Row| {
        Ok(Person {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            email: row.try_get(2)?,
            picture: row.try_get(3)?,
        })
    };
    rows.iter().map(person).collect()
}

/// A linked account of the first original.
#[derive(Debug)]
pub struct Service {
    pub user: i64,
    pub name: String,
    pub account: String,
    /// Encrypted with the original's key.
    pub access_token: Option<String>,
}

/// The linked accounts of these people.
pub async fn services(
    client: &impl GenericClient,
    table: &Table,
    users: &[i64],
) -> Result<Vec<Service>, Error> {
    let (name, token) = (&table.name, table.column("access_token", "text"));
    let sql = format!(
        "SELECT user_id::bigint, sv_name::text, sv_id::text, {token} FROM {name}
         WHERE user_id::bigint = ANY ($1) ORDER BY user_id, sv_name"
    );
    let rows = client.query(&sql, &[&users]).await?;
    let service = |row: &Row| {
        let name: String = row.try_get(1)?;
        Ok(Service {
            user: row.try_get(0)?,
            name: match name.as_str() {
                "fb" => "facebook".to_owned(),
                "gh" => "github".to_owned(),
                _ => name,
            },
            account: row.try_get(2)?,
            access_token: row.try_get(3)?,
        })
    };
    rows.iter().map(service).collect()
}

/// Somebody who signs in at the second original.
#[derive(Debug)]
pub struct User {
    pub id: Uuid,
    pub username: String,
    pub password_hash: Option<String>,
    pub is_root: bool,
    pub permissions: Vec<String>,
}

/// Up to a page of them, behind the id `after`.
pub async fn users(
    client: &impl GenericClient,
    table: &Table,
    after: Option<Uuid>,
) -> Result<Vec<User>, Error> {
    let (root, permissions) = (
        table.column("is_root", "boolean"),
        table.column("permissions", "text[]"),
    );
    let sql = format!(
        "SELECT id, username::text, password_hash::text, coalesce({root}, false), coalesce({permissions}, '{{}}')
         FROM {} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        table.name
    );
    let rows = client.query(&sql, &[&after, &PAGE]).await?;
    let user = |row: &Row| {
        Ok(User {
            id: row.try_get(0)?,
            username: row.try_get(1)?,
            password_hash: row.try_get(2)?,
            is_root: row.try_get(3)?,
            permissions: row.try_get(4)?,
        })
    };
    rows.iter().map(user).collect()
}

/// A machine client of the second original.
#[derive(Debug)]
pub struct Client {
    pub id: Uuid,
    pub secret_hash: Option<String>,
    pub public_key: Option<String>,
    pub permissions: Vec<String>,
}

/// Up to a page of them, behind the id `after`.
pub async fn clients(
    client: &impl GenericClient,
    table: &Table,
    after: Option<Uuid>,
) -> Result<Vec<Client>, Error> {
    let permissions = table.column("permissions", "text[]");
    let sql = format!(
        "SELECT id, secret_hash::text, public_key::text, coalesce({permissions}, '{{}}')
         FROM {} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        table.name
    );
    let rows = client.query(&sql, &[&after, &PAGE]).await?;
    let client = |row: &Row| {
        Ok(Client {
            id: row.try_get(0)?,
            secret_hash: row.try_get(1)?,
            public_key: row.try_get(2)?,
            permissions: row.try_get(3)?,
        })
    };
    rows.iter().map(client).collect()
}
