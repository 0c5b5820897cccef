//! Secrets at rest: Fernet (<https://github.com/fernet/spec>), under one key or several, each
//! ciphertext bound to the place where it is stored.

use std::fmt;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use fernet::Fernet;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a Fernet key: 16 that sign, 16 that encrypt.
const KEY_LENGTH: usize = 32;

/// Bytes of the digest of its place with which every plain text begins.
const PLACE_LENGTH: usize = 32;

/// The keys that protect a service's secrets at rest: the first encrypts, all decrypt.
pub struct Keys(Vec<Key>);

struct Key {
    fernet: Fernet,
    fingerprint: String,
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// There is none.
    #[error("is not set; expected a Fernet key: 32 random bytes in base64, base64url, base32 or hex")]
    Missing,
    /// The one at this position, counted from 1, is in none of the forms.
    #[error("key {0} is malformed; expected 32 bytes in base64, base64url, base32 or hex")]
    Malformed(usize),
}

/// A ciphertext that cannot be read: made with another key, changed, or moved to another place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a stored secret cannot be decrypted at its place")]
pub struct OpenError;

/// Whether a key may be written as its 32 bytes themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    /// 32 ASCII characters are a key.
    Accepted,
    /// They are not.
    Refused,
}

impl Keys {
    /// Reads keys in any of their forms: 32 bytes in base64 or base64url (with or without
    /// padding), hex, base32 (of the bytes or of the base64url text), or raw.
    ///
    /// # Errors
    /// [`KeyError`], which never shows a key.
    pub fn parse(texts: &[SecretString], raw: Raw) -> Result<Self, KeyError> {
        if texts.is_empty() {
            return Err(KeyError::Missing);
        }
        let parse = |(index, text): (usize, &SecretString)| {
            let bytes = decode(text.expose_secret(), raw).ok_or(KeyError::Malformed(index + 1))?;
            Key::new(&bytes).ok_or(KeyError::Malformed(index + 1))
        };
        texts
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Encrypts `plain` with the first key for storage at `place`.
    ///
    /// `place` names the row and the column, and only there can it be read again.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8]) -> String {
        let mut bound = Zeroizing::new(Vec::with_capacity(PLACE_LENGTH + plain.len()));
        bound.extend_from_slice(&Sha256::digest(place));
        bound.extend_from_slice(plain);
        self.0
            .first()
            .map(|key| key.fernet.encrypt(&bound))
            .unwrap_or_default()
    }

    /// Decrypts what [`Keys::seal`] made for `place`, with whichever key made it.
    ///
    /// # Errors
    /// [`OpenError`] for any other text, key or place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let decrypted = self.0.iter().find_map(|key| key.fernet.decrypt(sealed).ok());
        let bound = Zeroizing::new(decrypted.ok_or(OpenError)?);
        let (digest, plain) = bound.split_at_checked(PLACE_LENGTH).ok_or(OpenError)?;
        if bool::from(Sha256::digest(place).as_slice().ct_eq(digest)) {
            Ok(Zeroizing::new(plain.to_vec()))
        } else {
            Err(OpenError)
        }
    }

    /// [`Keys::open`] for a text.
    ///
    /// # Errors
    /// [`OpenError`], also for what is no UTF-8.
    pub fn open_text(&self, place: &str, sealed: &str) -> Result<SecretString, OpenError> {
        let plain = self.open(place, sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| OpenError)?;
        Ok(SecretString::from(text))
    }

    /// Decrypts what was made elsewhere and is bound to no place: what an original stored.
    ///
    /// # Errors
    /// [`OpenError`] for what none of these keys made, or is no UTF-8.
    pub fn open_unbound(&self, sealed: &str) -> Result<SecretString, OpenError> {
        let opened = self.0.iter().find_map(|key| key.fernet.decrypt(sealed).ok());
        let plain = Zeroizing::new(opened.ok_or(OpenError)?);
        let text = std::str::from_utf8(&plain).map_err(|_| OpenError)?;
        Ok(SecretString::from(text))
    }

    /// Encrypts anew with the first key what another made for `place`; none where the first made it.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn reseal(&self, place: &str, sealed: &str) -> Result<Option<String>, OpenError> {
        if self
            .0
            .first()
            .is_some_and(|key| key.fernet.decrypt(sealed).is_ok())
        {
            return Ok(None);
        }
        let plain = self.open(place, sealed)?;
        Ok(Some(self.seal(place, &plain)))
    }

    /// The fingerprint of the key that made a ciphertext; none where it was none of these.
    #[must_use]
    pub fn maker(&self, sealed: &str) -> Option<&str> {
        let made = |key: &&Key| key.fernet.decrypt(sealed).map(Zeroizing::new).is_ok();
        self.0.iter().find(made).map(|key| key.fingerprint.as_str())
    }

    /// The fingerprints of all keys, the one that encrypts first: 16 hex digits of a digest, which
    /// tells keys apart and nothing else of them.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.fingerprint.as_str())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.fingerprints()).finish()
    }
}

impl Key {
    fn new(bytes: &[u8; KEY_LENGTH]) -> Option<Self> {
        let text = Zeroizing::new(BASE64URL.encode(bytes));
        let digest = Sha256::new()
            .chain_update(b"identity-services key fingerprint")
            .chain_update(bytes)
            .finalize();
        let fingerprint = HEXLOWER.encode(digest.get(..8)?);
        Some(Self {
            fernet: Fernet::new(&text)?,
            fingerprint,
        })
    }
}

/// The length tells the form: 64 hex, 52 base32, 43 base64, 71 base32 of base64, 32 raw.
fn decode(text: &str, raw: Raw) -> Option<Zeroizing<[u8; KEY_LENGTH]>> {
    let unpadded = text.trim().trim_end_matches('=');
    let bytes = match unpadded.len() {
        64 => HEXLOWER_PERMISSIVE.decode(unpadded.as_bytes()).ok()?,
        52 => base32(unpadded)?,
        43 => base64(unpadded)?,
        71 => base64(
            std::str::from_utf8(&base32(unpadded)?)
                .ok()?
                .trim_end_matches('='),
        )?,
        32 if raw == Raw::Accepted && text.len() == 32 => text.as_bytes().to_vec(),
        _ => return None,
    };
    let bytes = Zeroizing::new(bytes);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

fn base32(text: &str) -> Option<Vec<u8>> {
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .or_else(|_| BASE64_NOPAD.decode(text.as_bytes()))
        .ok()
}
