//! A login and its password: how they are made, and what is stored of them.

use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::config::{Credentials, Mode};
use crate::tokens::{Token, TokenId};

/// The length of a login, and of a password.
const LENGTH: usize = 14;
const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// The realm that HTTP Digest servers of seismological data centres have.
const REALM: &str = "FDSN";

/// A login with its password, which is stored nowhere.
#[derive(Debug)]
pub struct Login {
    /// 14 characters of `A-Z0-9`.
    pub login: String,
    password: SecretString,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Makes logins.
#[derive(Debug, Clone)]
pub struct Maker {
    lifetime: SignedDuration,
    cap_to_token: bool,
    mode: Mode,
    secret: SecretString,
}

/// A network that a login may see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its code.
    pub code: String,
    /// The first year in which the code is its own.
    pub start_year: i32,
    /// The last.
    pub end_year: i32,
}

impl Maker {
    /// As `settings` say.
    #[must_use]
    pub fn new(settings: &Credentials) -> Self {
        let lifetime = i64::try_from(settings.lifetime.0.as_secs()).unwrap_or(i64::MAX);
        Self {
            lifetime: SignedDuration::from_secs(lifetime),
            cap_to_token: settings.cap_to_token,
            mode: settings.mode,
            secret: settings.secret.clone().unwrap_or_default(),
        }
    }

    /// Whether a token always has the same login.
    #[must_use]
    pub fn derives(&self) -> bool {
        self.mode == Mode::Derived
    }

    /// A login for `token`. `random` gives random bytes, of which each is used once.
    pub fn make(&self, token: &Token, now: Timestamp, random: impl FnMut() -> [u8; 64]) -> Login {
        let (login, password) = match self.mode {
            Mode::Random => {
                let mut letters = Letters::of(random);
                (letters.word(), letters.word())
            }
            Mode::Derived => self.derived(token.id),
        };
        let by_lifetime = now.saturating_add(self.lifetime).unwrap_or(Timestamp::MAX);
        Login {
            login,
            password: password.into(),
            expires_at: if self.cap_to_token {
                by_lifetime.min(token.content.valid_until)
            } else {
                by_lifetime
            },
        }
    }

    /// The login that a token always has, and its password.
    fn derived(&self, token: TokenId) -> (String, String) {
        let mut count = 0_u32;
        let block = || {
            let mut first = [0; 64];
            for half in first.chunks_exact_mut(32) {
                // HMAC takes keys of any length.
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes())
                else {
                    continue;
                };
                mac.update(b"eida-auth login\0");
                mac.update(&token.0);
                mac.update(&count.to_be_bytes());
                count += 1;
                half.copy_from_slice(&mac.finalize().into_bytes());
            }
            first
        };
        let mut letters = Letters::of(block);
        (letters.word(), letters.word())
    }

    /// The login that `token` has where logins are derived.
    #[must_use]
    pub fn derived_login(&self, token: TokenId) -> Option<String> {
        self.derives().then(|| self.derived(token).0)
    }
}

impl Login {
    /// What the client is answered.
    #[must_use]
    pub fn answer(&self) -> String {
        format!("{}:{}", self.login, self.password.expose_secret())
    }

    /// What HTTP Digest servers compare with: the `HA1` of RFC 7616 with MD5, in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        let digest = Md5::new()
            .chain_update(&self.login)
            .chain_update(":")
            .chain_update(REALM)
            .chain_update(":")
            .chain_update(self.password.expose_secret());
        HEXLOWER.encode(&digest.finalize())
    }

    /// The address that the account is given.
    #[must_use]
    pub fn email(&self) -> String {
        format!("{}@eida", self.login)
    }

    /// When the login ends while not all is written: soon, so that one that is left by a crash is removed by the
    /// next cleanup.
    #[must_use]
    pub fn pending_until(&self, now: Timestamp, patience: Duration) -> Timestamp {
        let soon = now.saturating_add(patience).unwrap_or(Timestamp::MAX);
        soon.min(self.expires_at)
    }
}

/// Letters from random bytes, each as likely as the others.
struct Letters<R> {
    random: R,
    bytes: [u8; 64],
    used: usize,
}

impl<R: FnMut() -> [u8; 64]> Letters<R> {
    fn of(random: R) -> Self {
        Self {
            random,
            bytes: [0; 64],
            used: 64,
        }
    }

    fn word(&mut self) -> String {
        (0..LENGTH).map(|_| self.letter()).collect()
    }

