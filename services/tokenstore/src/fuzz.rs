//! What `fuzz/` feeds with any bytes, and the tests with the inputs that are kept: readers of what
//! browsers and providers send, each with what must hold of whatever it accepts. Not in what is built and
//! shipped.
#![expect(clippy::missing_panics_doc, reason = "by a panic a target says what it found")]

use std::future::{Ready, ready};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix_web::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use futures_util::FutureExt;
use identity_core::config::values::{AllowPrivate, Span};
use identity_core::crypto::jwt::{Claims, SigningKey};
use identity_core::http::body::json;
use identity_core::outgoing::Outgoing;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::http::{self, StatusCode};
use openidconnect::{AsyncHttpClient, AuthorizationCode, HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use url::Url;

use crate::access::{Profile, is_from_own_page};
use crate::api_keys::model::NewKey;
use crate::cookies::{Cookie, Cookies};
use crate::providers::discovery::{Document, Endpoints, endpoints_of};
use crate::providers::identity::{Expected, identity, merged};
use crate::providers::model::{Settings, Written};
use crate::providers::protocol::obtained;
use crate::providers::wire::Wire;
use crate::providers::{Callback, Obtained, Provider, Unreachable};
use crate::return_url::ReturnUrls;

/// What a target does with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("tokenstore_return_url", return_url),
    ("tokenstore_request", request),
    ("tokenstore_answer", answer),
    ("tokenstore_discovery", discovery),
    ("tokenstore_id_token", id_token),
];

const OWN: &str = "https://store.example/";
const ISSUER: &str = "https://ident.example.org";
const LISTED: [&str; 2] = ["https://app.example.org/", "https://other.example/deep/path"];

/// Where the browser may be sent back to: our own origin or what is listed, as it is read by a browser once
/// more, and with nobody's name or password in it.
pub fn return_url(data: &[u8]) {
    let Ok(asked) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = [OWN, LISTED[0], LISTED[1]].map(|url| Url::parse(url).ok());
    let [Some(own), Some(app), Some(other)] = parsed else {
        panic!("our own URLs are none")
    };
    let urls = ReturnUrls::new(own, vec![app, other]);
    let Some(url) = urls.check(Some(asked)) else {
        return;
    };
    // A browser reads what is in Location relative to the page that it is on.
    let Ok(read) = urls.own().join(url.as_str()) else {
        panic!("{url} cannot be read")
    };
    assert_eq!(read, url, "read once more it is another");
    let origin = read.origin().ascii_serialization();
    let is_listed = origin == "https://app.example.org"
        || (origin == "https://other.example" && read.path().starts_with("/deep/path"));
    assert!(
        is_listed || origin == "https://store.example",
        "{asked} leads to {url}"
    );
    assert!(read.username().is_empty() && read.password().is_none());
    assert!(!url.as_str().contains(['\\', '\r', '\n', '\t']), "{url}");
}

/// Queries, cookies and the headers of forms, a line each: the query of a callback, `Cookie`, `Origin`,
/// `Sec-Fetch-Site`, the body of a new API key.
pub fn request(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let text = |index: usize| {
        let line = lines.get(index).copied().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default()
    };
    if let Ok(uri) = format!("/?{}", text(0)).parse::<actix_web::http::Uri>() {
        let request = TestRequest::with_uri(&uri.to_string()).to_http_request();
        if let Ok(callback) = crate::access::query::<Callback>(&request) {
            assert!(callback.state.is_none_or(|state| state.len() <= text(0).len()));
        }
    }
    let mut headers = TestRequest::default();
    if HeaderValue::from_str(text(1)).is_ok() {
        headers = headers.append_header((COOKIE, text(1)));
    }
    let with_cookies = headers.to_http_request();
    for https in [true, false] {
        for cookie in [Cookie::Session, Cookie::Browser] {
            let cookies = Cookies { https };
            if let Some(secret) = cookies.find(&with_cookies, cookie) {
                assert!((1..=64).contains(&secret.expose().len()));
                assert!(text(1).contains(secret.expose()));
                let set = cookies.set(cookie, &secret, Duration::from_mins(1));
                assert!(
                    set.to_str()
                        .is_ok_and(|set| set.matches(';').count() == 4 + usize::from(https))
                );
            }
        }
    }
    let mut of_form = HeaderMap::new();
    for (name, index) in [("origin", 2), ("sec-fetch-site", 3)] {
        if let Ok(value) = HeaderValue::from_str(text(index)) {
            of_form.insert(HeaderName::from_static(name), value);
        }
    }
    if is_from_own_page(&of_form, "https://store.example") {
        let (origin, site) = (of_form.get("origin"), of_form.get("sec-fetch-site"));
        let is_ours = origin.is_some_and(|origin| origin == "https://store.example");
        let hides = origin.is_none_or(|origin| origin == "null");
        let is_same = site.is_some_and(|site| site == "same-origin");
        assert!((is_ours && site.is_none_or(|_| is_same)) || (hides && is_same));
    }
    if let Ok(document) = json(text(4).as_bytes())
        && let Ok(key) = NewKey::parse(&document)
    {
        assert!((1..=100).contains(&key.name.chars().count()) && key.name.trim() == key.name);
        assert!(key.expires_in.is_none_or(|span| span >= Duration::from_secs(1)));
    }
}

