//! One login for one token: which way it is written, and what can come of it.

use identity_core::clock::Clock;
use identity_core::crypto::random;
use identity_core::db::{Error, Together};
use prometheus_client::metrics::counter::Counter;

use super::ledger::Ledger;
use super::model::{Login, Maker, Network};
use super::one::Logins;
use super::{one, two};
use crate::databases::Databases;
use crate::tokens::Token;

/// How often a place is tried for that another request took at the same moment.
const MOST_TRIES: usize = 50;
/// How many are so many that somebody should know.
const MANY_TRIES: usize = 8;

/// Writes logins. Clones share connections.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Where they are written.
    pub databases: Databases,
    /// What was given for which token.
    pub ledger: Ledger,
    /// Makes them.
    pub maker: Maker,
    /// How many logins of a token may live at a time.
    pub max_per_token: i32,
    /// The time.
    pub clock: Clock,
    /// Counts them.
    pub issued: Counter,
}

/// What comes of asking for a login.
#[derive(Debug)]
pub enum Outcome {
    /// It is written.
    Issued(Login),
    /// The token is blocked.
    Blocked,
    /// None of its memberships leads to a network that is known here.
    NotMapped,
    /// It has as many live logins as it may.
    TooMany,
}

/// What the statements of `one` and `two` find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// It is written.
    Yes,
    /// See [`Outcome`].
    Blocked,
    /// See [`Outcome`].
    NotMapped,
    /// See [`Outcome`].
    TooMany,
    /// Another request took the place that was found to be free.
    Taken,
}

impl Writer {
    /// Writes a login for `token`; where all is in our own database, `together` with those of other requests.
    ///
    /// # Errors
    /// What a database says; nothing is left of the login then, or what the next cleanup removes.
    pub async fn issue(&self, together: &Together<Logins>, token: &Token) -> Result<Outcome, Error> {
        for tries in 0..MOST_TRIES {
            let now = self.clock.now();
            let login = self.maker.make(token, now, random::bytes::<64>);
            let issued = if self.databases.is_one {
                one::write(self, together, token, &login, tries).await?
            } else {
                two::write(self, token, &login, now).await?
            };
            return Ok(match issued {
                Issued::Taken => {
                    if tries == MANY_TRIES {
                        tracing::warn!(token = %token.id, tries, "others took every place that was tried");
                    }
                    continue;
                }
                Issued::Yes => {
                    self.issued.inc();
                    Outcome::Issued(login)
                }
                Issued::Blocked => Outcome::Blocked,
                Issued::NotMapped => Outcome::NotMapped,
                Issued::TooMany => Outcome::TooMany,
            });
        }
        Ok(Outcome::TooMany)
    }
}

/// Says that the inventory does not know networks of the mapping.
pub(super) fn warn_of_unknown<'a>(networks: impl IntoIterator<Item = &'a Network>) {
    for Network {
        code,
        start_year,
        end_year,
    } in networks
    {
        tracing::warn!(
            network = code,
            start_year,
            end_year,
            "a mapped network is not in the inventory and is skipped"
        );
    }
}
