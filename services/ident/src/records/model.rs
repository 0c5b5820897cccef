//! What a record is, and what makes one valid.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use identity_core::http::Invalid;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::words::comparable;

/// The most characters of a name.
const LONGEST_NAME: usize = 255;
/// The most characters of an email address (RFC 5321, 4.5.3.1: 64 before the @ and 255 behind it).
const LONGEST_EMAIL: usize = 320;
/// The most characters of an account's id.
const LONGEST_ACCOUNT_ID: usize = 255;
/// The most bytes of an access token.
const LONGEST_TOKEN: usize = 16 * 1024;
/// The most accounts that one person links.
const MOST_SERVICES: usize = 100;

/// A record as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct User {
    /// Given by the service, never used again.
    #[schema(example = 7)]
    pub id: i64,
    /// The person's name.
    #[schema(example = "Robb Stark")]
    pub name: String,
    /// The person's address, unique regardless of case.
    #[schema(example = "king@deceased.north")]
    pub email: String,
    /// The linked accounts by the name of their service.
    #[schema(value_type = BTreeMap<String, Account>)]
    pub services: BTreeMap<String, Account>,
    /// Counts the changes.
    #[serde(skip)]
    pub version: i64,
}

/// A linked account as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = LinkedAccount, example = json!({"id": "25"}))]
pub struct Account {
    /// The account's id at its service.
    pub id: String,
}

/// A valid record before it is stored.
#[derive(Debug)]
pub struct Draft {
    pub name: String,
    pub email: Email,
    pub services: BTreeMap<ServiceName, NewAccount>,
}

/// A linked account before it is stored.
#[derive(Debug)]
pub struct NewAccount {
    pub id: String,
    pub access_token: NewToken,
}

/// What becomes of an account's access token.
#[derive(Debug)]
pub enum NewToken {
    /// Not mentioned: the one that is stored for this very account stays.
    Unchanged,
    /// Given.
    Given(SecretString),
    /// `null`: removed.
    Removed,
}

/// An email address, and the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    pub text: String,
    pub key: String,
}

/// The name of a service whose accounts are linked: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tail =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        let well_formed = text.len() <= 63
            && text
                .bytes()
                .next()
                .is_some_and(|first| first.is_ascii_lowercase())
            && text.bytes().all(tail);
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        Err(
            "expected the name of a service: a lower-case letter, then at most 62 of a-z, 0-9, _ and -"
                .to_owned(),
        )
    }
}

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Email {
    /// An address of any form; only its comparison is ours.
    #[must_use]
    pub fn new(text: String) -> Self {
        let key = comparable(&text);
        Self { text, key }
    }
}

impl User {
    /// The record as JSON, which a patch is applied to.
    pub fn document(&self) -> Value {
        // Texts and numbers can always be written.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The entity tag's value.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}-{}", self.id, self.version)
    }
}

impl Draft {
    /// The record as others are told, without an id and without secrets.
    pub fn document(&self) -> Value {
        let services = self
            .services
            .iter()
            .map(|(name, account)| (name.as_str(), json!({"id": account.id})));
        json!({"name": self.name, "email": self.email.text, "services": services.collect::<BTreeMap<_, _>>()})
    }

    /// Reads the document of a record; an `id` is ignored.
    ///
    /// A service's name must be in `allowed`, unless that is empty.
    ///
    /// # Errors
    /// All that is wrong, with pointers.
    pub fn read(document: Value, allowed: &[ServiceName]) -> Result<Self, Vec<Invalid>> {
        let Value::Object(mut members) = document else {
            return Err(vec![Invalid::new(
                "",
                "expected an object with name, email and services",
            )]);
        };
        members.remove("id");
        let mut errors = Vec::new();
        let name = required_text(&mut members, "name", "", LONGEST_NAME, &mut errors);
        let email = required_email(&mut members, &mut errors);
        let services = members
            .remove("services")
            .map(|services| read_services(services, allowed, &mut errors));
        unknown_members(&members, "", &mut errors);
        match (name, email, errors.is_empty()) {
            (Some(name), Some(email), true) => Ok(Self {
                name,
                email,
                services: services.unwrap_or_default(),
            }),
            _ => Err(errors),
        }
    }
}

fn read_services(
    services: Value,
    allowed: &[ServiceName],
    errors: &mut Vec<Invalid>,
) -> BTreeMap<ServiceName, NewAccount> {
    let mut accounts = BTreeMap::new();
    let Value::Object(services) = services else {
        errors.push(Invalid::new(
            "/services",
            "expected an object of linked accounts by service",
        ));
        return accounts;
    };
    if services.len() > MOST_SERVICES {
        errors.push(Invalid::new(
            "/services",
            format!("expected at most {MOST_SERVICES} linked accounts"),
        ));
        return accounts;
    }
    for (name, account) in services {
        let pointer = format!("/services/{}", escaped(&name));
        let name = match name.parse::<ServiceName>() {
            Ok(name) if allowed.is_empty() || allowed.contains(&name) => name,
            Ok(_) => {
                errors.push(Invalid::new(
                    pointer,
                    "accounts of this service cannot be linked here",
                ));
                continue;
            }
            Err(detail) => {
                errors.push(Invalid::new(pointer, detail));
                continue;
            }
        };
        if let Some(account) = read_account(account, &pointer, errors) {
            accounts.insert(name, account);
        }
    }
    accounts
}