fn outgoing() -> &'static Outgoing {
    static OUTGOING: OnceLock<Option<Outgoing>> = OnceLock::new();
    let made = OUTGOING.get_or_init(|| {
        let settings = identity_core::config::Outgoing {
            allow_private: AllowPrivate::No,
            timeout: Span(Duration::from_secs(1)),
        };
        Outgoing::new(&settings).ok()
    });
    made.as_ref()
        .unwrap_or_else(|| panic!("no client for outgoing requests"))
}

fn settings() -> Settings {
    let written = Written {
        preset: Some("github-app".to_owned()),
        issuer: Some(ISSUER.to_owned()),
        client_id: Some("us".to_owned()),
        client_secret: Some("secret".into()),
        ..Written::default()
    };
    Settings::complete("provider", written).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A provider that has answered already: what came is straightened, as on its way from the network.
struct Answered<'a> {
    wire: &'a Wire<'a>,
    answer: Mutex<Option<(StatusCode, Vec<u8>)>>,
}

impl<'c> AsyncHttpClient<'c> for Answered<'_> {
    type Error = Unreachable;
    type Future = Ready<Result<HttpResponse, Unreachable>>;

    fn call(&'c self, _: HttpRequest) -> Self::Future {
        let taken = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (status, body) = taken.unwrap_or_default();
        let (status, body) = self.wire.straighten(status, &body);
        let response = http::Response::builder()
            .status(status)
            .header(http::header::CONTENT_TYPE, "application/json");
        ready(
            response
                .body(body)
                .map_err(|error| Unreachable::because(error.to_string())),
        )
    }
}

/// What a token endpoint answers; the first letter says with which status. Whatever is taken of it can be
/// kept and shown.
pub fn answer(data: &[u8]) {
    let Some((status, body)) = data.split_first() else {
        return;
    };
    let status = if status % 2 == 0 {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    let settings = settings();
    let wire = Wire::new(outgoing(), &settings, true);
    let (first, straight) = wire.straighten(status, body);
    let twice = wire.straighten(first, &straight);
    // A number with many digits may come out of the JSON library as the one next to it.
    if !has_fraction(&straight) {
        assert_eq!(twice, (first, straight), "what is straight becomes another");
    }
    let Ok(endpoints) = endpoints_of(&settings, Document::default()) else {
        panic!("no endpoints")
    };
    let provider = Provider::new(settings.clone(), outgoing(), outgoing());
    let Ok(client) = provider.client(&endpoints, Some("https://store.example/callback")) else {
        panic!("no client")
    };
    let answered = Answered {
        wire: &wire,
        answer: Mutex::new(Some((status, body.to_vec()))),
    };
    let asked = client
        .exchange_code(AuthorizationCode::new("code".to_owned()))
        .request_async(&answered);
    let Some(asked) = Box::pin(asked).now_or_never() else {
        panic!("it waits for something")
    };
    match obtained(asked, &wire) {
        Ok(obtained) => is_sound(&obtained, body),
        Err(error) => {
            let (code, description) = error.shown();
            assert!(
                ![code, description]
                    .iter()
                    .any(|text| text.chars().any(char::is_control))
            );
        }
    }
}

fn has_fraction(body: &[u8]) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.is_f64(),
            Value::Array(values) => values.iter().any(within),
            Value::Object(members) => members.values().any(within),
            _ => false,
        }
    }
    serde_json::from_slice(body).is_ok_and(|value| within(&value))
}

