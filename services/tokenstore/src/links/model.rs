//! A person's account at a provider, and when its token is good enough to be handed out.

use std::time::Duration;

use identity_core::crypto::fernet::{Keys, OpenError};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::access::Person;
use crate::providers::{Identity, Obtained};

/// For how long a token is taken to be good whose lifetime the provider does not say, where there is a
/// refresh token to get another one.
const ASSUMED_LIFETIME: Duration = Duration::from_mins(5);

/// Whose link it is, and to which provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// Whose.
    pub person: Person,
    /// The provider's id.
    pub provider: String,
}

impl LinkKey {
    /// The link of `person` to `provider`.
    #[must_use]
    pub fn new(person: &Person, provider: &str) -> Self {
        Self {
            person: person.clone(),
            provider: provider.to_owned(),
        }
    }

    /// The place of a secret in this row, and no other. Written so that no two keys read alike.
    #[must_use]
    pub fn place(&self, column: &str) -> String {
        let Person { issuer, subject } = &self.person;
        format!(
            "tokenstore.links.{column}/{issuer:?}/{subject:?}/{:?}",
            self.provider
        )
    }
}

/// A link as it is stored.
#[derive(Debug, Clone)]
pub struct Link {
    pub key: LinkKey,
    pub generation: i64,
    pub refresh_token: Option<String>,
    pub access_token: String,
    pub token_type: String,
    pub scopes: Vec<String>,
    pub obtained_at: Timestamp,
    pub access_expires_at: Option<Timestamp>,
    pub refresh_expires_at: Option<Timestamp>,
    pub account: Option<String>,
    pub linked_at: Timestamp,
    pub broken_at: Option<Timestamp>,
}

/// Whether a stored token can be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As it is.
    Fresh,
    /// A new one has to be had.
    Stale,
    /// No new one can be had: its owner has to link the account again.
    Broken,
}

impl Link {
    /// Whether the token can be handed out to who wants it to be valid for `wanted` longer.
    #[must_use]
    pub fn fit(&self, now: Timestamp, wanted: Duration) -> Fit {
        if self.broken_at.is_some() {
            return Fit::Broken;
        }
        match (&self.refresh_token, self.access_expires_at) {
            // The token itself is all there is: it is good until its end, whatever is wanted.
            (None, None) => Fit::Fresh,
            (None, Some(end)) if end > now => Fit::Fresh,
            (None, Some(_)) => Fit::Broken,
            (Some(_), Some(end)) if end > now && outlasts(end, now, wanted) => Fit::Fresh,
            (Some(_), None) if outlasts(self.obtained_at + ASSUMED_LIFETIME, now, wanted) => Fit::Fresh,
            (Some(_), _) => Fit::Stale,
        }
    }

    /// Whether the token has not ended yet, as far as is known.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.broken_at.is_none() && self.access_expires_at.is_none_or(|end| end > now)
    }

    /// The token, decrypted.
    ///
    /// # Errors
    /// [`OpenError`] where the ciphertext is of another key or place.
    pub fn token(&self, keys: &Keys) -> Result<Token, OpenError> {
        Ok(Token {
            access: keys.open_text(&self.key.place("access_token"), &self.access_token)?,
            kind: self.token_type.clone(),
            expires_at: self.access_expires_at,
            scopes: self.scopes.clone(),
        })
    }
}

fn outlasts(end: Timestamp, now: Timestamp, wanted: Duration) -> bool {
    Duration::try_from(end.duration_since(now)).is_ok_and(|left| left > wanted)
}

/// An access token as it is handed out.
#[derive(Debug, Clone)]
pub struct Token {
    pub access: SecretString,
    pub kind: String,
    pub expires_at: Option<Timestamp>,
    pub scopes: Vec<String>,
}

/// Tokens as they are stored: encrypted, with points in time instead of lifetimes.
#[derive(Debug)]
pub struct Sealed {
    pub refresh_token: Option<String>,
    pub access_token: String,
    pub token_type: String,
    /// None: as before.
    pub scopes: Option<Vec<String>>,
    pub obtained_at: Timestamp,
    pub access_expires_at: Option<Timestamp>,
    pub refresh_expires_at: Option<Timestamp>,
}

