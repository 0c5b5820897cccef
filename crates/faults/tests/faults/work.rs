//! What is asked of a service under load, and how its clients see afterwards whether it has kept its word: the same for
//! each service, so that every fault is tried with every one.

use std::sync::Arc;
use std::time::Duration;

use faults::{Instance, Load, Tally};

/// How many clients ask at once.
pub const CLIENTS: usize = 8;

/// The clients of a service, who write and remember every answer.
pub trait Work: Sized + Send + Sync + 'static {
    /// The program.
    const SERVICE: &'static str;

    /// By what it is known on the line to Postgres that a change is decided: the commit of several statements, or what
    /// only a statement contains that is decided by itself.
    const DECISION: &'static [u8] = b"COMMIT\0";

    /// Starts the service on `database`, with `more` settings (`key=value`).
    async fn start(database: &str, more: &[&str]) -> (Instance, Arc<Self>);

    /// Lets `count` clients write until they are stopped.
    fn busy(self: &Arc<Self>, count: usize) -> Load;

    /// How the requests went so far.
    fn tally(&self) -> Tally;

    /// How long the slowest request took that ended since this was last asked.
    fn slowest(&self) -> Duration;

    /// Looks, with nobody else at work any more, whether what is known to be there is good for its purpose; says what
    /// was seen.
    async fn is_good(&self, instance: &Instance) -> String;

    /// Compares what the clients know with `database`, in which all instances have ended; gives how many changes were
    /// made, and what the test has to tell.
    async fn agree(&self, database: &str) -> (usize, String);

    /// How many requests were answered with success.
    fn done(&self) -> usize {
        self.tally().done
    }
}

/// How requests may go, whatever happens: none is refused, and none answered with another 5xx than 503.
pub fn excused(tally: &Tally) {
    assert_eq!((tally.failed, tally.refused), (0, 0), "{tally}");
    assert!(tally.done > 0, "{tally}");
}

/// The settings with `more` of them.
pub fn with(mut settings: Vec<String>, more: &[&str]) -> Vec<String> {
    settings.extend(more.iter().map(|&setting| setting.to_owned()));
    settings
}
