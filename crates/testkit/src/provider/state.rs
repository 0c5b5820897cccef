//! What the provider knows, and its ways.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::crypto::jwt::{Algorithm, Claims, SigningKey};
use identity_core::crypto::random;
use identity_core::crypto::token::PlainToken;
use serde_json::{Value, json};

/// Somebody who can sign in.
#[derive(Debug, Clone)]
pub struct Account {
    /// `sub`
    pub subject: String,
    /// `name`
    pub name: String,
    /// `email`
    pub email: String,
}

/// What becomes of a refresh token that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshing {
    /// It is good for once, and a new one comes.
    Rotating,
    /// It goes on to be good, and none comes.
    Keeping,
    /// There are none.
    Never,
}

/// What the token endpoint answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// As it should.
    Usual,
    /// This status and this body.
    Fixed(u16, String),
    /// As it should, these members over the usual ones; null takes one away.
    With(Value),
}

/// The ways of a provider.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is what its name says")]
pub struct Ways {
    pub title: String,
    /// Who can sign in; the first does where nobody is asked.
    pub accounts: Vec<Account>,
    /// Whether a page asks who it is and whether they allow it.
    pub asks: bool,
    /// The only client, and its secret.
    pub client: (String, String),
    pub refreshing: Refreshing,
    pub expires_in: Option<u64>,
    /// Whether it is an OpenID provider: with ID tokens and all.
    pub openid: bool,
    pub token: Answer,
    /// What the authorization endpoint answers instead of a code: `error`.
    pub denies: Option<String>,
    /// `iss` in its answers to the browser (RFC 9207); none: left out.
    pub issuer_in_answers: Option<String>,
    /// Claims of ID tokens over the usual ones; null takes one away.
    pub claims: Value,
    /// Whether ID tokens are signed by a key that it does not publish.
    pub signs_wrongly: bool,
    /// The status of its revocation endpoint.
    pub revocation: u16,
    /// The status of its discovery document.
    pub discovery: u16,
    /// How long it takes for each answer of its token endpoint.
    pub delay: Duration,
}

impl Default for Ways {
    fn default() -> Self {
        let account = |subject: &str, name: &str| Account {
            subject: subject.to_owned(),
            name: name.to_owned(),
            email: format!("{subject}@example.org"),
        };
        Self {
            title: "Example".to_owned(),
            accounts: vec![account("ada", "Ada Ameland"), account("ben", "Ben Bakker")],
            asks: false,
            client: ("tokenstore".to_owned(), "a secret/of+ours".to_owned()),
            refreshing: Refreshing::Rotating,
            expires_in: Some(3600),
            openid: true,
            token: Answer::Usual,
            denies: None,
            issuer_in_answers: None,
            claims: json!({}),
            signs_wrongly: false,
            revocation: 200,
            discovery: 200,
            delay: Duration::ZERO,
        }
    }
}

/// A code or a refresh token, and what it is good for.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub account: Account,
    pub scope: String,
    pub nonce: Option<String>,
    pub redirect_uri: String,
    pub challenge: Option<String>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub ways: Ways,
    pub clock: Clock,
    pub codes: HashMap<String, Grant>,
    pub refresh_tokens: HashMap<String, Grant>,
    pub access_tokens: HashMap<String, Grant>,
    pub requests: Vec<Value>,
    pub revoked: Vec<String>,
    pub key_fetches: usize,
    pub key: SigningKey,
}

impl Inner {
    pub fn new_key(&mut self) {
        self.key = new_key();
    }
}

fn new_key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate(Algorithm::ES256).unwrap()).unwrap()
}

#[derive(Debug)]
pub(super) struct Shared {
    pub url: String,
    pub inner: Mutex<Inner>,
}

impl Shared {
    pub fn new(url: String, ways: Ways) -> Self {
        let inner = Inner {
            ways,
            clock: Clock::system(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: HashMap::new(),
            requests: Vec::new(),
            revoked: Vec::new(),
            key_fetches: 0,
            key: new_key(),
        };
        Self {
            url,
            inner: Mutex::new(inner),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token with `claims` over the usual ones.
    pub fn sign(&self, inner: &Inner, claims: &Value) -> String {
        let now = inner.clock.now();
        let mut all = json!({
            "iss": self.url, "sub": "ada", "aud": inner.ways.client.0,
            "iat": now.as_second(), "exp": now.as_second() + 3600,
        });
        merge(&mut all, claims);
        let wrong = inner.ways.signs_wrongly.then(new_key);
        signed(wrong.as_ref().unwrap_or(&inner.key), &inner.key, &all)
    }
}

/// Signed by `key`, the header naming `named`.
fn signed(key: &SigningKey, named: &SigningKey, claims: &Value) -> String {
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let moment = |name: &str| moment_of(claims[name].as_i64().unwrap_or_default());
    let mut own = claims.clone();
    for name in ["iss", "sub", "aud", "iat", "exp"] {
        own.as_object_mut().unwrap().remove(name);
    }
    let audience = match &claims["aud"] {
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .collect(),
        one => vec![one.as_str().unwrap_or_default().to_owned()],
    };
    let claims = Claims {
        issuer: text("iss"),
        subject: text("sub"),
        audience,
        issued_at: moment("iat"),
        expires_at: moment("exp"),
        id: random::uuid().to_string(),
        own,
    };
    let token = key.sign(&claims, "JWT").unwrap();
    // A forger would name the key that is published.
    let (header, rest) = token.split_once('.').unwrap();
    if key.public().kid() == named.public().kid() {
        return format!("{header}.{rest}");
    }
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": named.public().kid()});
    let header = data_encoding::BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    format!("{header}.{rest}")
}

fn moment_of(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap()
}

/// Puts `over`'s members over those of `base`; null takes one away.
pub(super) fn merge(base: &mut Value, over: &Value) {
    let base = base.as_object_mut().unwrap();
    for (name, value) in over.as_object().into_iter().flatten() {
        if value.is_null() {
            base.remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
}

/// A new random name for a code or a token.
pub(super) fn random_text() -> String {
    PlainToken::generate("").expose().to_owned()
}
