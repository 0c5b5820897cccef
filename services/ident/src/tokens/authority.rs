//! Issues and verifies tokens by what this instance knows of keys and revocations: a snapshot that
//! [`super::sync`] keeps up to date.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use identity_core::crypto::jwt::{self, Claims, Expected, TokenError};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::model::{Grant, Link, Subject, TokenClaims, Verified};
use crate::keys::{Configuration, StoredKey};

/// The media type of access tokens (RFC 9068, 2.1).
const TYP: &str = "at+jwt";

/// What an instance knows.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The keys that are not withdrawn, in the order in which they sign.
    pub keys: Vec<Arc<StoredKey>>,
    /// Issuer and lifetimes; none before the first configuration.
    pub configuration: Option<Configuration>,
    /// Families that are not accepted any more.
    pub revoked_families: HashSet<Uuid>,
    /// Subjects whose families of before a moment are not accepted any more.
    pub revoked_subjects: HashMap<String, Timestamp>,
}

/// Issues and verifies. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Authority(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held by who reads what there is to know.
    turn: Mutex<()>,
    /// When an unknown key was last looked for, in milliseconds since 1970.
    looked_at: AtomicI64,
}

/// Between two looks for keys that strangers name.
const LOOK_AT_MOST_EVERY_MS: i64 = 1000;

/// Why no token is issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is no configuration or no key yet.
    #[error("no signing key is configured")]
    NotConfigured,
    /// A fault of ours.
    #[error("{0}")]
    Failed(#[from] TokenError),
}

/// A token that was issued.
#[derive(Debug)]
pub struct Issued {
    pub token: String,
    pub expires_in: i64,
}

impl Authority {
    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0
            .snapshot
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The turn to read what there is to know. One at a time: what was read before must not replace what was read after
    /// it, or a key would be forgotten again, and a revocation.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// Replaces what is known, by what was read in one's turn.
    pub fn learn(&self, snapshot: Snapshot) {
        *self.0.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Whether `token` names a key that is not known here; another instance may have made it just now.
    #[must_use]
    pub fn is_of_unknown_key(&self, token: &str) -> bool {
        let Ok(Some(kid)) = jwt::header(token).map(|header| header.kid) else {
            return false;
        };
        let snapshot = self.snapshot();
        !snapshot.keys.iter().any(|key| key.key.public().kid() == kid)
    }

    /// Whether an unknown key may be looked for: nothing was during the last second.
    #[must_use]
    pub fn may_look(&self, now: Timestamp) -> bool {
        let (now, before) = (now.as_millisecond(), self.0.looked_at.load(Ordering::Relaxed));
        let is_time = now - before >= LOOK_AT_MOST_EVERY_MS;
        is_time
            && self
                .0
                .looked_at
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Snapshot {
    /// The key that signs at `now`: of those whose time has come, the one whose time came last.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<&StoredKey> {
        self.keys
            .iter()
            .rfind(|key| key.signs_from <= now)
            .map(|key| &**key)
    }

    /// The keys that are published at `now`.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &StoredKey> {
        self.keys
            .iter()
            .map(|key| &**key)
            .filter(move |key| key.withdrawn_at.is_none_or(|at| at > now))
    }

    /// Issues the token `link` for `grant`.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, grant: &Grant, link: Link, now: Timestamp) -> Result<Issued, IssueError> {
        let (Some(configuration), Some(key)) = (&self.configuration, self.signer(now)) else {
            return Err(IssueError::NotConfigured);
        };
        let lifetime = SignedDuration::from_secs(configuration.jwt_expiration.into());
        let claims = Claims {
            issuer: configuration.jwt_issuer.clone(),
            subject: grant.subject.to_string(),
            audience: vec![grant.audience.clone()],
            issued_at: now,
            expires_at: now + lifetime,
            id: link.to_string(),
            own: TokenClaims {
                r#type: grant.subject.kind().to_owned(),
                permissions: grant.permissions.clone(),
                client_id: match grant.subject {
                    Subject::Client(id) => Some(id.to_string()),
                    Subject::User(_) => None,
                },
                email: grant.email.clone(),
            },
        };
        Ok(Issued {
            token: key.key.sign(&claims, TYP)?,
            expires_in: configuration.jwt_expiration.into(),
        })
    }

    /// Verifies a token of ours for one of `audiences`; for any audience where none is given.
    ///
    /// # Errors
    /// [`TokenError`] for every other token, also one that was revoked.
    pub fn verify(
        &self,
        token: &str,
        audiences: Option<&[&str]>,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let header = jwt::header(token)?;
        let refused = |reason: &str| TokenError::new(reason);
        let configuration = self
            .configuration
            .as_ref()
            .ok_or_else(|| refused("nothing was issued yet"))?;
        let kid = header.kid.ok_or_else(|| refused("kid is missing"))?;
        let key = self
            .published(now)
            .find(|key| key.key.public().kid() == kid)
            .ok_or_else(|| refused("unknown kid"))?;
        let expected = Expected {
            issuer: &configuration.jwt_issuer,
            audiences,
            typ: Some(TYP),
            now,
            leeway: SignedDuration::ZERO,
        };
        let claims: Claims<TokenClaims> = key.key.public().verify(token, &expected)?;
        let link: Link = claims.id.parse().map_err(|()| refused("jti is not ours"))?;
        let subject =
            Subject::read(&claims.own.r#type, &claims.subject).ok_or_else(|| refused("sub is not ours"))?;
        let verified = Verified {
            subject,
            link,
            kid,
            claims,
        };
        if self.is_revoked(&verified) {
            Err(refused("it was revoked"))
        } else {
            Ok(verified)
        }
    }

    /// Whether a token that was verified before is still good: not over, its key not withdrawn, not
    /// revoked.
    #[must_use]
    pub fn still_holds(&self, token: &Verified, now: Timestamp) -> bool {
        token.claims.expires_at > now
            && self.published(now).any(|key| key.key.public().kid() == token.kid)
            && !self.is_revoked(token)
    }

    fn is_revoked(&self, token: &Verified) -> bool {
        if self.revoked_families.contains(&token.link.family) {
            return true;
        }
        // Mostly there are none, and every request with a token asks.
        !self.revoked_subjects.is_empty() && {
            let before = self.revoked_subjects.get(&revocation_key(token.subject));
            before.is_some_and(|before| token.link.began() <= *before)
        }
    }
}

/// Under which a subject's revocation is stored.
#[must_use]
pub fn revocation_key(subject: Subject) -> String {
    format!("{}:{subject}", subject.kind())
}
