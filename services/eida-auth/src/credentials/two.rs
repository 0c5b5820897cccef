//! A data centre's databases: the account in one, its privileges in the other, and no transaction over
//! both.
//!
//! Both transactions are prepared in full before either commits. The account is committed first, with an
//! end that is near, then the privileges, and last the account gets its own end. Whatever fails is
//! undone; what a crash leaves is an account that ends soon, which the next cleanup removes with all it
//! has. There are never privileges without an account, nor an answer without both.

use std::time::Duration;

use identity_core::db::{Error, tokio_postgres};
use jiff::Timestamp;

use super::centre::{
    Account, Half, end_account, end_privileges, end_soon, insert_account, insert_privileges, is_there, known,
    lock_login, mapped, set_own_end,
};
use super::issue::{Issued, Writer};
use super::ledger::Asked;
use super::model::Login;
use crate::tokens::{Token, TokenId};

/// How long an account lives whose privileges are not known to be committed; longer than a request.
const PENDING: Duration = Duration::from_mins(2);

/// How often it is tried to take back what was committed, and the pause between.
const MOST_TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Writes `login` for `token`.
///
/// A task of its own does it: a client that goes away must not leave it half-done.
pub(super) async fn write(
    writer: &Writer,
    token: &Token,
    login: &Login,
    now: Timestamp,
) -> Result<Issued, Error> {
    let asked = Asked {
        token: token.id,
        login: &login.login,
        expires_at: login.expires_at,
        now,
        derived: writer.maker.derives(),
        most: writer.max_per_token,
    };
    let reserved = writer.ledger.reserve(&asked).await?;
    if reserved != Issued::Yes {
        return Ok(reserved);
    }
    let work = Work {
        writer: writer.clone(),
        token: token.id,
        memberships: token.content.memberships.iter().cloned().collect(),
        account: Account {
            login: login.login.clone(),
            digest: login.digest(),
            email: login.email(),
            pending_until: login.pending_until(now, PENDING),
            expires_at: login.expires_at,
        },
    };
    let done = tokio::spawn(async move { work.do_or_undo().await }).await;
    done.map_err(|error| Error::unavailable(format!("writing a login was broken off: {error}")))?
}

struct Work {
    writer: Writer,
    token: TokenId,
    memberships: Vec<String>,
    account: Account,
}

/// How far the writing came.
enum Reached {
    /// Nothing is committed.
    Nothing(Issued),
    /// All is, of an account that was there before or is new.
    All { is_new: bool },
}

/// Why it came no further, and whether something new may be committed.
struct Broken {
    error: Error,
    may_be_there: bool,
}

impl Work {
    async fn do_or_undo(self) -> Result<Issued, Error> {
        match self.commit_both().await {
            Ok(Reached::Nothing(issued)) => {
                self.release().await;
                Ok(issued)
            }
            Ok(Reached::All { is_new }) => match self.writer.ledger.is_blocked(self.token).await {
                Ok(false) => Ok(Issued::Yes),
                // It was blocked while this was written.
                Ok(true) => {
                    self.undo().await;
                    Ok(Issued::Blocked)
                }
                Err(error) => {
                    if is_new {
                        self.undo().await;
                    }
                    Err(error)
                }
            },
            Err(Broken { error, may_be_there }) => {
                if may_be_there {
                    self.undo().await;
                } else {
                    self.release().await;
                }
                Err(error)
            }
        }
    }

    async fn commit_both(&self) -> Result<Reached, Broken> {
        let nothing_yet = |error: Error| Broken {
            error,
            may_be_there: false,
        };
        let Writer { databases, maker, .. } = &self.writer;
        let (accounts, tables) = (&databases.accounts, &databases.networks);
        let mut auth_client = databases.auth.client().await.map_err(nothing_yet)?;
        let auth = auth_client
            .transaction()
            .await
            .map_err(|error| nothing_yet(error.into()))?;
        let mapped = mapped(&auth, accounts, &self.memberships)
            .await
            .map_err(nothing_yet)?;
        if mapped.is_empty() {
            return Ok(Reached::Nothing(Issued::NotMapped));
        }
        lock_login(&auth, Half::Account, &self.account.login)
            .await
            .map_err(nothing_yet)?;
        let mut privilege_client = databases.privileges.client().await.map_err(nothing_yet)?;
        let privileges = privilege_client
            .transaction()
            .await
            .map_err(|error| nothing_yet(error.into()))?;
        lock_login(&privileges, Half::Privileges, &self.account.login)
            .await
            .map_err(nothing_yet)?;
        let known = known(&privileges, tables, mapped).await.map_err(nothing_yet)?;
        if known.ids.is_empty() {
            return Ok(Reached::Nothing(Issued::NotMapped));
        }
        let is_new = !(maker.derives()
            && is_there(&auth, accounts, &self.account.login)
                .await
                .map_err(nothing_yet)?);
        if is_new {
            insert_account(&auth, accounts, &self.account)
                .await
                .map_err(nothing_yet)?;
        }
        insert_privileges(&privileges, tables, &self.account, &known)
            .await
            .map_err(nothing_yet)?;
        // From here on it may be there, also when the answer says that it is not.
        let perhaps = |error: tokio_postgres::Error| Broken {
            error: error.into(),
            may_be_there: is_new,
        };
        auth.commit().await.map_err(perhaps)?;
        privileges.commit().await.map_err(perhaps)?;
        if !set_own_end(&auth_client, accounts, &self.account)
            .await
            .map_err(perhaps)?
        {
            return Err(Broken {
                error: Error::unavailable("the account was gone before all was written"),
                may_be_there: is_new,
            });
        }
        Ok(Reached::All { is_new })
    }

    /// Takes back what may be committed. What cannot be reached now, the next cleanup takes.
    async fn undo(&self) {
        let mut tries = 1;
        loop {
            match self.take_back().await {
                Ok(()) => return self.release().await,
                // The pool may still hold the connection that was lost with the commit.
                Err(_) if tries < MOST_TRIES => tokio::time::sleep(BETWEEN_TRIES).await,
                Err(error) => {
                    tracing::warn!(%error, "a login that was not given is left to the next cleanup");
                    return;
                }
            }
            tries += 1;
        }
    }

    async fn take_back(&self) -> Result<(), Error> {
        let Writer { databases, .. } = &self.writer;
        // Before anything is taken: an account whose own end may be set already would stay until then, without its
        // privileges, were the databases out of reach for the rest. As it is, it stays whole or not for long.
        end_soon(&databases.auth, &databases.accounts, &self.account).await?;
        // First the privileges, as everywhere: they must not outlive their account.
        end_privileges(&databases.privileges, &databases.networks, &self.account.login).await?;
        end_account(&databases.auth, &databases.accounts, &self.account.login).await
    }

    async fn release(&self) {
        if let Err(error) = self.writer.ledger.release(self.token, &self.account.login).await {
            tracing::warn!(%error, "a place among a token's logins stays taken until it expires");
        }
    }
}
