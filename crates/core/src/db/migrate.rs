//! Migrations: embedded in the binary, applied one instance at a time, a newer schema refused.

use refinery::Runner;
use tokio_postgres::Client;

use super::{Database, connect, lock};
use crate::failure::{Failure, causes};

/// Applies what is outstanding of `migrations` and returns the names of what was applied.
///
/// # Errors
/// [`Failure::Other`] when a migration fails, was changed after it had been applied, or the schema
/// is newer than this binary.
pub async fn run(database: &Database, migrations: &Runner) -> Result<Vec<String>, Failure> {
    let mut client = database
        .connect()
        .await
        .map_err(|error| Failure::Unreachable(causes(&error)))?;
    locked(&mut client, database.schema(), migrations)
        .await
        .map_err(|error| Failure::Other(format!("migrating schema {}: {error}", database.schema())))
}

async fn locked(client: &mut Client, schema: &str, migrations: &Runner) -> Result<Vec<String>, String> {
    let text = |error: tokio_postgres::Error| causes(&error);
    // A migration may take longer than any request's statement; the lock goes with the session.
    client
        .batch_execute("SET statement_timeout = 0")
        .await
        .map_err(text)?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&lock::key(schema, "migrate")])
        .await
        .map_err(text)?;
    create_schema(client, schema).await.map_err(text)?;
    refuse_newer(client, migrations).await?;
    let report = migrations
        .run_async(client)
        .await
        .map_err(|error| causes(&error))?;
    Ok(report
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// Creates the schema where it is missing; where it is there, the right to create is not needed.
async fn create_schema(client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    let exists = client
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema])
        .await?;
    if exists.is_none() && connect::is_plain_name(schema) {
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    Ok(())
}

async fn refuse_newer(client: &mut Client, migrations: &Runner) -> Result<(), String> {
    let known = migrations
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max();
    let applied = applied(client, migrations)
        .await?
        .iter()
        .map(refinery::Migration::version)
        .max();
    match (applied, known) {
        (Some(applied), Some(known)) if applied > known => Err(format!(
            "it is at version {applied}, newer than version {known} of this binary; use the newer binary"
        )),
        _ => Ok(()),
    }
}

/// What was applied before; nothing in a schema that was never migrated.
async fn applied(client: &mut Client, migrations: &Runner) -> Result<Vec<refinery::Migration>, String> {
    let exists = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await;
    if !exists
        .and_then(|row| row.try_get(0))
        .map_err(|error| causes(&error))?
    {
        return Ok(Vec::new());
    }
    migrations
        .get_applied_migrations_async(client)
        .await
        .map_err(|error| causes(&error))
}

/// Brings the schema up to date where `database.migrate` says so, or sees that it is.
///
/// # Errors
/// As [`run`] and [`check`].
pub async fn prepare(database: &Database, migrations: &Runner, migrate: bool) -> Result<(), Failure> {
    if migrate {
        run(database, migrations).await.map(drop)
    } else {
        check(database, migrations).await
    }
}

/// Refuses a schema that is not exactly this binary's: for a start without migrating.
///
/// # Errors
/// [`Failure::Other`] saying which command brings it there.
pub async fn check(database: &Database, migrations: &Runner) -> Result<(), Failure> {
    let mut client = database
        .connect()
        .await
        .map_err(|error| Failure::Unreachable(causes(&error)))?;
    refuse_newer(&mut client, migrations)
        .await
        .map_err(Failure::Other)?;
    let applied = applied(&mut client, migrations).await.map_err(Failure::Other)?;
    match migrations.get_migrations().len().saturating_sub(applied.len()) {
        0 => Ok(()),
        missing => Err(Failure::Other(format!(
            "{missing} migrations are outstanding: run the command `migrate`"
        ))),
    }
}
