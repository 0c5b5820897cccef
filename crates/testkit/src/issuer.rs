//! Another issuer of tokens, whose discovery document and keys a service fetches.

use std::sync::{Arc, Mutex, PoisonError};

use identity_core::crypto::jwt::{Algorithm, Claims, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::receiver::{Behaviour, Receiver};

/// Listens until the test ends.
pub struct ForeignIssuer {
    /// Its issuer identifier: where it is reached, without a slash at the end.
    pub url: String,
    /// What is asked of it, and how it behaves.
    pub receiver: Receiver,
    key: Arc<Mutex<SigningKey>>,
}

impl ForeignIssuer {
    /// Starts one with a new key of `algorithm`.
    #[must_use]
    pub fn start(algorithm: Algorithm) -> Self {
        Self::with_key(generate(algorithm))
    }

    /// Starts one with a key that is given.
    #[must_use]
    pub fn with_key(key: SigningKey) -> Self {
        let receiver = Receiver::start();
        let issuer = Self {
            url: receiver.url.clone(),
            receiver,
            key: Arc::new(Mutex::new(key)),
        };
        issuer.answer();
        issuer
    }

    /// Answers as an issuer does, again after it has behaved otherwise.
    pub fn answer(&self) {
        let (url, key) = (self.url.clone(), self.key.clone());
        self.receiver.behave(move |request| match request.path.as_str() {
            "/.well-known/openid-configuration" => {
                Behaviour::Json(200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
            }
            "/keys" => {
                let key = key.lock().unwrap_or_else(PoisonError::into_inner);
                Behaviour::Json(200, json!({"keys": [key.public().jwk()]}))
            }
            _ => Behaviour::Answer(404),
        });
    }

    /// A token of it from `now` on, for five minutes, with the claims `own` beside the registered ones.
    #[must_use]
    pub fn token(&self, audience: &str, subject: &str, own: &Value, now: Timestamp) -> String {
        let claims = Claims {
            issuer: self.url.clone(),
            subject: subject.to_owned(),
            audience: vec![audience.to_owned()],
            issued_at: now,
            expires_at: now + SignedDuration::from_mins(5),
            id: "foreign".to_owned(),
            own: own.clone(),
        };
        self.sign(&claims)
    }

    /// Whatever is claimed, under its key.
    #[must_use]
    pub fn sign(&self, claims: &Claims<Value>) -> String {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        key.sign(claims, "JWT").unwrap()
    }

    /// Goes on with another key; the old one is no longer published.
    pub fn rotate(&self, algorithm: Algorithm) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = generate(algorithm);
    }

    /// How often its keys were asked for.
    #[must_use]
    pub fn fetches(&self) -> usize {
        let received = self.receiver.received();
        received.iter().filter(|request| request.path == "/keys").count()
    }
}

fn generate(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate(algorithm).unwrap()).unwrap()
}
