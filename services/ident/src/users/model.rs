//! A person with credentials, and what makes them valid.

use identity_core::http::Invalid;
use identity_core::http::names::{is_invisible, mixes_alphabets};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::records::{LinkedAccount, User, checked_text};
use crate::tokens::Permission;

/// The most characters of a username.
const LONGEST_USERNAME: usize = 255;
/// The fewest characters of a password (NIST SP 800-63B, 5.1.1.2).
const SHORTEST_PASSWORD: usize = 8;
/// The most bytes of a password.
const LONGEST_PASSWORD: usize = identity_core::crypto::password::LONGEST_PASSWORD;

/// A person as `/api/users` shows them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Account {
    /// The record's.
    #[schema(example = 7)]
    pub id: i64,
    /// With which they sign in; none: they cannot.
    #[schema(example = "robb")]
    pub username: Option<String>,
    pub name: String,
    pub email: String,
    /// What their tokens permit.
    pub permissions: Vec<String>,
    /// Whether they are kept from signing in.
    pub disabled: bool,
    /// The linked accounts by the name of their service.
    #[schema(value_type = std::collections::BTreeMap<String, LinkedAccount>)]
    pub services: std::collections::BTreeMap<String, LinkedAccount>,
}

/// What a person signs in with, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: Option<Username>,
    pub password_hash: Option<String>,
    pub permissions: Vec<String>,
    pub disabled: bool,
}

/// A username, and the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    pub text: String,
    pub key: String,
}

impl Username {
    /// A name of any form; only its comparison is ours: normalised (NFKC), in lower case, and without what cannot be
    /// seen.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // Postgres takes no NUL, and no name has a control character.
        let text = text.trim().replace('\0', "\u{1}");
        let seen = text.chars().filter(|character| !is_invisible(*character));
        Self {
            text: text.clone(),
            key: seen.nfkc().collect::<String>().to_lowercase(),
        }
    }
}

/// A change of credentials; what is none stays.
#[derive(Debug, Default)]
pub struct CredentialsChange {
    pub username: Option<Username>,
    pub password: Option<SecretString>,
    pub permissions: Option<Vec<Permission>>,
    pub disabled: Option<bool>,
}

impl CredentialsChange {
    /// Takes the members of credentials out of `document`, leaving those of a record.
    pub fn take(document: &mut Map<String, Value>, errors: &mut Vec<Invalid>) -> Self {
        let mut change = Self::default();
        for name in ["username", "password", "permissions", "disabled"] {
            let Some(value) = document.remove(name) else {
                continue;
            };
            let read = match name {
                "username" => username(&value).map(|username| change.username = Some(username)),
                "password" => password(value).map(|password| change.password = Some(password)),
                "permissions" => {
                    Permission::read_list(&value).map(|permissions| change.permissions = Some(permissions))
                }
                _ => value
                    .as_bool()
                    .map(|disabled| change.disabled = Some(disabled))
                    .ok_or_else(|| "expected true or false".to_owned()),
            };
            errors.extend(read.err().map(|detail| Invalid::new(format!("/{name}"), detail)));
        }
        change
    }
}

fn username(value: &Value) -> Result<Username, String> {
    let text = value.as_str().ok_or("expected a text")?;
    let username = Username::new(&checked_text(text, LONGEST_USERNAME)?);
    if username.key.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if mixes_alphabets(&username.text) {
        return Err("must not mix letters of alphabets that look alike in one word".to_owned());
    }
    Ok(username)
}

fn password(value: Value) -> Result<SecretString, String> {
    match value {
        Value::String(password) => check_password(password.into()),
        _ => Err("expected a text".to_owned()),
    }
}

/// Accepts a password that is long enough to be one.
///
/// # Errors
/// What is expected of it.
pub fn check_password(password: SecretString) -> Result<SecretString, String> {
    use secrecy::ExposeSecret;
    let text = password.expose_secret();
    if text.chars().count() >= SHORTEST_PASSWORD && text.len() <= LONGEST_PASSWORD {
        Ok(password)
    } else {
        Err(format!(
            "expected {SHORTEST_PASSWORD} characters or more, and at most {LONGEST_PASSWORD} bytes"
        ))
    }
}

impl Account {
    /// A record with its credentials.
    #[must_use]
    pub fn of(user: User, credentials: Credentials) -> Self {
        Self {
            id: user.id,
            username: credentials.username.map(|username| username.text),
            name: user.name,
            email: user.email,
            permissions: credentials.permissions,
            disabled: credentials.disabled,
            services: user.services,
        }
    }
}
