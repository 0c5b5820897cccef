//! Is a client the one it says it is? It must present exactly what it is registered with: a secret,
//! a signature, or both.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use identity_core::crypto::jwt::{Claims, Expected, PublicKey};
use identity_core::crypto::password::Verdict;
use identity_core::crypto::{pss, random};
use identity_core::db::{Error, GenericClient};
use identity_core::http::Problem;
use identity_core::throttle::Tried;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::model::Client;
use super::store::{self, Stored};
use crate::login::api::too_many;
use crate::login::busy;
use crate::state::State;

/// How far ahead an assertion may expire (RFC 7523, 3: "unreasonably far in the future").
const LONGEST_ASSERTION: SignedDuration = SignedDuration::from_mins(5);
/// The longest `jti` that is kept, in bytes.
const LONGEST_JTI: usize = 256;
/// How many secrets are remembered at most; then all are forgotten.
const MOST_REMEMBERED: usize = 10_000;

/// What a caller presents.
#[derive(Debug, Default)]
pub struct Presented {
    pub client_id: Option<String>,
    pub secret: Option<SecretString>,
    pub signature: Option<String>,
}

/// Secrets that were verified a short while ago, as keyed digests, so that a client that asks often
/// does not cost a slow hash each time.
#[derive(Debug)]
pub struct RememberedSecrets {
    key: [u8; 32],
    lasts: Duration,
    known: Mutex<HashMap<Uuid, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    digest: Vec<u8>,
    until: Timestamp,
    stored: Stored,
}

impl RememberedSecrets {
    /// Nothing yet; each secret for as long as `lasts`.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self {
            key: random::bytes(),
            lasts,
            known: Mutex::default(),
        }
    }

    /// The client, if it has shown this secret lately.
    fn recall(&self, id: Uuid, secret: &SecretString, now: Timestamp) -> Option<Client> {
        let digest = self.digest(secret)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&id).filter(|known| known.until > now)?;
        bool::from(known.digest.ct_eq(&digest)).then(|| known.stored.client.clone())
    }

    fn remember(&self, stored: &Stored, secret: &SecretString, now: Timestamp) {
        let Some(digest) = self.digest(secret) else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(
            stored.client.id,
            Remembered {
                digest,
                until: now + self.lasts,
                stored: stored.clone(),
            },
        );
    }

    /// Forgets those who are not as they were when they were verified: another instance has changed them.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn recheck(&self, client: &impl GenericClient) -> Result<(), Error> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: HashSet<Uuid> = known().keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let stored = store::find_all(client, ids.iter().copied()).await?;
        let stored: HashMap<Uuid, Stored> = stored.into_iter().map(|it| (it.client.id, it)).collect();
        // Who came meanwhile is looked at the next time.
        known().retain(|id, known| match stored.get(id) {
            Some(stored) => *stored == known.stored,
            None => !ids.contains(id),
        });
        Ok(())
    }

    /// Forgets what is remembered of a client, which must follow every change of it.
    pub fn forget(&self, id: Uuid) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    fn digest(&self, secret: &SecretString) -> Option<Vec<u8>> {
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&self.key).ok()?;
        mac.update(secret.expose_secret().as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    }
}

/// The client that `presented` something from `address`; none where it is another, for a reason that
/// nobody is told.
///
/// # Errors
/// 429 when too much was guessed from the address, 503 when the database or the hasher cannot help
/// now.
pub async fn authenticate(
    state: &State,
    presented: &Presented,
    address: Option<IpAddr>,
) -> Result<Option<Client>, Problem> {
    let now = state.clock.now();
    let id = presented
        .client_id
        .as_deref()
        .and_then(|id| id.parse::<Uuid>().ok());
    // A secret alone, shown again: neither database nor hash.
    if let (Some(id), Some(secret), None) = (id, &presented.secret, &presented.signature)
        && let Some(client) = state.remembered.recall(id, secret, now)
    {
        return Ok(Some(client));
    }
    let reader = state.reader.client().await?;
    // However the id is spelt, it is the same client that is guessed at.
    let canonical = id.map(|id| id.to_string());
    let named = canonical.as_deref().or(presented.client_id.as_deref());
    let key = format!("client {}", named.unwrap_or_default());
    let tried = Tried::new(&key, address);
    if let Some(wait) = state.throttle.wait(&*reader, &tried, None, now).await? {
        return Err(too_many(wait));
    }
    let client = is_client(state, presented, id, now).await?;
    if client.is_none() {
        state
            .throttle
            .failed(&state.database.client().await?, &tried, now)
            .await?;
        state.counts.failed_logins.inc();
    }
    Ok(client)
}

