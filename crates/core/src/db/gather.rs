//! Lookups by key that are asked for at the same time, gathered into one statement.
//!
//! While one statement is under way the lookups that come in wait, and go together with the next. A
//! lonely lookup waits for nothing; of many, each costs Postgres and the network a fraction of what
//! it would cost alone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Client;
use tokio::sync::oneshot;

use super::{Error, Reader};

/// The most lookups of one statement, so that a crowd does not make one slow.
const MOST: usize = 64;

/// A statement that finds rows by a key.
pub trait Lookup: Sized + 'static {
    /// What a row is found by.
    type Key: Clone + Eq + Hash + Send + 'static;
    /// What a row is read as.
    type Found: Send + Sync + 'static;

    /// Those of `keys` that exist, in any order. Reads only, in one statement. No key comes twice.
    fn find(client: &Client, keys: &[Self::Key]) -> impl Future<Output = Result<Rows<Self>, Error>> + Send;
}

/// What was found, each with its key.
pub type Rows<L> = Vec<(<L as Lookup>::Key, <L as Lookup>::Found)>;

/// Gathers the lookups of a worker's requests. Each is answered as of a moment after it was asked.
pub struct Gathered<L: Lookup> {
    reader: Reader,
    waiting: Arc<Mutex<Waiting<L>>>,
}

type Answer<L> = Result<Option<Arc<<L as Lookup>::Found>>, Error>;
type Asked<L> = (<L as Lookup>::Key, oneshot::Sender<Answer<L>>);

struct Waiting<L: Lookup> {
    lookups: Vec<Asked<L>>,
    /// Whether a task sees to them.
    is_seen_to: bool,
}

impl<L: Lookup> Gathered<L> {
    /// Lookups over the connection of `reader`.
    #[must_use]
    pub fn new(reader: &Reader) -> Self {
        Self {
            reader: reader.clone(),
            waiting: Arc::new(Mutex::new(Waiting {
                lookups: Vec::new(),
                is_seen_to: false,
            })),
        }
    }

    /// What `key` finds.
    ///
    /// # Errors
    /// As [`super::Database::client`], and what Postgres says to the statement, to all that went with it.
    pub async fn find(&self, key: L::Key) -> Answer<L> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            waiting.lookups.push((key, answer));
            if !waiting.is_seen_to {
                waiting.is_seen_to = true;
                // A task of its own: the request that began it may be given up, the others not.
                tokio::spawn(see_to(self.reader.clone(), Seeing(self.waiting.clone())));
            }
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the lookup was given up")))
    }
}

impl<L: Lookup> fmt::Debug for Gathered<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.waiting).lookups.len();
        let mut debug = formatter.debug_struct("Gathered");
        debug.field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// The task's hold on the lookups. Where it ends by a panic, those that wait are given up, and the next one begins
/// anew.
struct Seeing<L: Lookup>(Arc<Mutex<Waiting<L>>>);

impl<L: Lookup> Seeing<L> {
    /// The next ones; none when there are none, and then the task is over.
    fn next(&self) -> Vec<Asked<L>> {
        let mut waiting = lock(&self.0);
        let count = waiting.lookups.len().min(MOST);
        waiting.is_seen_to = count > 0;
        waiting.lookups.drain(..count).collect()
    }
}

impl<L: Lookup> Drop for Seeing<L> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0);
        // Otherwise it ended well, and another task may be at it already.
        if std::thread::panicking() {
            waiting.is_seen_to = false;
            waiting.lookups.clear();
        }
    }
}

async fn see_to<L: Lookup>(reader: Reader, seeing: Seeing<L>) {
    loop {
        // What is ready to run may have lookups, too.
        tokio::task::yield_now().await;
        let asked = seeing.next();
        if asked.is_empty() {
            return;
        }
        let keys: HashSet<_> = asked.iter().map(|(key, _)| key).collect();
        let keys: Vec<L::Key> = keys.into_iter().cloned().collect();
        let answer = match reader.client().await {
            Ok(client) => L::find(&client, &keys).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(found) => {
                let found: HashMap<_, _> = found
                    .into_iter()
                    .map(|(key, found)| (key, Arc::new(found)))
                    .collect();
                for (key, answer) in asked {
                    // Who asked may have gone.
                    let _ = answer.send(Ok(found.get(&key).cloned()));
                }
            }
            Err(error) => {
                for (_, answer) in asked {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

fn lock<L: Lookup>(waiting: &Mutex<Waiting<L>>) -> MutexGuard<'_, Waiting<L>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
