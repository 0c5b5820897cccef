//! Who a token is of, what it permits, and which of its family it is.

use std::fmt;
use std::str::FromStr;

use identity_core::crypto::jwt::Claims;
use identity_core::crypto::random;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a caller may do here. The names are those in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Permission {
    /// See people's records.
    #[serde(rename = "users:read")]
    UsersRead,
    /// Make, change and delete people's records.
    #[serde(rename = "users:write")]
    UsersWrite,
    /// Take the access tokens of linked accounts.
    #[serde(rename = "users:tokens")]
    UsersTokens,
    /// Give people usernames, passwords and permissions.
    #[serde(rename = "users:credentials")]
    UsersCredentials,
    /// See machine clients.
    #[serde(rename = "clients:read")]
    ClientsRead,
    /// Make, change and delete machine clients.
    #[serde(rename = "clients:write")]
    ClientsWrite,
    /// See and change signing key, issuer and lifetimes.
    #[serde(rename = "configuration:write")]
    ConfigurationWrite,
    /// See notifications.
    #[serde(rename = "events:read")]
    EventsRead,
}

impl Permission {
    /// All of them, which is what an administrator has.
    pub const ALL: [Self; 8] = [
        Self::UsersRead,
        Self::UsersWrite,
        Self::UsersTokens,
        Self::UsersCredentials,
        Self::ClientsRead,
        Self::ClientsWrite,
        Self::ConfigurationWrite,
        Self::EventsRead,
    ];

    /// The name in tokens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UsersRead => "users:read",
            Self::UsersWrite => "users:write",
            Self::UsersTokens => "users:tokens",
            Self::UsersCredentials => "users:credentials",
            Self::ClientsRead => "clients:read",
            Self::ClientsWrite => "clients:write",
            Self::ConfigurationWrite => "configuration:write",
            Self::EventsRead => "events:read",
        }
    }

    /// Reads a list of names.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn read_list(value: &Value) -> Result<Vec<Self>, String> {
        let items = value.as_array().ok_or("expected a list of permissions")?;
        let read = items.iter().map(|item| item.as_str().unwrap_or_default().parse());
        let mut permissions = read.collect::<Result<Vec<Self>, _>>()?;
        permissions.sort_unstable();
        permissions.dedup();
        Ok(permissions)
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// Who a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person, by id.
    User(i64),
    /// A machine client, by id.
    Client(Uuid),
}

impl Subject {
    /// The claim `type`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Client(_) => "client",
        }
    }

    /// Reads the claims `type` and `sub`.
    #[must_use]
    pub fn read(kind: &str, text: &str) -> Option<Self> {
        match kind {
            "user" => text.parse().ok().map(Self::User),
            "client" => text.parse().ok().map(Self::Client),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(formatter),
            Self::Client(id) => id.fmt(formatter),
        }
    }
}

/// The claims of our tokens beside the registered ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenClaims {
    /// `user` or `client`.
    pub r#type: String,
    /// What the subject may do.
    pub permissions: Vec<String>,
    /// The same as `scope` (RFC 9068, 2.2.3), and the client's id where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// A person's address (OpenID Connect Core, 5.1), in tokens for other services, which may know
    /// people by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// What a token is issued for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Of whom.
    pub subject: Subject,
    /// For which audience.
    pub audience: String,
    /// What it permits.
    pub permissions: Vec<String>,
    /// The person's address, where the audience is another service.
    pub email: Option<String>,
}

/// Which token of which family: the claim `jti`, `{family}.{generation}`.
///
/// A family's id is a UUID of version 7 (RFC 9562), so that it tells when the family began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub family: Uuid,
    pub generation: i32,
}

impl Link {
    /// The first token of a new family.
    pub fn first(now: Timestamp) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let family = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()).into_uuid();
        Self {
            family,
            generation: 0,
        }
    }

    /// The token that this one is refreshed to.
    pub fn next(self) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            ..self
        }
    }

    /// When the family began.
    pub fn began(&self) -> Timestamp {
        let timestamp = self.family.get_timestamp().map(|timestamp| timestamp.to_unix());
        let moment = timestamp.and_then(|(seconds, nanos)| {
            Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
        });
        moment.unwrap_or(Timestamp::MIN)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.family, self.generation)
    }
}

impl FromStr for Link {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (family, generation) = text.split_once('.').ok_or(())?;
        Ok(Self {
            family: family.parse().map_err(|_| ())?,
            generation: generation.parse().map_err(|_| ())?,
        })
    }
}

/// A token of ours that was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    pub subject: Subject,
    pub link: Link,
    pub kid: String,
    pub claims: Claims<TokenClaims>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_is_written_and_tells_when_its_family_began() {
        let now: Timestamp = "2026-11-22T10:00:00.123Z".parse().unwrap();
        let link = Link::first(now).next();
        assert_eq!(link.to_string().parse(), Ok(link));
        assert_eq!(link.began(), now);
        for text in [
            "",
            "x.1",
            "1",
            &format!("{}.x", link.family),
            &link.family.to_string(),
        ] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}
