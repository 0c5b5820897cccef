//! Passwords: argon2id (RFC 9106) in PHC strings, hashed away from the threads that serve requests,
//! so many at once and so many waiting, and no more.

mod room;
mod threads;

use std::sync::Arc;
use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::random;
use crate::config::values::Span;
use crate::failure::Failure;
use room::Others;
use threads::Threads;

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
    costs: Arc<Costs>,
    threads: Threads,
    others: Arc<Others>,
    /// How many hash or wait for it.
    admitted: Arc<Semaphore>,
    /// How many may hash or wait.
    capacity: usize,
}

/// What a hash costs.
struct Costs {
    params: Params,
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
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = match settings.concurrency {
            0 => cores,
            count => count,
        };
        let mut costs = Costs {
            params,
            dummy: String::new(),
        };
        costs.dummy = costs.hash(&mut Vec::new(), &random::bytes::<16>());
        let others = Arc::new(Others::default());
        let beside = others.clone();
        let threads = Threads::start(at_once, move || beside.leave(at_once, cores, Instant::now()))
            .map_err(|error| Failure::because("starting the threads that hash passwords", error))?;
        Ok(Self(Arc::new(Parts {
            costs: Arc::new(costs),
            threads,
            others,
            admitted: Arc::new(Semaphore::new(at_once + settings.queue)),
            capacity: at_once + settings.queue,
        })))
    }

    /// The PHC string of `password`.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub async fn hash(&self, password: &SecretString) -> Result<String, Busy> {
        let password = password.clone();
        self.run(move |costs, memory| costs.hash(memory, password.expose_secret().as_bytes()))
            .await
    }

    /// Whether `password` is the one of the PHC string `stored`. With no `stored` it is wrong, and
    /// takes as long.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<Verdict, Busy> {
        let (password, stored) = (password.clone(), stored.map(ToOwned::to_owned));
        self.run(move |costs, memory| {
            let verdict = costs.verify(
                memory,
                password.expose_secret(),
                stored.as_deref().unwrap_or(&costs.dummy),
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

    /// Answers a request. Where it hashed nothing, hashing leaves a core free for a moment: it is likely that
    /// others like it come, and they are not to wait behind hashes.
    pub async fn beside<F: Future>(hasher: Option<&Self>, request: F) -> F::Output {
        let (answer, hashed) = room::answer(request).await;
        if let Some(hasher) = hasher
            && !hashed
        {
            hasher.0.others.note(Instant::now());
        }
        answer
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Costs, &mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        room::hashes();
        let admitted = self.0.admitted.clone().try_acquire_owned().map_err(|_| Busy)?;
        let costs = self.0.costs.clone();
        let work = move |memory: &mut Vec<Block>| {
            let done = work(&costs, memory);
            // Only now: whoever stops waiting does not make room for more than can be done.
            drop(admitted);
            done
        };
        self.0.threads.run(work).await.ok_or(Busy)
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher")
    }
}

impl Costs {
    fn hash(&self, memory: &mut Vec<Block>, password: &[u8]) -> String {
        let salt = random::bytes::<SALT_LENGTH>();
        // Parameters and lengths were checked when the hasher was made.
        let hash = derive(memory, password, &salt, &self.params).unwrap_or_default();
        let (m, t, p) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        format!(
            "$argon2id$v=19$m={m},t={t},p={p}${}${}",
            BASE64_NOPAD.encode(&salt),
            BASE64_NOPAD.encode(&hash)
        )
    }

    fn verify(&self, memory: &mut Vec<Block>, password: &str, stored: &str) -> Verdict {
        let Some(stored) = Stored::read(stored) else {
            return Verdict::Wrong;
        };
        let derived = derive(memory, password.as_bytes(), &stored.salt, &stored.params);
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
}

fn derive(memory: &mut Vec<Block>, password: &[u8], salt: &[u8], params: &Params) -> Option<Vec<u8>> {
    if password.len() > LONGEST_PASSWORD {
        return None;
    }
    memory.resize(params.block_count(), Block::default());
    let mut hash = vec![0; params.output_len().unwrap_or(HASH_LENGTH)];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let derived = argon2.hash_password_into_with_memory(password, salt, &mut hash, memory);
    derived.is_ok().then_some(hash)
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