impl Sealed {
    /// What came, for the row of `key`.
    #[must_use]
    pub fn new(keys: &Keys, key: &LinkKey, obtained: &Obtained, now: Timestamp) -> Self {
        let seal = |column: &str, token: &SecretString| {
            keys.seal(&key.place(column), token.expose_secret().as_bytes())
        };
        let end = |span: Duration| now.checked_add(span).ok();
        Self {
            refresh_token: obtained
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_token", token)),
            access_token: seal("access_token", &obtained.access_token),
            token_type: obtained.token_type.clone(),
            scopes: obtained.scopes.clone(),
            obtained_at: now,
            access_expires_at: obtained.expires_in.and_then(end),
            refresh_expires_at: obtained.refresh_expires_in.and_then(end),
        }
    }
}

/// A link that was just made.
#[derive(Debug)]
pub struct NewLink {
    /// Whose, to which provider.
    pub key: LinkKey,
    /// Its tokens.
    pub sealed: Sealed,
    /// Who the person is there.
    pub identity: Identity,
}

/// How a link is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is none.
    Inactive,
    /// It works.
    Active,
    /// Its owner has to link the account again.
    ReauthorizationRequired,
}

impl Status {
    /// Of a link that may be there.
    #[must_use]
    pub fn of(link: Option<&Link>, now: Timestamp) -> Self {
        match link {
            None => Self::Inactive,
            Some(link) if link.fit(now, Duration::ZERO) == Fit::Broken => Self::ReauthorizationRequired,
            Some(_) => Self::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(refresh: bool, expires_in: Option<u64>) -> (Link, Timestamp) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let person = Person {
            issuer: "https://a.example".into(),
            subject: "1".into(),
        };
        let link = Link {
            key: LinkKey::new(&person, "idp1"),
            generation: 1,
            refresh_token: refresh.then(String::new),
            access_token: String::new(),
            token_type: "Bearer".into(),
            scopes: Vec::new(),
            obtained_at: now,
            access_expires_at: expires_in.map(|seconds| now + Duration::from_secs(seconds)),
            refresh_expires_at: None,
            account: None,
            linked_at: now,
            broken_at: None,
        };
        (link, now)
    }

    #[test]
    fn a_token_is_handed_out_as_long_as_it_lasts_longer_than_is_wanted() {
        for (refresh, expires_in, after, wanted, fit) in [
            (true, Some(3600), 0, 60, Fit::Fresh),
            (true, Some(3600), 3539, 60, Fit::Fresh),
            (true, Some(3600), 3540, 60, Fit::Stale),
            (true, Some(3600), 0, 3600, Fit::Stale),
            (true, None, 0, 60, Fit::Fresh),
            (true, None, 300, 60, Fit::Stale),
            (false, None, 1_000_000, 60, Fit::Fresh),
            (false, Some(3600), 3599, 60, Fit::Fresh),
            (false, Some(3600), 3600, 0, Fit::Broken),
        ] {
            let (link, now) = link(refresh, expires_in);
            let later = now + Duration::from_secs(after);
            let found = link.fit(later, Duration::from_secs(wanted));
            assert_eq!(found, fit, "{refresh} {expires_in:?} {after} {wanted}");
        }
    }

    #[test]
    fn no_two_links_have_one_place() {
        let place = |issuer: &str, subject: &str, provider: &str| {
            let person = Person {
                issuer: issuer.into(),
                subject: subject.into(),
            };
            LinkKey::new(&person, provider).place("access_token")
        };
        assert_ne!(place("a/b", "c", "d"), place("a", "b/c", "d"));
        assert_ne!(place("a", "b\"/\"c", "d"), place("a", "b", "c\"/\"d"));
        assert_ne!(place("a", "b", "c"), place("a", "c", "b"));
    }
}
