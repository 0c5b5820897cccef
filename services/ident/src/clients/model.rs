//! A machine client, and what makes one valid.

use identity_core::crypto::jwt::PublicKey;
use identity_core::http::Invalid;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::records::checked_text;
use crate::tokens::Permission;

/// The most characters of a name.
const LONGEST_NAME: usize = 255;
/// The most audiences of a client.
const MOST_AUDIENCES: usize = 100;
/// The most characters of an audience.
pub const LONGEST_AUDIENCE: usize = 255;

/// A client as it is shown: without anything that authenticates it but its public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Client {
    pub id: Uuid,
    #[schema(example = "nightly import")]
    pub name: String,
    /// What its tokens permit.
    pub permissions: Vec<String>,
    /// For whom it may ask tokens; none listed: for anyone.
    pub audiences: Vec<String>,
    /// In PEM.
    pub public_key: Option<String>,
    /// Whether a signature over its id alone, which can be replayed for ever, is taken.
    pub static_signature: bool,
    pub disabled: bool,
    /// Its secrets, without what is secret of them.
    pub secrets: Vec<Secret>,
}

/// A client's secret as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Secret {
    pub id: Uuid,
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
}

/// What becomes of a client's public key.
#[derive(Debug, Default)]
pub enum KeyChange {
    /// Not mentioned.
    #[default]
    Unchanged,
    /// `null`: taken away.
    Removed,
    /// Given.
    Given(PublicKey),
}

/// What is sent of a client; what is none is not mentioned.
#[derive(Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub permissions: Option<Vec<Permission>>,
    pub audiences: Option<Vec<String>>,
    pub public_key: KeyChange,
    pub static_signature: Option<bool>,
    pub disabled: Option<bool>,
    pub generate_secret: Option<bool>,
}

impl Change {
    /// Reads a document.
    ///
    /// # Errors
    /// All that is wrong, with pointers.
    pub fn read(document: Value) -> Result<Self, Vec<Invalid>> {
        let Value::Object(members) = document else {
            return Err(vec![Invalid::new("", "expected an object")]);
        };
        let mut change = Self::default();
        let mut errors = Vec::new();
        for (member, value) in members {
            let read = match member.as_str() {
                "name" => text(&value, LONGEST_NAME).map(|name| change.name = Some(name)),
                "permissions" => {
                    Permission::read_list(&value).map(|permissions| change.permissions = Some(permissions))
                }
                "audiences" => audiences(&value).map(|audiences| change.audiences = Some(audiences)),
                "public_key" => public_key(&value).map(|key| change.public_key = key),
                "static_signature" => flag(&value).map(|flag| change.static_signature = Some(flag)),
                "disabled" => flag(&value).map(|flag| change.disabled = Some(flag)),
                "generate_secret" => flag(&value).map(|flag| change.generate_secret = Some(flag)),
                _ => Err("is not known".to_owned()),
            };
            errors.extend(
                read.err()
                    .map(|detail| Invalid::new(format!("/{member}"), detail)),
            );
        }
        if errors.is_empty() {
            Ok(change)
        } else {
            Err(errors)
        }
    }

    /// A new client, and whether a secret is generated for it: by default where it has no key.
    ///
    /// # Errors
    /// What is missing.
    pub fn create(self, id: Uuid) -> Result<(Client, bool), Vec<Invalid>> {
        let name = self
            .name
            .clone()
            .ok_or_else(|| vec![Invalid::new("/name", "is missing")])?;
        let generate = self.generate_secret;
        let empty = Client {
            id,
            name,
            permissions: Vec::new(),
            audiences: Vec::new(),
            public_key: None,
            static_signature: false,
            disabled: false,
            secrets: Vec::new(),
        };
        let client = self.apply(empty);
        let generate = generate.unwrap_or(client.public_key.is_none());
        if !generate && client.public_key.is_none() {
            return Err(vec![Invalid::new(
                "/generate_secret",
                "without a public key a secret is needed",
            )]);
        }
        Ok((client, generate))
    }

    /// Whether the public key becomes another.
    #[must_use]
    pub fn changes_key(&self) -> bool {
        !matches!(self.public_key, KeyChange::Unchanged)
    }

    /// `client` with the change.
    #[must_use]
    pub fn apply(self, client: Client) -> Client {
        let names = |all: Vec<Permission>| all.into_iter().map(|one| one.as_str().to_owned()).collect();
        Client {
            name: self.name.unwrap_or(client.name),
            permissions: self.permissions.map_or(client.permissions, names),
            audiences: self.audiences.unwrap_or(client.audiences),
            public_key: match self.public_key {
                KeyChange::Unchanged => client.public_key,
                KeyChange::Removed => None,
                KeyChange::Given(key) => Some(key.pem().to_owned()),
            },
            static_signature: self.static_signature.unwrap_or(client.static_signature),
            disabled: self.disabled.unwrap_or(client.disabled),
            ..client
        }
    }
}

fn text(value: &Value, longest: usize) -> Result<String, String> {
    checked_text(value.as_str().ok_or("expected a text")?, longest)
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "expected true or false".to_owned())
}

fn audiences(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().filter(|items| items.len() <= MOST_AUDIENCES);
    let items = items.ok_or_else(|| format!("expected a list of at most {MOST_AUDIENCES} texts"))?;
    items.iter().map(|item| text(item, LONGEST_AUDIENCE)).collect()
}

fn public_key(value: &Value) -> Result<KeyChange, String> {
    match value {
        Value::Null => Ok(KeyChange::Removed),
        Value::String(pem) => PublicKey::from_pem(pem)
            .map(KeyChange::Given)
            .map_err(|error| error.to_string()),
        _ => Err("expected a key in PEM, or null".to_owned()),
    }
}