async fn is_client(
    state: &State,
    presented: &Presented,
    id: Option<Uuid>,
    now: Timestamp,
) -> Result<Option<Client>, Problem> {
    let stored = match id {
        Some(id) => store::find(&*state.reader.client().await?, id).await?,
        None => None,
    };
    // Whatever is wrong, it costs one slow hash where a secret was presented.
    let usable = stored
        .as_ref()
        .filter(|stored| !stored.client.disabled && fits(stored, presented));
    let has_secret = match &presented.secret {
        None => true,
        Some(secret) => verify_secret(state, usable, secret).await?,
    };
    let Some(stored) = usable.filter(|_| has_secret) else {
        return Ok(None);
    };
    if let Some(signature) = &presented.signature
        && !verify_signature(state, &stored.client, signature, now).await?
    {
        return Ok(None);
    }
    if let (Some(secret), None) = (&presented.secret, &presented.signature) {
        state.remembered.remember(stored, secret, now);
    }
    Ok(Some(stored.client.clone()))
}

/// Whether what is presented is of the kind with which the client is registered.
fn fits(stored: &Stored, presented: &Presented) -> bool {
    let (has_secret, has_key) = (!stored.hashes.is_empty(), stored.client.public_key.is_some());
    (has_secret || has_key)
        && has_secret == presented.secret.is_some()
        && has_key == presented.signature.is_some()
}

/// Compares with every secret of the client, in one slow hash each.
async fn verify_secret(
    state: &State,
    stored: Option<&Stored>,
    secret: &SecretString,
) -> Result<bool, Problem> {
    let hashes = stored.map(|stored| stored.hashes.as_slice()).unwrap_or_default();
    if hashes.is_empty() {
        state.hasher.verify(secret, None).await.map_err(|_| busy())?;
        return Ok(false);
    }
    // The newest first: it is the one in use when two are.
    for hash in hashes.iter().rev() {
        match state
            .hasher
            .verify(secret, Some(hash))
            .await
            .map_err(|_| busy())?
        {
            Verdict::Wrong => {}
            Verdict::Right => return Ok(true),
            Verdict::RightButOutdated => {
                if let Some(stored) = stored {
                    let new = state.hasher.hash(secret).await.map_err(|_| busy())?;
                    store::update_secret_hash(&state.database.client().await?, stored.client.id, hash, &new)
                        .await?;
                }
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn verify_signature(
    state: &State,
    client: &Client,
    signature: &str,
    now: Timestamp,
) -> Result<bool, Problem> {
    let Some(pem) = &client.public_key else {
        return Ok(false);
    };
    let is_assertion = signature.matches('.').count() == 2;
    if !is_assertion {
        let decoded = BASE64.decode(signature.as_bytes());
        let id = client.id.to_string();
        return Ok(client.static_signature
            && decoded.is_ok_and(|bytes| pss::verify_max_salt(pem, id.as_bytes(), &bytes)));
    }
    let Ok(key) = PublicKey::from_pem(pem) else {
        return Ok(false);
    };
    let Some(claims) = assertion(state, client, &key, signature, now) else {
        return Ok(false);
    };
    // Only now, when it is known to be the client's: strangers cannot fill the table.
    let used = store::insert_assertion(
        &state.database.client().await?,
        client.id,
        &claims.id,
        claims.expires_at,
    )
    .await?;
    Ok(used)
}

/// The claims of an assertion that are not ours to know.
#[derive(Debug, Serialize, Deserialize)]
struct Own {}

/// A client assertion (RFC 7523, 3): of the client itself, for us, soon over, with an id.
fn assertion(
    state: &State,
    client: &Client,
    key: &PublicKey,
    token: &str,
    now: Timestamp,
) -> Option<Claims<Own>> {
    let snapshot = state.authority.snapshot();
    let issuer = snapshot
        .configuration
        .as_ref()
        .map(|configuration| configuration.jwt_issuer.as_str());
    let base = state.public_url.as_str();
    let endpoints = [
        base.to_owned(),
        format!("{base}/auth/token"),
        format!("{base}/oauth2/token"),
    ];
    let audiences: Vec<&str> = issuer
        .into_iter()
        .chain(endpoints.iter().map(String::as_str))
        .collect();
    let id = client.id.to_string();
    let expected = Expected {
        issuer: &id,
        audiences: Some(&audiences),
        typ: None,
        now,
        leeway: SignedDuration::from_mins(1),
    };
    let claims: Claims<Own> = key.verify(token, &expected).ok()?;
    let is_sound = claims.subject == id
        && claims.expires_at <= now + LONGEST_ASSERTION
        && (1..=LONGEST_JTI).contains(&claims.id.len());
    is_sound.then_some(claims)
}
