//! Counts what is done often, and writes it from time to time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity_core::db::{Database, Error};
use identity_core::runtime::Stop;
use jiff::Timestamp;

use super::{Action, Entry, store};
use crate::access::{Caller, Person};

/// Between two writings.
const EVERY: Duration = Duration::from_secs(1);

/// Beyond so many different ones it is only said that there were more: Postgres must be gone for long.
const MOST: usize = 10_000;

/// So many are written by one statement.
const AT_ONCE: usize = 1000;

type Known = (Person, String, &'static str, Option<IpAddr>);

/// The uses of tokens of one instance. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<HashMap<Known, (Timestamp, i32)>>>);

impl Recorder {
    /// Notes that `caller` got a token of `provider`.
    pub fn used(&self, caller: &Caller, provider: &str, now: Timestamp) {
        let known = (
            caller.person.clone(),
            provider.to_owned(),
            caller.by.as_str(),
            caller.address,
        );
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST || all.contains_key(&known) {
            let (_, times) = all.entry(known).or_insert((now, 0));
            *times = times.saturating_add(1);
        } else {
            tracing::warn!("the audit log cannot be written; a use of a token is not noted");
        }
    }

    /// Writes until `stop` is said.
    pub async fn run(&self, database: &Database, stop: &Stop) {
        while !stop.is_said() {
            tokio::select! {
                () = stop.said() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            self.write(database).await;
        }
    }

    /// Writes what was noted until now.
    pub async fn write(&self, database: &Database) {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return;
        }
        let mut left: Vec<_> = noted.into_iter().collect();
        if let Err(error) = Self::insert(database, &mut left).await {
            tracing::warn!(%error, "the audit log is written later");
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (known, (at, times)) in left {
                let (first, count) = all.entry(known).or_insert((at, 0));
                *first = at.min(*first);
                *count = count.saturating_add(times);
            }
        }
    }

    /// Writes `left`, and takes from it what is written.
    async fn insert(database: &Database, left: &mut Vec<(Known, (Timestamp, i32))>) -> Result<(), Error> {
        let client = database.client().await?;
        while !left.is_empty() {
            let rest = left.len().saturating_sub(AT_ONCE);
            let part = left.get(rest..).unwrap_or_default();
            let entries: Vec<_> = part.iter().map(entry).collect();
            store::insert_all(&client, &entries).await?;
            left.truncate(rest);
        }
        Ok(())
    }
}

fn entry(((person, provider, by, address), (at, times)): &(Known, (Timestamp, i32))) -> Entry {
    Entry {
        at: *at,
        person: person.clone(),
        action: Action::Used,
        provider: Some(provider.clone()),
        by,
        address: *address,
        times: *times,
        detail: None,
    }
}