    fn letter(&mut self) -> char {
        loop {
            if self.used == self.bytes.len() {
                self.bytes = (self.random)();
                self.used = 0;
            }
            let byte = usize::from(self.bytes.get(self.used).copied().unwrap_or_default());
            self.used += 1;
            // 252 is the largest multiple of 36: what is beyond would favour the first letters.
            if byte < 252
                && let Some(letter) = LETTERS.get(byte % LETTERS.len())
            {
                return char::from(*letter);
            }
        }
    }
}

impl<R> Drop for Letters<R> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Content;
    use identity_core::config::values::Span;
    use identity_core::crypto::random;
    use std::collections::HashMap;

    fn maker(mode: Mode, secret: &str, cap_to_token: bool) -> Maker {
        Maker::new(&Credentials {
            lifetime: Span(Duration::from_hours(24)),
            cap_to_token,
            mode,
            secret: Some(secret.to_owned().into()),
            max_per_token: 20,
        })
    }

    fn token(number: u8, valid_until: &str) -> Token {
        Token {
            id: TokenId([number; 32]),
            content: Content {
                valid_until: valid_until.parse().unwrap(),
                memberships: std::collections::BTreeSet::new(),
            },
            voucher: String::new(),
        }
    }

    const LATE: &str = "2099-01-01T00:00:00Z";

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn letters_are_equally_likely_and_words_never_the_same() {
        let maker = maker(Mode::Random, "", true);
        let mut counts: HashMap<char, u32> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..4000 {
            let login = maker.make(&token(1, LATE), now(), random::bytes::<64>);
            assert_eq!(login.login.len(), 14);
            assert!(
                seen.insert(login.login.clone()) && seen.insert(login.password.expose_secret().to_owned())
            );
            for letter in login.answer().replace(':', "").chars() {
                *counts.entry(letter).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), 36);
        // 112,000 letters: 3,111 of each, with a standard deviation of 55.
        for (letter, count) in counts {
            assert!((2700..3550).contains(&count), "{letter}: {count}");
        }
    }

    #[test]
    fn bytes_that_would_favour_a_letter_are_passed_over() {
        let mut calls = 0;
        let mut letters = Letters::of(|| {
            calls += 1;
            let mut bytes = [252; 64];
            if calls == 2 {
                bytes[63] = 35;
            }
            bytes
        });
        assert_eq!(letters.letter(), '9');
        drop(letters);
        assert_eq!(calls, 2);
    }

    #[test]
    fn a_derived_login_is_the_tokens_own() {
        let one = maker(Mode::Derived, "a secret of at least 32 characters", true);
        let unused = || -> [u8; 64] { unreachable!("nothing is random") };
        let login = one.make(&token(1, LATE), now(), unused);
        let again = one.make(&token(1, LATE), "2026-11-25T12:00:00Z".parse().unwrap(), unused);
        assert_eq!(login.answer(), again.answer());
        assert_eq!(one.derived_login(TokenId([1; 32])), Some(login.login.clone()));
        assert_ne!(login.login, login.password.expose_secret());
        let other = one.make(&token(2, LATE), now(), unused);
        assert_ne!(login.login, other.login);
        assert_ne!(login.password.expose_secret(), other.password.expose_secret());
        let elsewhere = maker(Mode::Derived, "another secret of 32 characters!", true);
        assert_ne!(
            elsewhere.make(&token(1, LATE), now(), unused).answer(),
            login.answer()
        );
    }

    #[test]
    fn a_login_ends_after_its_lifetime_and_not_after_its_token() {
        let ends = |cap: bool, until: &str| {
            let login = maker(Mode::Random, "", cap).make(&token(1, until), now(), random::bytes::<64>);
            login.expires_at.to_string()
        };
        assert_eq!(ends(true, LATE), "2026-11-25T12:00:00Z");
        assert_eq!(ends(true, "2026-11-24T13:00:00Z"), "2026-11-24T13:00:00Z");
        assert_eq!(ends(false, "2026-11-24T13:00:00Z"), "2026-11-25T12:00:00Z");
    }

    #[test]
    fn the_stored_digest_is_that_of_http_digest_in_the_realm_fdsn() {
        let login = Login {
            login: "AAAAAAAAAAAAAA".to_owned(),
            password: "BBBBBBBBBBBBBB".to_owned().into(),
            expires_at: now(),
        };
        // echo -n AAAAAAAAAAAAAA:FDSN:BBBBBBBBBBBBBB | md5sum
        assert_eq!(login.digest(), "2dfae1787422c67b42b5ba06729ae23e");
        assert_eq!(login.answer(), "AAAAAAAAAAAAAA:BBBBBBBBBBBBBB");
        assert_eq!(login.email(), "AAAAAAAAAAAAAA@eida");
        assert!(!format!("{login:?}").contains("BBBB"));
    }
}