fn is_sound(obtained: &Obtained, body: &[u8]) {
    let century = Duration::from_hours(100 * 366 * 24);
    let tokens = [Some(&obtained.access_token), obtained.refresh_token.as_ref()];
    for token in tokens.into_iter().flatten() {
        assert!((1..=64 * 1024).contains(&token.expose_secret().len()));
    }
    for span in [obtained.expires_in, obtained.refresh_expires_in]
        .into_iter()
        .flatten()
    {
        assert!(span > Duration::ZERO && span <= century, "{span:?}");
    }
    let scopes = obtained.scopes.as_deref().unwrap_or_default();
    assert!(
        scopes
            .iter()
            .all(|scope| !scope.is_empty() && !scope.contains([' ', ','])),
        "{scopes:?}"
    );
    assert!(!obtained.token_type.chars().any(char::is_control));
    assert!(body.len() >= obtained.access_token.expose_secret().len());
}

/// A discovery document, or what a userinfo endpoint says: the browser is sent to pages only, and nobody
/// becomes another by what is not signed.
pub fn discovery(data: &[u8]) {
    if let Ok(document) = serde_json::from_slice::<Document>(data) {
        let mut settings = settings();
        (settings.authorization_endpoint, settings.token_endpoint) = (None, None);
        if let Ok(endpoints) = endpoints_of(&settings, document) {
            let Endpoints {
                authorization,
                end_session,
                ..
            } = endpoints;
            for url in [Some(authorization), end_session].into_iter().flatten() {
                assert!(["http", "https"].contains(&url.scheme()), "{url}");
            }
        }
    }
    let Ok(said) = serde_json::from_slice::<Map<String, Value>>(data) else {
        return;
    };
    let signed: Map<_, _> = [("sub".to_owned(), Value::from("7"))].into_iter().collect();
    for signed in [Some(signed), None] {
        let is_signed = signed.is_some();
        let Ok(claims) = merged(signed, said.clone()) else {
            continue;
        };
        let who = identity(claims);
        assert!(!is_signed || who.subject.as_deref() == Some("7"), "{who:?}");
        for text in [&who.subject, &who.account].into_iter().flatten() {
            assert!((1..=255).contains(&text.chars().count()), "{text}");
        }
        let profile = Profile::of_claims(who.claims, None);
        assert!(
            profile
                .scopes
                .iter()
                .all(|scope| !scope.is_empty() || said.contains_key("scope") || said.contains_key("scp"))
        );
    }
}

/// The moment at which targets look.
fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap_or_default()
}

/// The keys that the provider publishes, and the signed parts of what it has signed with them.
fn published() -> &'static (CoreJsonWebKeySet, Vec<String>) {
    static KEYS: OnceLock<(CoreJsonWebKeySet, Vec<String>)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let pems = [
            include_str!("../../../fuzz/keys/ed25519.pem"),
            include_str!("../../../fuzz/keys/p256.pem"),
            include_str!("../../../fuzz/keys/rsa.pem"),
        ];
        let keys: Vec<SigningKey> = pems
            .iter()
            .filter_map(|pem| SigningKey::from_pem(pem).ok())
            .collect();
        let jwks: Vec<&Value> = keys.iter().map(|key| key.public().jwk()).collect();
        let set = serde_json::from_value(serde_json::json!({ "keys": jwks })).unwrap_or_default();
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            subject: "7".to_owned(),
            audience: vec!["somebody".to_owned()],
            issued_at: now(),
            expires_at: now() + SignedDuration::from_mins(5),
            id: "1".to_owned(),
            own: serde_json::json!({"nonce": "nonce", "email": "a@b"}),
        };
        let signed = keys.iter().filter_map(|key| {
            let token = key.sign(&claims, "JWT").ok()?;
            token.rsplit_once('.').map(|(signed, _)| signed.to_owned())
        });
        (set, signed.collect())
    })
}

/// An ID token: one that is believed is one that the provider has signed.
pub fn id_token(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else {
        return;
    };
    let (keys, signed) = published();
    assert_eq!(signed.len(), 3);
    let expected = Expected {
        issuer: ISSUER,
        client: "somebody",
        nonce: "nonce",
        now: now(),
    };
    if let Ok(claims) = expected.claims(token, keys.clone()) {
        let part = token.rsplit_once('.').map(|(part, _)| part);
        assert!(
            signed.iter().any(|known| Some(known.as_str()) == part),
            "nobody has signed it"
        );
        assert_eq!(claims.get("sub"), Some(&Value::from("7")));
    }
    for (issuer, client, nonce) in [
        ("https://other.example", "somebody", "nonce"),
        (ISSUER, "us", "nonce"),
        (ISSUER, "somebody", "another"),
    ] {
        let other = Expected {
            issuer,
            client,
            nonce,
            now: now(),
        };
        assert!(
            other.claims(token, keys.clone()).is_err(),
            "for {issuer}, {client}, {nonce}"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_input_that_is_kept_holds() {
        identity_testkit::replay("tokenstore", super::TARGETS);
    }
}
