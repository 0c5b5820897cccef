//! A user, and what makes a username.

use identity_core::http::Invalid;
use identity_core::http::names::{is_invisible, mixes_alphabets};
use lettre::Address;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

/// The most characters of a username (RFC 3696, erratum 1690).
const LONGEST_USERNAME: usize = 254;

/// A user as they are stored.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) admin: bool,
    pub(crate) generation: i32,
}

/// A user as they are shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Shown<'a> {
    #[schema(example = "mei@example.org")]
    username: &'a str,
    admin: bool,
}

impl User {
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown {
            username: &self.username,
            admin: self.admin,
        }
    }
}

/// An email address, and the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Username {
    pub(crate) text: String,
    pub(crate) key: String,
}

impl Username {
    /// Whatever somebody calls themselves, to look them up.
    #[must_use]
    pub(crate) fn of_any(text: &str) -> Self {
        // Postgres takes no NUL, and no name has a control character.
        let text = text.trim().replace('\0', "\u{1}");
        // What cannot be seen makes no other name.
        let seen = text.chars().filter(|character| !is_invisible(*character));
        Self {
            key: seen.nfkc().collect::<String>().to_lowercase().nfkc().collect(),
            text,
        }
    }

    /// A name that a user can get.
    ///
    /// # Errors
    /// What is expected of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "expected an email address";
        let username = Self::of_any(text);
        // Also as it is compared: there some characters become a space and something.
        let mut characters = username.text.chars().chain(username.key.chars());
        let plain = !characters
            .any(|character| character.is_control() || character.is_whitespace() || is_invisible(character));
        let short = username.text.chars().count() <= LONGEST_USERNAME;
        match username.text.parse::<Address>() {
            Ok(_) if mixes_alphabets(&username.text) => {
                Err("must not mix letters of alphabets that look alike in one word")
            }
            Ok(_) if plain && short => Ok(username),
            _ => Err(expected),
        }
    }
}

/// A wish for a new user.
#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) username: Username,
    pub(crate) password: SecretString,
    pub(crate) admin: bool,
}

/// A wish to change a user; what is none stays.
#[derive(Debug)]
pub(crate) struct UserChange {
    pub(crate) password: Option<SecretString>,
    pub(crate) current_password: Option<SecretString>,
    pub(crate) admin: Option<bool>,
}

impl UserChange {
    /// Reads the members of a change.
    ///
    /// # Errors
    /// All that is wrong.
    pub(crate) fn read(document: &Map<String, Value>) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let change = Self {
            password: secret(document, "password", &mut errors),
            current_password: secret(document, "current_password", &mut errors),
            admin: flag(document, "admin", &mut errors),
        };
        if errors.is_empty() && change.password.is_none() && change.admin.is_none() {
            errors.push(Invalid::new("", "expected password or admin, or both"));
        }
        if errors.is_empty() {
            Ok(change)
        } else {
            Err(errors)
        }
    }
}

pub(super) fn secret(
    document: &Map<String, Value>,
    name: &str,
    errors: &mut Vec<Invalid>,
) -> Option<SecretString> {
    match document.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(SecretString::from(text.as_str())),
        Some(_) => {
            errors.push(Invalid::new(format!("/{name}"), "expected a text"));
            None
        }
    }
}

pub(super) fn flag(document: &Map<String, Value>, name: &str, errors: &mut Vec<Invalid>) -> Option<bool> {
    match document.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::Bool(flag)) => Some(*flag),
        Some(_) => {
            errors.push(Invalid::new(format!("/{name}"), "expected true or false"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_email_addresses_and_compared_without_case() {
        let mei = Username::parse("  Mei@Example.org ").unwrap();
        assert_eq!(
            (mei.text.as_str(), mei.key.as_str()),
            ("Mei@Example.org", "mei@example.org")
        );
        assert_eq!(
            Username::of_any("ＭＥＩ@example.org").key,
            mei.key,
            "full-width letters"
        );
        for text in [
            "",
            "mei",
            "@example.org",
            "mei@",
            "mei @example.org",
            "mei@exa\nmple.org",
            "a@b@c",
        ] {
            assert!(Username::parse(text).is_err(), "{text}");
        }
        assert!(Username::parse(&format!("{}@example.org", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_change_says_all_that_is_wrong() {
        let document = serde_json::json!({"password": 1, "admin": "yes"});
        let errors = UserChange::read(document.as_object().unwrap()).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(
            UserChange::read(&Map::new()).is_err(),
            "a change changes something"
        );
    }
}
