//! Passwords: argon2id (RFC 9106) in PHC strings, hashed away from the threads that serve requests,
//! so many at once and so many waiting, and no more.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, TryAcquireError};

use super::random;
use crate::config::values::Span;
use crate::failure::Failure;

/// Bytes of a hash.
const HASH_LENGTH: usize = 32;
/// Bytes of a salt.
const SALT_LENGTH: usize = 16;
/// The longest password that is hashed, in bytes; a longer one is wrong whatever it says.
pub const LONGEST_PASSWORD: usize = 1024;

/// `[auth.password]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Settings {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    pub concurrency: usize,
    pub queue: usize,
    pub remember_secret: Span,
}

/// Hashes and verifies passwords. Clones share the bound on how many at once.
#[derive(Clone)]
pub struct Hasher(Arc<Parts>);

struct Parts {
    params: Params,
    /// How many hash at once.
    running: Semaphore,
    /// How many hash or wait for it.
    admitted: Semaphore,
    /// How many may hash or wait.
    capacity: usize,
    /// Memory that a hash needs and leaves behind for the next: fresh pages cost a third of the
    /// speed.
    memory: Mutex<Vec<Vec<Block>>>,
    /// A hash of nothing, verified where there is nothing to verify, so that it takes as long.
    dummy: String,
}

/// Too many passwords wait already.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("too many passwords are waiting to be checked")]
pub struct Busy;

/// What the check of a password found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is another.
    Wrong,
    /// It is right.
    Right,
    /// It is right, but was hashed with other parameters than we use now.
    RightButOutdated,
}

impl Hasher {
    /// A hasher with these parameters and bounds.
    ///
    /// # Errors
    /// [`Failure::Configuration`] for parameters that argon2 does not know, or weaker ones than
    /// OWASP's least (19 MiB, 2 iterations, 1 lane).
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let wrong = |detail: &str| Failure::configuration(format!("auth.password: {detail}"));
        if settings.memory_kib < 19 * 1024 || settings.iterations < 2 {
            return Err(wrong("expected at least memory_kib = 19456 and iterations = 2"));
        }
        let params = Params::new(
            settings.memory_kib,
            settings.iterations,
            settings.parallelism,
            Some(HASH_LENGTH),
        );
        let params = params.map_err(|error| wrong(&error.to_string()))?;
        let at_once = match settings.concurrency {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut parts = Parts {
            params,
            running: Semaphore::new(at_once),
            admitted: Semaphore::new(at_once + settings.queue),
            capacity: at_once + settings.queue,
            memory: Mutex::default(),
            dummy: String::new(),
        };
        parts.dummy = parts.hash(&random::bytes::<16>());
        Ok(Self(Arc::new(parts)))
    }

    /// The PHC string of `password`.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub async fn hash(&self, password: &SecretString) -> Result<String, Busy> {
        let password = password.clone();
        self.run(move |parts| parts.hash(password.expose_secret().as_bytes()))
            .await
    }

    /// Whether `password` is the one of the PHC string `stored`. With no `stored` it is wrong, and
    /// takes as long.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<Verdict, Busy> {
        let (password, stored) = (password.clone(), stored.map(ToOwned::to_owned));
        self.run(move |parts| {
            let verdict = parts.verify(
                password.expose_secret(),
                stored.as_deref().unwrap_or(&parts.dummy),
            );
            if stored.is_some() { verdict } else { Verdict::Wrong }
        })
        .await
    }

    /// How many wait or run now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0
            .capacity
            .saturating_sub(self.0.admitted.available_permits())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _admitted = match self.0.admitted.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(Busy),
        };
        let _running = self.0.running.acquire().await.map_err(|_| Busy)?;
        let parts = self.0.clone();
        tokio::task::spawn_blocking(move || work(&parts))
            .await
            .map_err(|_| Busy)
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher")
    }
}

impl Parts {
    fn hash(&self, password: &[u8]) -> String {
        let salt = random::bytes::<SALT_LENGTH>();
        // Parameters and lengths were checked when the hasher was made.
        let hash = self.derive(password, &salt, &self.params).unwrap_or_default();
        let (m, t, p) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        format!(
            "$argon2id$v=19$m={m},t={t},p={p}${}${}",
            BASE64_NOPAD.encode(&salt),
            BASE64_NOPAD.encode(&hash)
        )
    }

    fn verify(&self, password: &str, stored: &str) -> Verdict {
        let Some(stored) = Stored::read(stored) else {
            return Verdict::Wrong;
        };
        let derived = self.derive(password.as_bytes(), &stored.salt, &stored.params);
        let same = derived.is_some_and(|derived| derived.as_slice().ct_eq(&stored.hash).into());
        let as_now = (
            stored.params.m_cost(),
            stored.params.t_cost(),
            stored.params.p_cost(),
        ) == (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        match (same, as_now) {
            (false, _) => Verdict::Wrong,
            (true, true) => Verdict::Right,
            (true, false) => Verdict::RightButOutdated,
        }
    }

    fn derive(&self, password: &[u8], salt: &[u8], params: &Params) -> Option<Vec<u8>> {
        if password.len() > LONGEST_PASSWORD {
            return None;
        }
        let mut memory = self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default();
        memory.resize(params.block_count(), Block::default());
        let mut hash = vec![0; params.output_len().unwrap_or(HASH_LENGTH)];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let derived = argon2.hash_password_into_with_memory(password, salt, &mut hash, &mut memory);
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(memory);
        derived.is_ok().then_some(hash)
    }
}

/// A PHC string of argon2id, taken apart.
struct Stored {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut numbers = costs
            .split(',')
            .zip(["m=", "t=", "p="])
            .map(|(cost, name)| cost.strip_prefix(name)?.parse().ok());
        let (m, t, p) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
        let hash = BASE64_NOPAD.decode(hash.as_bytes()).ok()?;
        Some(Self {
            params: Params::new(m, t, p, Some(hash.len())).ok()?,
            salt,
            hash,
        })
    }
}
