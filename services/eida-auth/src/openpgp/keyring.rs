//! The trusted keys: read from a file, a directory or gpg, read again when these change, and what a
//! message is verified with.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use identity_core::clock::Clock;
use identity_core::failure::{Failure, causes};
use identity_core::runtime::Stop;
use pgp::composed::{PublicOrSecret, SignedPublicKey};
use pgp::packet::SignatureType;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::certificate::Key;
use super::policy::created;
use super::{Policy, Refused, Signed};

/// How often the source is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest file of keys that is read.
const LARGEST_FILE: u64 = 16 << 20;
/// How long gpg may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the trusted keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or all files of a directory (`keyring`).
    Files(PathBuf),
    /// A directory that gpg keeps (`gnupg_home`).
    GnuPg(PathBuf),
}

/// What is verified of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is signed.
    pub content: Vec<u8>,
    /// The key that signed.
    pub fingerprint: String,
    /// When it signed, in seconds since 1970.
    pub signed_at: i64,
    /// Whether the digest was SHA-1.
    pub by_sha1: bool,
    /// By which the token is known: over what no holder of it can change.
    pub digest: [u8; 32],
}

/// The trusted keys at one moment.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

/// The trusted keys, kept up to date. Clones share them.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Vec<Source>,
    policy: Policy,
    clock: Clock,
    keys: RwLock<Arc<Keys>>,
    read: Mutex<BTreeMap<PathBuf, Read>>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone)]
struct Read {
    stamp: Stamp,
    certificates: Vec<SignedPublicKey>,
}

/// What changes when a file does.
type Stamp = Option<(SystemTime, u64)>;

impl Keys {
    /// The keys of `certificates`, as they stand at the moment `now` (seconds since 1970).
    #[must_use]
    pub fn of(certificates: &[SignedPublicKey], policy: Policy, now: i64) -> Self {
        let keys = certificates
            .iter()
            .flat_map(|certificate| Key::of(certificate, policy, now));
        Self(keys.collect())
    }

    /// Whether any key may sign at the moment `now` (seconds since 1970).
    #[must_use]
    pub fn any_usable(&self, now: i64) -> bool {
        self.0.iter().any(|key| key.unusable(now).is_none())
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Verifies a message at the moment `now`.
    ///
    /// # Errors
    /// [`Refused`], saying why.
    pub fn verify(&self, signed: Signed, policy: Policy, now: i64) -> Result<Verified, Refused> {
        let Signed { content, signature } = signed;
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(Refused::Signature("it is not made over a document"));
        }
        if let Some(flaw) = policy.flaw(&signature, now) {
            return Err(Refused::Signature(flaw));
        }
        let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
        let mut outcome = Err(Refused::Stranger);
        for key in self.0.iter().filter(|key| key.is_named(&ids, &fingerprints)) {
            match key.verify(&signature, &content, now) {
                Ok(()) => {
                    let signed_at = created(&signature);
                    let fingerprint = key.fingerprint();
                    return Ok(Verified {
                        digest: digest(&fingerprint, signed_at, &content, signature.typ()),
                        by_sha1: signature.hash_alg() == Some(pgp::crypto::hash::HashAlgorithm::Sha1),
                        content,
                        fingerprint,
                        signed_at,
                    });
                }
                Err(refused) => outcome = Err(refused),
            }
        }
        outcome
    }
}

/// The same for every form that one and the same signature can be given: armor, compression and line
/// ends are not signed.
fn digest(fingerprint: &str, signed_at: i64, content: &[u8], kind: Option<SignatureType>) -> [u8; 32] {
    let mut digest = Sha256::new()
        .chain_update("eida-auth token\0")
        .chain_update(fingerprint)
        .chain_update([0])
        .chain_update(signed_at.to_be_bytes());
    if kind == Some(SignatureType::Text) {
        for line in content.split(|byte| *byte == b'\r') {
            digest.update(line);
        }
    } else {
        digest.update(content);
    }
    digest.finalize().into()
}

impl Keyring {
    /// Reads the keys of `sources`.
    ///
    /// # Errors
    /// [`Failure::Configuration`] when a source cannot be read at all. What is no key in a directory
    /// is passed over with a warning.
    pub async fn open(sources: Vec<Source>, policy: Policy, clock: Clock) -> Result<Self, Failure> {
        let keyring = Self(Arc::new(Inner {
            sources,
            policy,
            clock,
            keys: RwLock::default(),
            read: Mutex::default(),
        }));
        keyring.refresh().await.map_err(Failure::configuration)?;
        Ok(keyring)
    }

    /// The keys as they were last read.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies a message; one whose key is not known has the source looked at once more.
    ///
    /// # Errors
    /// [`Refused`], saying why.
    pub fn verify(&self, signed: Signed) -> Result<Verified, Refused> {
        self.keys()
            .verify(signed, self.0.policy, self.0.clock.now().as_second())
    }

