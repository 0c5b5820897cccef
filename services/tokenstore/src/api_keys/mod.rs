//! Personal API keys, for programs of a person: shown once, known by their digests.

pub mod api;
pub mod model;
pub mod store;

use std::sync::Arc;

use identity_core::crypto::token::PlainToken;
use identity_core::db::Error;

use crate::access::{By, Person, Profile};
use crate::state::State;

/// With what every key begins.
pub const PREFIX: &str = "tsk_";

/// The longest text that is looked at; ours have 47 bytes.
const LONGEST: usize = 64;

/// Whose key it is; none where it is none, or over.
///
/// # Errors
/// What Postgres says.
pub async fn verify(state: &State, text: &str) -> Result<Option<(Person, Arc<Profile>, By)>, Error> {
    if !text.starts_with(PREFIX) || text.len() > LONGEST {
        return Ok(None);
    }
    let now = state.clock.now();
    let digest = PlainToken::presented(text).digest();
    let found = state.api_keys.find(digest.as_str().to_owned()).await?;
    let Some(found) = found.filter(|found| found.expires_at.is_none_or(|end| end > now)) else {
        return Ok(None);
    };
    if found
        .last_used_at
        .is_none_or(|at| at + model::USE_NOTED_EVERY < now)
    {
        let client = state.reader.client().await?;
        store::update_used(&*client, &found, now).await?;
    }
    let by = By::ApiKey(found.expires_at);
    Ok(Some((found.person.clone(), found.profile.clone(), by)))
}
