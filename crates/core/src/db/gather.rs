//! Lookups by key that are asked for at the same time, gathered into one statement.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use deadpool_postgres::Client;

use super::together::{Together, Work};
use super::{Error, Reader};

/// A statement that finds rows by a key.
pub trait Lookup: Sized + 'static {
    /// What a row is found by.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What a row is read as.
    type Found: Send + Sync + 'static;

    /// Those of `keys` that exist, in any order. Reads only, in one statement. No key comes twice.
    fn find(client: &Client, keys: &[Self::Key]) -> impl Future<Output = Result<Rows<Self>, Error>> + Send;
}

/// What was found, each with its key.
pub type Rows<L> = Vec<(<L as Lookup>::Key, <L as Lookup>::Found)>;

/// Gathers the lookups of a worker's requests. Each is answered as of a moment after it was asked.
pub struct Gathered<L: Lookup>(Together<Finding<L>>);

type Answer<L> = Result<Option<Arc<<L as Lookup>::Found>>, Error>;

impl<L: Lookup> Gathered<L> {
    /// Lookups over the connection of `reader`.
    #[must_use]
    pub fn new(reader: &Reader) -> Self {
        Self(Together::new(Finding {
            reader: reader.clone(),
            lookup: PhantomData,
        }))
    }

    /// What `key` finds.
    ///
    /// # Errors
    /// As [`super::Database::client`], and what Postgres says to the statement, to all that went with it.
    pub async fn find(&self, key: L::Key) -> Answer<L> {
        self.0.ask(key).await
    }
}

impl<L: Lookup> fmt::Debug for Gathered<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Finds what keys name over one connection.
struct Finding<L> {
    reader: Reader,
    lookup: PhantomData<fn() -> L>,
}

impl<L: Lookup> Work for Finding<L> {
    type Asked = L::Key;
    type Answer = Option<Arc<L::Found>>;

    async fn do_all(&self, asked: Vec<L::Key>) -> Vec<Answer<L>> {
        let keys: HashSet<_> = asked.iter().collect();
        let keys: Vec<L::Key> = keys.into_iter().cloned().collect();
        let find = async { L::find(&*self.reader.client().await?, &keys).await };
        match self.reader.while_reachable(find).await {
            Ok(found) => {
                let found: HashMap<_, _> = found
                    .into_iter()
                    .map(|(key, found)| (key, Arc::new(found)))
                    .collect();
                asked.iter().map(|key| Ok(found.get(key).cloned())).collect()
            }
            Err(error) => asked.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}
