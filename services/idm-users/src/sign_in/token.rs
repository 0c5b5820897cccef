//! Users' tokens: issued, and found to be whose.

use identity_core::crypto::jwt::TokenError;
use identity_core::crypto::random;
use identity_core::http::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{Shared, State};
use crate::users::{self, User, Username};

/// The claims of a user's token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// The user's id.
    identity: i64,
    /// `{generation}.{random}`: a token of an earlier generation is not accepted.
    jti: String,
}

/// A token of `user`.
///
/// # Errors
/// [`TokenError`] when it cannot be written.
pub(super) fn issue(state: &Shared, user: &User) -> Result<String, TokenError> {
    let now = state.now().as_second();
    let signing = &state.signing;
    signing.key.sign(&Claims {
        iss: signing.issuer.clone(),
        aud: signing.audience.clone(),
        iat: now,
        nbf: now,
        exp: now.saturating_add(signing.expiration_seconds),
        identity: user.id,
        jti: format!("{}.{}", user.generation, random::uuid().simple()),
    })
}

/// Whose token it is: one of ours, or of a trusted issuer; nobody's where it is not valid.
///
/// # Errors
/// What Postgres says.
pub(crate) async fn user_of(state: &State, token: &str) -> Result<Option<User>, Problem> {
    if let Some(issuer) = state.issuers.issuer_of(token) {
        let verified = issuer.verify(token, state.clock.now()).await;
        let Some(username) = verified
            .inspect_err(|error| tracing::debug!(%error, "a foreign token was refused"))
            .ok()
            .and_then(|claims| email_of(&claims.own))
        else {
            return Ok(None);
        };
        let client = state.reader.client().await?;
        return Ok(users::find(&*client, &username).await?);
    }
    let Some((id, generation)) = read(state, token) else {
        return Ok(None);
    };
    let client = state.reader.client().await?;
    let user = users::find_by_id(&*client, id).await?;
    Ok(user.filter(|user| user.generation == generation))
}

/// The user and the generation of a token of ours that is valid now.
fn read(state: &State, token: &str) -> Option<(i64, i32)> {
    let signing = &state.signing;
    let claims = signing.key.claims::<Claims>(token);
    let claims = claims
        .inspect_err(|error| tracing::debug!(%error, "a token was refused"))
        .ok()?;
    let now = state.now().as_second();
    let holds = claims.iss == signing.issuer
        && claims.aud == signing.audience
        && claims.nbf <= now
        && now < claims.exp;
    let (generation, _) = claims.jti.split_once('.')?;
    Some((claims.identity, generation.parse().ok()?)).filter(|_| holds)
}

/// The address by which the issuer knows the person, unless it says that it has not verified it.
fn email_of(claims: &Value) -> Option<Username> {
    let verified = match claims.get("email_verified") {
        None => true,
        // Some issuers write it as a text.
        Some(verified) => *verified == Value::Bool(true) || verified == "true",
    };
    let email = claims.get("email")?.as_str()?;
    Username::parse(email).ok().filter(|_| verified)
}
