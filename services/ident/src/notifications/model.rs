//! What an event is, where it goes, and when it is tried again.

use std::time::Duration;

use identity_core::crypto::random;
use identity_core::crypto::webhook::Signer;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Made.
    New,
    /// Changed.
    Patch,
    /// Deleted.
    Delete,
}

impl EventKind {
    /// The type that a receiver is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "urn:glotpod:user:new",
            Self::Patch => "urn:glotpod:user:patch",
            Self::Delete => "urn:glotpod:user:delete",
        }
    }
}

/// An event that is written with its change.
#[derive(Debug)]
pub struct NewEvent {
    /// By which a receiver knows a repetition.
    pub webhook_id: Uuid,
    /// What happened.
    pub kind: EventKind,
    /// The user without its id, the patch, or the id of who is gone.
    pub payload: Value,
}

impl NewEvent {
    /// An event with an id of its own.
    #[must_use]
    pub fn new(kind: EventKind, payload: Value) -> Self {
        Self {
            webhook_id: random::uuid(),
            kind,
            payload,
        }
    }
}

/// An event as it is stored.
#[derive(Debug)]
pub struct Event {
    pub user_id: i64,
    pub id: i64,
    pub webhook_id: Uuid,
    pub kind: String,
    pub payload: Value,
    pub created_at: Timestamp,
    /// How often it was tried, this attempt included.
    pub attempts: i32,
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    scope: &'static str,
    payload: &'a Value,
}

impl Event {
    /// The body that is posted.
    pub fn body(&self) -> String {
        let mut payload = self.payload.clone();
        if self.kind == EventKind::New.as_str()
            && let Some(user) = payload.as_object_mut()
        {
            // The id is given while the event is written.
            user.insert("id".to_owned(), json!(self.user_id));
        }
        let message = Message {
            r#type: &self.kind,
            scope: "user+n",
            payload: &payload,
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&message).unwrap_or_default()
    }

    /// The pause before the next attempt: doubled each time up to an hour, and up to a quarter
    /// shorter by `chance` (0 to 255), so that what failed together does not come back together.
    pub fn pause(&self, chance: u8) -> Duration {
        let exponent = u32::try_from(self.attempts.saturating_sub(1))
            .unwrap_or(0)
            .min(16);
        let pause = Duration::from_secs(1 << exponent).min(LONGEST_PAUSE);
        pause.saturating_sub(pause / 4 * u32::from(chance) / 255)
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Destination {
    url: String,
    pub(super) signer: Signer,
    pub(super) give_up_after: Duration,
}

impl Destination {
    /// Events to `url`, in which `{user_id}` stands for the id, signed with `secret`.
    ///
    /// # Errors
    /// One line that names the key and what is expected of it.
    pub fn new(url: &str, secret: Option<&SecretString>, give_up_after: Duration) -> Result<Self, String> {
        let secret =
            secret.ok_or("notifications.secret: is not set; expected whsec_ and base64 of 24 to 64 bytes")?;
        let signer = Signer::new(secret).map_err(|error| format!("notifications.secret: {error}"))?;
        let destination = Self {
            url: url.to_owned(),
            signer,
            give_up_after,
        };
        match destination.url_for(1) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(destination),
            _ => Err(format!(
                "notifications.url: expected an http or https URL, found `{url}`"
            )),
        }
    }

    /// The URL for events of `user`.
    ///
    /// # Errors
    /// When the template makes no URL, which [`Destination::new`] has checked.
    pub fn url_for(&self, user: i64) -> Result<Url, url::ParseError> {
        Url::parse(&self.url.replace("{user_id}", &user.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(attempts: i32) -> Event {
        Event {
            user_id: 7,
            id: 1,
            webhook_id: Uuid::nil(),
            kind: EventKind::New.as_str().to_owned(),
            payload: json!({"name": "Robb", "services": {}}),
            created_at: Timestamp::UNIX_EPOCH,
            attempts,
        }
    }

    #[test]
    fn the_body_of_a_new_user_has_its_id() {
        let body: Value = serde_json::from_str(&event(1).body()).unwrap();
        let expected = json!({
            "type": "urn:glotpod:user:new", "scope": "user+n",
            "payload": {"id": 7, "name": "Robb", "services": {}},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds = [1, 2, 3, 11, 12, 13, 100, i32::MAX].map(|attempts| event(attempts).pause(0).as_secs());
        assert_eq!(seconds, [1, 2, 4, 1024, 2048, 3600, 3600, 3600]);
        assert_eq!(event(3).pause(255), Duration::from_secs(3));
    }

    #[test]
    fn a_destination_needs_a_url_and_a_secret() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let new = |url: &str, secret: Option<&SecretString>| Destination::new(url, secret, Duration::ZERO);
        let url = new("https://push.example/users/{user_id}", Some(&secret))
            .unwrap()
            .url_for(7)
            .unwrap();
        assert_eq!(url.as_str(), "https://push.example/users/7");
        assert!(
            new("push.example", Some(&secret))
                .unwrap_err()
                .starts_with("notifications.url")
        );
        assert!(
            new("ftp://push.example", Some(&secret))
                .unwrap_err()
                .starts_with("notifications.url")
        );
        assert!(
            new("https://push.example", None)
                .unwrap_err()
                .starts_with("notifications.secret")
        );
        assert!(
            new("https://push.example", Some(&"whsec_short".into()))
                .unwrap_err()
                .starts_with("notifications.secret")
        );
    }
}