fn read_account(account: Value, pointer: &str, errors: &mut Vec<Invalid>) -> Option<NewAccount> {
    let Value::Object(mut members) = account else {
        errors.push(Invalid::new(pointer, "expected an object with the account's id"));
        return None;
    };
    let id = required_text(&mut members, "id", pointer, LONGEST_ACCOUNT_ID, errors);
    let access_token = match members.remove("access_token") {
        None => NewToken::Unchanged,
        Some(Value::Null) => NewToken::Removed,
        Some(Value::String(token)) if !token.is_empty() && token.len() <= LONGEST_TOKEN => {
            NewToken::Given(token.into())
        }
        Some(_) => {
            let detail = format!("expected a text of 1 to {LONGEST_TOKEN} bytes, or null");
            errors.push(Invalid::new(format!("{pointer}/access_token"), detail));
            return None;
        }
    };
    unknown_members(&members, pointer, errors);
    Some(NewAccount {
        id: id?,
        access_token,
    })
}

fn required_text(
    members: &mut Map<String, Value>,
    name: &str,
    parent: &str,
    longest: usize,
    errors: &mut Vec<Invalid>,
) -> Option<String> {
    let read = match members.remove(name) {
        Some(Value::String(text)) => checked_text(&text, longest),
        Some(_) => Err("expected a text".to_owned()),
        None => Err("is missing".to_owned()),
    };
    read.map_err(|detail| errors.push(Invalid::new(format!("{parent}/{name}"), detail)))
        .ok()
}

fn required_email(members: &mut Map<String, Value>, errors: &mut Vec<Invalid>) -> Option<Email> {
    let email = Email::new(required_text(members, "email", "", LONGEST_EMAIL, errors)?);
    // One character can stand for many; an index takes only so much.
    if email.key.chars().count() > LONGEST_EMAIL {
        let detail = format!("must have at most {LONGEST_EMAIL} characters, also when it is normalised");
        errors.push(Invalid::new("/email", detail));
        return None;
    }
    if email.key.is_empty() {
        errors.push(Invalid::new("/email", "must not be empty"));
        return None;
    }
    Some(email)
}

/// Trims a text and refuses what cannot be stored or would be seen as something else.
///
/// # Errors
/// What is expected of the text.
pub fn checked_text(text: &str, longest: usize) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if trimmed.chars().count() > longest {
        return Err(format!("must have at most {longest} characters"));
    }
    if trimmed.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(trimmed.to_owned())
}

fn unknown_members(members: &Map<String, Value>, parent: &str, errors: &mut Vec<Invalid>) {
    let unknown = members
        .keys()
        .map(|name| Invalid::new(format!("{parent}/{}", escaped(name)), "is not known"));
    errors.extend(unknown);
}

/// A member's name as a part of a pointer (RFC 6901, 3).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pointers(document: Value) -> Vec<String> {
        let errors = Draft::read(document, &[]).unwrap_err();
        errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_record_is_trimmed_and_its_id_ignored() {
        let draft = Draft::read(json!({"id": "any", "name": " Robb ", "email": "\tK@N "}), &[]).unwrap();
        assert_eq!(
            (
                draft.name.as_str(),
                draft.email.text.as_str(),
                draft.email.key.as_str()
            ),
            ("Robb", "K@N", "k@n")
        );
        assert!(draft.services.is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let document = json!({"name": 9, "services": {"github": {}, "GitHub": {"id": "1"}, "a": {"id": " ", "x/y": 1}}, "age": 3});
        let expected = [
            "/name",
            "/email",
            "/services/github/id",
            "/services/GitHub",
            "/services/a/id",
            "/services/a/x~1y",
            "/age",
        ];
        assert_eq!(pointers(document), expected);
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(
            pointers(json!({"name": "a", "email": "b", "services": null})),
            ["/services"]
        );
        assert_eq!(
            pointers(json!({"name": "a\u{0}b", "email": "x".repeat(321)})),
            ["/name", "/email"]
        );
    }

    #[test]
    fn only_allowed_services_are_linked() {
        let document =
            json!({"name": "a", "email": "b", "services": {"github": {"id": "1"}, "gitlab": {"id": "1"}}});
        let errors = Draft::read(document, &["github".parse().unwrap()]).unwrap_err();
        assert_eq!(
            errors
                .iter()
                .map(|error| error.pointer.as_str())
                .collect::<Vec<_>>(),
            ["/services/gitlab"]
        );
    }

    #[test]
    fn a_service_name_is_short_and_plain() {
        for good in ["a", "github", "x-1_y", &"a".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "aä", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn look_alikes_of_an_address_are_the_same_address() {
        assert_eq!(
            Email::new("ＫＩＮＧ@north".into()).key,
            Email::new("king@NORTH".into()).key
        );
    }

    #[test]
    fn case_never_matters_also_where_letters_are_not_one_to_one() {
        let key = |text: &str| Email::new(text.into()).key;
        for alike in [
            ["straße@x", "STRASSE@X", "STRAẞE@x"],
            ["μαρίος@x", "ΜΑΡΊΟΣ@x", "μαρίοσ@x"],
        ] {
            assert!(alike.iter().all(|text| key(text) == key(alike[0])), "{alike:?}");
        }
        assert_ne!(key("a@x"), key("ä@x"));
    }

    #[test]
    fn an_address_is_not_too_long_when_it_is_normalised() {
        let document = |times: usize| json!({"name": "a", "email": "\u{3316}".repeat(times)});
        assert!(Draft::read(document(53), &[]).is_ok());
        assert_eq!(pointers(document(54)), ["/email"]);
    }

    proptest! {
        #[test]
        fn a_text_that_is_taken_is_taken_again(text in any::<String>()) {
            if let Ok(name) = checked_text(&text, LONGEST_NAME) {
                let draft = Draft::read(json!({"name": name, "email": "a"}), &[]).unwrap();
                prop_assert_eq!(draft.name, name);
            }
        }
    }
}
