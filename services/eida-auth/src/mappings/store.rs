//! The mapping in the authentication database.

use std::collections::BTreeSet;

use identity_core::db::{Error, GenericClient};

use super::model::Mapping;
use crate::databases::Accounts;

/// The paths that are mapped to anything.
///
/// # Errors
/// What Postgres says.
pub async fn paths(client: &impl GenericClient, accounts: &Accounts) -> Result<BTreeSet<String>, Error> {
    let sql = format!("SELECT DISTINCT epos_name::text FROM {}", accounts.mapping);
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// All of it, ordered by path and network.
///
/// # Errors
/// What Postgres says.
pub async fn list(client: &impl GenericClient, accounts: &Accounts) -> Result<Vec<Mapping>, Error> {
    let sql = format!(
        "SELECT epos_name::text, network::text, start_year::integer, end_year::integer FROM {} ORDER BY 1, 2, 3, 4",
        accounts.mapping
    );
    let mut mappings = Vec::new();
    for row in client.query(&sql, &[]).await? {
        mappings.push(Mapping {
            epos_name: row.try_get(0)?,
            network: row.try_get(1)?,
            start_year: row.try_get(2)?,
            end_year: row.try_get(3)?,
        });
    }
    Ok(mappings)
}

/// Adds those that are not there yet and gives their number; `replace` takes all others away. In the
/// caller's transaction.
///
/// # Errors
/// What Postgres says.
pub async fn import(
    client: &impl GenericClient,
    accounts: &Accounts,
    mappings: &[Mapping],
    replace: bool,
) -> Result<u64, Error> {
    let table = &accounts.mapping;
    if replace {
        client.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    let (mut paths, mut codes, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for mapping in mappings {
        paths.push(mapping.epos_name.as_str());
        codes.push(mapping.network.as_str());
        starts.push(mapping.start_year);
        ends.push(mapping.end_year);
    }
    let sql = format!(
        "INSERT INTO {table} (epos_name, network, start_year, end_year)
         SELECT path, code, first, last
         FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[]) AS given (path, code, first, last)
         WHERE NOT EXISTS (
             SELECT FROM {table} known
             WHERE known.epos_name::text = path AND known.network::text = code
                 AND known.start_year = first AND known.end_year = last
         )"
    );
    Ok(client.execute(&sql, &[&paths, &codes, &starts, &ends]).await?)
}
