//! Care with a database that is somebody else's: only schemas that we made are filled and dropped, and
//! the database itself remembers which these are.

use identity_core::config::{Base, Settings};
use identity_core::db::tokio_postgres::Client;
use identity_core::db::{Database, tokio_postgres};
use identity_core::failure::Failure;

/// The comment on a schema of ours.
const MARK: &str = "made by cargo dev, which drops it with --fresh";

/// A connection with the settings of any of the services.
pub async fn connect(settings: &Settings) -> Result<Client, Failure> {
    let base = Base::read(settings)?;
    let opened = Database::open("dev", &base.database.postgres).await;
    let database = opened.map_err(|failure| Failure::Other(format!("DATABASE_URL: {failure}")))?;
    database.connect().await.map_err(because)
}

/// Drops every schema that we made; says their names.
pub async fn drop_made(client: &Client) -> Result<Vec<String>, Failure> {
    let made =
        "SELECT quote_ident(nspname) FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = $1";
    let rows = client.query(made, &[&MARK]).await.map_err(because)?;
    let mut dropped = Vec::new();
    for row in rows {
        let schema: String = row.try_get(0).map_err(because)?;
        client
            .batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
            .await
            .map_err(because)?;
        dropped.push(schema);
    }
    Ok(dropped)
}

/// Makes the schema of a service, a plain name, if it is not there.
///
/// Errors: it is there and not ours.
pub async fn make(client: &Client, schema: &str) -> Result<(), Failure> {
    let there = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1";
    match client.query_opt(there, &[&schema]).await.map_err(because)? {
        None => {
            let statements = format!("CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS '{MARK}'");
            client.batch_execute(&statements).await.map_err(because)
        }
        Some(row) => match row.try_get::<_, Option<&str>>(0).map_err(because)? {
            Some(MARK) => Ok(()),
            _ => Err(Failure::Other(format!(
                "the schema {schema} in the database of DATABASE_URL was not made by `cargo dev`, which \
                 therefore leaves it alone; name another database"
            ))),
        },
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form of an adapter for `map_err`"
)]
fn because(error: tokio_postgres::Error) -> Failure {
    Failure::because("DATABASE_URL", &error)
}
