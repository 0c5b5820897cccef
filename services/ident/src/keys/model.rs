//! A signing key with its times, and the configuration of tokens.

use identity_core::crypto::jwt::SigningKey;
use identity_core::http::Invalid;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The longest lifetime of a token, in seconds: a year.
const LONGEST_EXPIRATION: i64 = 366 * 24 * 60 * 60;
/// The most refreshes of a family.
const MOST_REFRESHES: i64 = 1_000_000;
/// The most characters of an issuer.
const LONGEST_ISSUER: usize = 1024;

/// A signing key as it is stored.
#[derive(Debug)]
pub struct StoredKey {
    /// The key.
    pub key: SigningKey,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// When it is not published any more.
    pub withdrawn_at: Option<Timestamp>,
}

/// Issuer and lifetimes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "they are the names of the contract")]
pub struct Configuration {
    /// How long a token is valid, in seconds.
    #[schema(example = 900)]
    pub jwt_expiration: i32,
    /// The `iss` of tokens.
    #[schema(example = "https://ident.example.org")]
    pub jwt_issuer: String,
    /// How often a token and its successors are refreshed.
    #[schema(example = 96)]
    pub jwt_max_refreshes: i32,
}

/// A change of the configuration; what is none stays.
#[derive(Debug, Default)]
pub struct Change {
    /// A private key in PEM, which signs at once.
    pub private_key: Option<SigningKeyPem>,
    pub jwt_expiration: Option<i32>,
    pub jwt_issuer: Option<String>,
    pub jwt_max_refreshes: Option<i32>,
}

/// A private key that was read, with its PEM for storage.
#[derive(Debug)]
pub struct SigningKeyPem {
    pub key: SigningKey,
    pub pem: secrecy::SecretString,
}

impl Change {
    /// Reads the members of `document`.
    ///
    /// # Errors
    /// All that is wrong, with pointers.
    pub fn read(document: Value) -> Result<Self, Vec<Invalid>> {
        let Value::Object(members) = document else {
            return Err(vec![Invalid::new("", "expected an object")]);
        };
        let mut change = Self::default();
        let mut errors = Vec::new();
        for (name, value) in members {
            let read = match name.as_str() {
                "private_key" => private_key(value).map(|key| change.private_key = Some(key)),
                "jwt_expiration" => {
                    number(&value, 1..=LONGEST_EXPIRATION).map(|n| change.jwt_expiration = Some(n))
                }
                "jwt_max_refreshes" => {
                    number(&value, 0..=MOST_REFRESHES).map(|n| change.jwt_max_refreshes = Some(n))
                }
                "jwt_issuer" => issuer(value).map(|issuer| change.jwt_issuer = Some(issuer)),
                _ => Err("is not known".to_owned()),
            };
            errors.extend(read.err().map(|detail| Invalid::new(format!("/{name}"), detail)));
        }
        if errors.is_empty() {
            Ok(change)
        } else {
            Err(errors)
        }
    }

    /// The change as a whole configuration, which must name everything.
    ///
    /// # Errors
    /// What is missing.
    pub fn complete(self) -> Result<(Configuration, SigningKeyPem), Vec<Invalid>> {
        match (
            self.private_key,
            self.jwt_expiration,
            self.jwt_issuer,
            self.jwt_max_refreshes,
        ) {
            (Some(key), Some(jwt_expiration), Some(jwt_issuer), Some(jwt_max_refreshes)) => Ok((
                Configuration {
                    jwt_expiration,
                    jwt_issuer,
                    jwt_max_refreshes,
                },
                key,
            )),
            (key, expiration, issuer, refreshes) => {
                let given = [
                    ("private_key", key.is_some()),
                    ("jwt_expiration", expiration.is_some()),
                    ("jwt_issuer", issuer.is_some()),
                    ("jwt_max_refreshes", refreshes.is_some()),
                ];
                let missing = given.into_iter().filter(|(_, given)| !given);
                Err(missing
                    .map(|(name, _)| Invalid::new(format!("/{name}"), "is missing"))
                    .collect())
            }
        }
    }
}

fn private_key(value: Value) -> Result<SigningKeyPem, String> {
    let Value::String(pem) = value else {
        return Err("expected a text".to_owned());
    };
    let key = SigningKey::from_pem(&pem).map_err(|error| error.to_string())?;
    Ok(SigningKeyPem { key, pem: pem.into() })
}

fn number(value: &Value, range: std::ops::RangeInclusive<i64>) -> Result<i32, String> {
    let number = value
        .as_i64()
        .filter(|number| range.contains(number))
        .and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| {
        format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

fn issuer(value: Value) -> Result<String, String> {
    match value {
        Value::String(issuer)
            if !issuer.trim().is_empty()
                && issuer.chars().count() <= LONGEST_ISSUER
                && !issuer.chars().any(char::is_control) =>
        {
            Ok(issuer)
        }
        _ => Err(format!("expected a text of 1 to {LONGEST_ISSUER} characters")),
    }
}