    /// Reads again what changes, until the word to stop.
    pub async fn keep_up_to_date(&self, stop: &Stop) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.said() => return,
            }
            if let Err(error) = self.refresh().await {
                tracing::error!(
                    error,
                    "the keyring cannot be read; the keys that were read before still count"
                );
            }
        }
    }

    /// Reads what has changed since it was last read, and gives whether anything had.
    ///
    /// # Errors
    /// What cannot be read, for the operator.
    pub async fn refresh(&self) -> Result<bool, String> {
        let mut files = Vec::new();
        for source in &self.0.sources {
            files.extend(files_of(source)?.into_iter().map(|path| (path, source)));
        }
        let known = self.0.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut read = BTreeMap::new();
        let mut changed = files.len() != known.len();
        for (path, source) in files {
            let stamp = stamp_of(&path);
            let before = known.get(&path);
            if let Some(before) = before.filter(|before| before.stamp == stamp && stamp.is_some()) {
                read.insert(path, before.clone());
                continue;
            }
            changed = true;
            match certificates_of(source, &path).await {
                Ok(certificates) => read.insert(path, Read { stamp, certificates }),
                Err(error) if matches!(source, Source::Files(only) if *only != path) => {
                    tracing::warn!(file = %path.display(), error, "no keys can be read from a file of the keyring");
                    // A file that is being written counts as it was before.
                    let certificates = before
                        .map(|before| before.certificates.clone())
                        .unwrap_or_default();
                    read.insert(path, Read { stamp, certificates })
                }
                Err(error) => return Err(format!("{}: {error}", path.display())),
            };
        }
        if changed {
            self.replace(read);
        }
        Ok(changed)
    }

    fn replace(&self, read: BTreeMap<PathBuf, Read>) {
        let Inner { policy, clock, .. } = &*self.0;
        let now = clock.now().as_second();
        let all = read.values().flat_map(|read| &read.certificates);
        let keys: Vec<Key> = all
            .flat_map(|certificate| Key::of(certificate, *policy, now))
            .collect();
        for key in &keys {
            match key.unusable(now) {
                None => tracing::info!(key = key.fingerprint(), "trusted to sign tokens"),
                Some(why) => {
                    tracing::info!(key = key.fingerprint(), %why, "in the keyring, but may not sign");
                }
            }
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys(keys));
        *self.0.read.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }
}

/// The files to watch, in order.
fn files_of(source: &Source) -> Result<Vec<PathBuf>, String> {
    let path = match source {
        // What gpg writes when a key changes; it asks to be read through gpg.
        Source::GnuPg(home) => return Ok(vec![home.clone()]),
        Source::Files(path) => path,
    };
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.clone()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn stamp_of(path: &Path) -> Stamp {
    let stamp = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    // Of gpg's directory, the file that holds the public keys.
    let inner = ["pubring.kbx", "pubring.gpg"]
        .iter()
        .find_map(|name| stamp(&path.join(name)));
    if path.is_dir() { inner } else { stamp(path) }
}

async fn certificates_of(source: &Source, path: &Path) -> Result<Vec<SignedPublicKey>, String> {
    let bytes = match source {
        Source::GnuPg(home) => exported(home).await?,
        Source::Files(_) => {
            let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
            if size > LARGEST_FILE {
                return Err("it is too large".to_owned());
            }
            std::fs::read(path).map_err(|error| error.to_string())?
        }
    };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    certificates(&bytes)
}

/// All certificates in `bytes`: binary, or one or several armored blocks.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<SignedPublicKey>, String> {
    let mut certificates = Vec::new();
    let blocks = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN PGP ") => text
            .split_inclusive("-----END PGP PUBLIC KEY BLOCK-----")
            .filter(|block| !block.trim().is_empty())
            .map(|block| block.trim_start().as_bytes().to_vec())
            .collect(),
        _ => vec![bytes.to_vec()],
    };
    for block in blocks {
        let (keys, _) = PublicOrSecret::from_reader_many_buf(Cursor::new(block))
            .map_err(|_| "it holds no OpenPGP public keys".to_owned())?;
        for key in keys {
            match key.map_err(|_| "it holds something else than OpenPGP public keys".to_owned())? {
                PublicOrSecret::Public(key) => certificates.push(key),
                PublicOrSecret::Secret(_) => {
                    return Err("it holds a secret key, which does not belong here".to_owned());
                }
            }
        }
    }
    if certificates.is_empty() {
        return Err("it holds no OpenPGP public keys".to_owned());
    }
    Ok(certificates)
}

/// What gpg exports of the keys in `home`.
async fn exported(home: &Path) -> Result<Vec<u8>, String> {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--no-tty", "--quiet", "--homedir"])
        .arg(home)
        .arg("--export")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, gpg.output()).await;
    let output = ended
        .map_err(|_| "gpg did not end in time".to_owned())?
        .map_err(|error| format!("gpg cannot be run: {}", causes(&error)))?;
    if !output.status.success() {
        return Err(format!(
            "gpg failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(output.stdout)
}
