//! Bearer tokens of the login provider: its signature, its issuer, for us, at this time (RFC 7519, RFC 8725).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use identity_core::crypto::issuer::{Issuers, Settings};
use identity_core::http::Problem;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::access::{Person, Profile, is_subject};
use crate::state::State;

/// How many verified tokens a worker remembers; then it forgets all.
const MOST_REMEMBERED: usize = 4096;

/// A token that was verified is verified again after so long: its key may have been withdrawn.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The tokens that a worker has verified, by their digests.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<[u8; 32], Known>>);

/// Whose token it is, and until when that holds.
type Known = (Person, Arc<Profile>, Timestamp);

/// Whose token it is; none where it is not good.
///
/// # Errors
/// 503 where the login provider cannot be asked for its keys.
pub async fn verify(state: &State, token: &str) -> Result<Option<(Person, Arc<Profile>)>, Problem> {
    let now = state.clock.now();
    let digest: [u8; 32] = Sha256::digest(token).into();
    if let Some(known) = state.remembered.find(&digest, now) {
        return Ok(Some(known));
    }
    let issuers = issuers(state, now).await?;
    let Some(issuer) = issuers.issuer_of(token) else {
        return Ok(None);
    };
    let claims = match issuer.verify(token, now).await {
        Ok(claims) => claims,
        Err(error) => {
            tracing::info!(%error, "a bearer token is refused");
            return Ok(None);
        }
    };
    let person = Person {
        issuer: claims.issuer,
        subject: claims.subject,
    };
    if !is_subject(&person.subject) {
        return Ok(None);
    }
    let mut all = claims.own;
    if let Value::Object(members) = &mut all {
        members.insert("iss".to_owned(), person.issuer.clone().into());
        members.insert("sub".to_owned(), person.subject.clone().into());
        members.insert("aud".to_owned(), json!(claims.audience));
        members.insert("iat".to_owned(), claims.issued_at.as_second().into());
        members.insert("exp".to_owned(), claims.expires_at.as_second().into());
    }
    let profile = Arc::new(Profile::of_claims(all, None));
    let until = claims.expires_at.min(now + REMEMBERED_FOR);
    state
        .remembered
        .insert(digest, (person.clone(), profile.clone(), until));
    Ok(Some((person, profile)))
}

/// The login provider as an issuer of tokens, when it has told who it is.
async fn issuers(state: &State, now: Timestamp) -> Result<&Issuers, Problem> {
    let made = state.issuers.get_or_try_init(|| async {
        let endpoints = state.login.endpoints(now).await?;
        let settings = Settings {
            issuer: endpoints.issuer.clone().unwrap_or_default(),
            jwks_uri: endpoints.jwks.clone(),
            audience: state.audience.clone(),
        };
        Ok::<_, crate::providers::Unreachable>(Issuers::new(vec![settings], &state.outgoing))
    });
    made.await
        .map_err(|_| Problem::unavailable("The login provider cannot be reached; try again soon.", 5))
}

impl Remembered {
    fn find(&self, digest: &[u8; 32], now: Timestamp) -> Option<(Person, Arc<Profile>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (person, profile, until) = all.get(digest)?;
        (*until > now).then(|| (person.clone(), profile.clone()))
    }

    fn insert(&self, digest: [u8; 32], known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(digest, known);
    }
}
