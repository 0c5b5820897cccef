//! An API key, and what can be asked of a new one.

use std::sync::Arc;
use std::time::Duration;

use identity_core::config::values::Span;
use identity_core::http::Invalid;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::access::{Person, Profile};

/// Noting the last use spares a write at most requests.
pub const USE_NOTED_EVERY: Duration = Duration::from_mins(1);

/// The most characters of a name.
const LONGEST_NAME: usize = 100;

/// How many keys a person can have.
pub const MOST_KEYS: i64 = 100;

/// A key as its owner sees it afterwards.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Listed {
    pub id: Uuid,
    pub name: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// A key that was presented.
#[derive(Debug)]
pub struct Found {
    pub person: Person,
    pub id: Uuid,
    pub profile: Arc<Profile>,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// A key that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// How long it lasts; none: until it is revoked.
    pub expires_in: Option<Duration>,
}

impl NewKey {
    /// Reads `{"name", "expires_in"?}`; a lifetime is a number of seconds, or a text like `30d`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(document: &Value) -> Result<Self, Vec<Invalid>> {
        let mut wrong = Vec::new();
        let Some(members) = document.as_object() else {
            return Err(vec![Invalid::new("", "expected an object")]);
        };
        for name in members.keys() {
            if !["name", "expires_in"].contains(&name.as_str()) {
                wrong.push(Invalid::new(
                    format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                    "unknown member",
                ));
            }
        }
        let name = members
            .get("name")
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|name| is_name(name));
        if name.is_none() {
            wrong.push(Invalid::new(
                "/name",
                format!("expected a text of 1 to {LONGEST_NAME} characters"),
            ));
        }
        let expires_in = match members.get("expires_in") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => text.parse::<Span>().map(Some),
            Some(Value::Number(number)) => number.to_string().parse::<Span>().map(Some),
            Some(_) => Err(String::new()),
        };
        let expires_in = expires_in
            .ok()
            .filter(|span| span.is_none_or(|span| span.0 >= Duration::from_secs(1)));
        if expires_in.is_none() {
            wrong.push(Invalid::new(
                "/expires_in",
                "expected a number of seconds, or a text like `30d`",
            ));
        }
        match (name, expires_in) {
            (Some(name), Some(expires_in)) if wrong.is_empty() => Ok(Self {
                name: name.to_owned(),
                expires_in: expires_in.map(|span| span.0),
            }),
            _ => Err(wrong),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_has_a_name_and_perhaps_an_end() {
        let parsed =
            |document: &Value| NewKey::parse(document).map(|key| key.expires_in.map(|span| span.as_secs()));
        assert_eq!(parsed(&json!({"name": "x"})), Ok(None));
        assert_eq!(parsed(&json!({"name": "x", "expires_in": null})), Ok(None));
        assert_eq!(parsed(&json!({"name": "x", "expires_in": 60})), Ok(Some(60)));
        assert_eq!(
            parsed(&json!({"name": "x", "expires_in": "30d"})),
            Ok(Some(2_592_000))
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        for (document, pointers) in [
            (json!([]), vec![""]),
            (json!({}), vec!["/name"]),
            (json!({"name": " "}), vec!["/name"]),
            (json!({"name": "a\nb"}), vec!["/name"]),
            (json!({"name": "x".repeat(101)}), vec!["/name"]),
            (
                json!({"name": 1, "expires_in": "soon", "x/y": 1}),
                vec!["/x~1y", "/name", "/expires_in"],
            ),
            (json!({"name": "x", "expires_in": 0}), vec!["/expires_in"]),
            (json!({"name": "x", "expires_in": -5}), vec!["/expires_in"]),
            (json!({"name": "x", "expires_in": []}), vec!["/expires_in"]),
            (json!({"name": "x", "expires_in": 1e300}), vec!["/expires_in"]),
        ] {
            let wrong = NewKey::parse(&document).unwrap_err();
            let found: Vec<_> = wrong.iter().map(|wrong| wrong.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{document}");
        }
    }
}
