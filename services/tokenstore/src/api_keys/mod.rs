//! Personal API keys, for programs of a person: shown once, known by their digests.

pub mod api;
pub mod model;
pub mod store;

use std::sync::Arc;

use identity_core::crypto::token::{PlainToken, TokenDigest};
use identity_core::db::Error;

use crate::access::{By, Person, Profile};
use crate::state::State;
use model::Found;

/// With what every key begins.
pub const PREFIX: &str = "tsk_";

/// The longest text that is looked at; ours have 47 bytes.
const LONGEST: usize = 64;

/// Whose key it is; none where it is none, or over.
///
/// # Errors
/// What Postgres says.
pub async fn verify(state: &State, text: &str) -> Result<Option<(Person, Arc<Profile>, By)>, Error> {
    let Some(digest) = digest_of(text) else {
        return Ok(None);
    };
    match state.api_keys.find(digest.as_str().to_owned()).await? {
        Some(found) => accept(state, &found).await,
        None => Ok(None),
    }
}

/// The digest by which a key is known; none for a text that can be none.
#[must_use]
pub fn digest_of(text: &str) -> Option<TokenDigest> {
    (text.starts_with(PREFIX) && text.len() <= LONGEST).then(|| PlainToken::presented(text).digest())
}

/// Whose the key is that was found, and notes its use; none where it is over.
///
/// # Errors
/// What Postgres says.
pub async fn accept(state: &State, found: &Found) -> Result<Option<(Person, Arc<Profile>, By)>, Error> {
    let now = state.clock.now();
    if found.expires_at.is_some_and(|end| end <= now) {
        return Ok(None);
    }
    if found
        .last_used_at
        .is_none_or(|at| at + model::USE_NOTED_EVERY < now)
    {
        let client = state.reader.client().await?;
        store::update_used(&*client, found, now).await?;
    }
    let by = By::ApiKey(found.expires_at);
    Ok(Some((found.person.clone(), found.profile.clone(), by)))
}
