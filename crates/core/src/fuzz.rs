//! What `fuzz/` feeds with any bytes, and the tests with the inputs that are kept: readers of strangers'
//! input, each with what must hold of whatever it accepts. Not in what is built and shipped.
#![expect(clippy::missing_panics_doc, reason = "by a panic a target says what it found")]

use std::net::IpAddr;
use std::sync::OnceLock;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::Value;

use crate::crypto::fernet::{Keys, Raw};
use crate::crypto::jwt::{self, Claims, Expected, PublicKey, SharedAlgorithm, SharedKey, SigningKey};
use crate::crypto::{pss, webhook};
use crate::http::body;
use crate::http::client::Client;

/// What a target does with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("core_json", json),
    ("core_fernet", fernet),
    ("core_token", token),
    ("core_claims", claims),
    ("core_keys", keys),
    ("core_forwarded", forwarded),
];

/// The moment at which targets look at tokens, in seconds since 1970.
const NOW: i64 = 1_790_000_000;

const PEMS: [&str; 3] = [
    include_str!("../../../fuzz/keys/ed25519.pem"),
    include_str!("../../../fuzz/keys/p256.pem"),
    include_str!("../../../fuzz/keys/rsa.pem"),
];
const ISSUER: &str = "https://ident.example.org";
const AUDIENCE: &str = "somebody";

/// The keys whose private halves stand in `fuzz/keys`.
///
/// They protect nothing: Ed25519, P-256, RSA.
fn signing_keys() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let read = PEMS.iter().filter_map(|pem| SigningKey::from_pem(pem).ok());
        let keys: Vec<_> = read.collect();
        assert_eq!(keys.len(), PEMS.len(), "fuzz/keys cannot be read");
        keys
    })
}

/// The moment [`NOW`].
fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap_or_default()
}

/// Claims that hold at [`NOW`].
fn good_claims<C>(own: C) -> Claims<C> {
    Claims {
        issuer: ISSUER.to_owned(),
        subject: "7".to_owned(),
        audience: vec![AUDIENCE.to_owned()],
        issued_at: now(),
        expires_at: now() + SignedDuration::from_mins(5),
        id: "0197f3c2-7a00-7000-8000-000000000000.0".to_owned(),
        own,
    }
}

fn expected(audiences: &'static [&'static str]) -> Expected<'static> {
    Expected {
        issuer: ISSUER,
        audiences: Some(audiences),
        typ: None,
        now: now(),
        leeway: SignedDuration::from_mins(1),
    }
}

/// Our reading of JSON: what it takes, serde takes as the same, and written out it is read as the same.
pub fn json(data: &[u8]) {
    let Ok(value) = body::json(data) else { return };
    let theirs: Result<Value, _> = serde_json::from_slice(data);
    assert_eq!(
        theirs.ok().as_ref(),
        Some(&value),
        "another reader sees something else"
    );
    let written = value.to_string();
    let again = body::json(written.as_bytes());
    // The last digit of a fraction may become another when it is read again.
    if !has_fraction(&value) {
        assert_eq!(
            again.ok(),
            Some(value),
            "written and read it is another: {written}"
        );
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}

/// Secrets at rest: sealed for a place, they are opened there and nowhere else, and not when they were
/// changed; no other text is opened.
pub fn fernet(data: &[u8]) {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    let made = KEYS.get_or_init(|| {
        let texts = ["ab", "cd"].map(|digits| SecretString::from(digits.repeat(32)));
        Keys::parse(&texts, Raw::Refused).ok()
    });
    let Some(ours) = made else {
        panic!("two keys in hex are refused")
    };
    let text = String::from_utf8_lossy(data);
    // The keys are known to nobody but this process, so that no text can be theirs.
    assert!(ours.open("place", &text).is_err(), "opened: {text}");
    assert_eq!(ours.maker(&text), None);
    let sealed = ours.seal("place", data);
    let opened = ours.open("place", &sealed).map(|plain| plain.to_vec());
    assert_eq!(opened.as_deref(), Ok(data));
    assert!(ours.open("another place", &sealed).is_err());
    if let Some(at) = data.first().map(|first| usize::from(*first) % sealed.len()) {
        let mut changed = sealed.into_bytes();
        if let Some(byte) = changed.get_mut(at) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        let opened = ours.open("place", &String::from_utf8_lossy(&changed));
        // The last letter carries bits that mean nothing.
        assert!(
            opened.is_err() || at + 3 >= changed.len(),
            "changed at {at}, and still opened"
        );
    }
    for raw in [Raw::Accepted, Raw::Refused] {
        if let Ok(keys) = Keys::parse(&[SecretString::from(text.as_ref())], raw) {
            let theirs: Vec<_> = keys.fingerprints().collect();
            assert!(theirs.len() == 1 && theirs.iter().all(|mark| mark.len() == 16));
            let opened = keys.open("place", &keys.seal("place", b"x"));
            assert_eq!(opened.map(|plain| plain.to_vec()), Ok(b"x".to_vec()));
        }
    }
    if let Ok(signer) = webhook::Signer::new(&SecretString::from(text.as_ref())) {
        assert!(signer.sign("id", NOW, "body").starts_with("v1,"));
    }
}

/// Claims beside the registered ones, whichever they are.
type Any = Value;

/// What we have signed: of each key the signed part, and whether the signature is the only one.
fn signed_parts() -> &'static [(String, String)] {
    static PARTS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let tokens = signing_keys().iter().filter_map(|key| {
            key.sign(&good_claims(serde_json::json!({"email": "a@b"})), "at+jwt")
                .ok()
        });
        tokens
            .filter_map(|token| {
                let (signed, signature) = token.rsplit_once('.')?;
                Some((signed.to_owned(), signature.to_owned()))
            })
            .collect()
    })
}

/// Bearer tokens: one that is accepted is one that we have signed, letter for letter.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let header = jwt::header(text);
    if let Some(issuer) = jwt::unverified_issuer(text) {
        assert!(issuer.len() < text.len());
    }
    let _ = jwt::unverified_id(text);
    for key in signing_keys() {
        let verified: Result<Claims<Any>, _> = key.public().verify(text, &expected(&[AUDIENCE]));
        if let Ok(claims) = verified {
            let (signed, signature) = text.rsplit_once('.').unwrap_or_default();
            let known = signed_parts().iter().find(|(part, _)| part == signed);
            assert!(known.is_some(), "we have not signed {signed}");
            // ECDSA is random; the others have one signature only.
            let is_random = key.public().algorithm() == jwt::Algorithm::ES256
                || header.as_ref().is_ok_and(|header| header.algorithm == "PS256");
            let is_ours = known.is_some_and(|(_, ours)| ours == signature);
            assert!(
                is_ours || is_random,
                "another form of the same signature: {signature}"
            );
            let decoded = BASE64URL_NOPAD.decode(signature.as_bytes());
            assert!(decoded.is_ok_and(|bytes| BASE64URL_NOPAD.encode(&bytes) == signature));
            assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), (ISSUER, "7"));
        }
    }
    shared_token(text);
}

fn shared_token(text: &str) {
    for algorithm in [
        SharedAlgorithm::HS256,
        SharedAlgorithm::HS384,
        SharedAlgorithm::HS512,
    ] {
        let Some(key) = SharedKey::new(algorithm, &[7; 64]) else {
            panic!("64 bytes are too short")
        };
        if let Ok(claims) = key.claims::<Value>(text) {
            // Its header could be another only if somebody else had the key.
            assert_eq!(key.sign(&claims).ok().as_deref(), Some(text));
        }
    }
}

/// The claims of a token that its issuer, or a client, has really signed: whatever they are, it is read or
/// refused, and accepted only for us and in its time. A line of header, then the claims.
pub fn claims(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let (header, payload) = data.split_at(at);
    let payload = payload.strip_prefix(b"\n").unwrap_or(payload);
    let header: &[u8] = if header.is_empty() {
        br#"{"alg":"EdDSA"}"#
    } else {
        header
    };
    let Some(key) = signing_keys().first() else { return };
    let signed = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header),
        BASE64URL_NOPAD.encode(payload)
    );
    let Ok(signature) = key.signature(signed.as_bytes()) else {
        panic!("what is ours cannot be signed")
    };
    let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
    let verified: Result<Claims<Any>, _> = key.public().verify(&token, &expected(&[AUDIENCE, "other"]));
    let Ok(verified) = verified else { return };
    let said: Value = serde_json::from_slice(payload).unwrap_or_default();
    let header: Value = serde_json::from_slice(header).unwrap_or_default();
    assert_eq!(header.get("alg").and_then(Value::as_str), Some("EdDSA"));
    assert_eq!(said.get("iss").and_then(Value::as_str), Some(ISSUER));
    assert!(
        verified
            .audience
            .iter()
            .any(|audience| [AUDIENCE, "other"].contains(&audience.as_str()))
    );
    let number = |name: &str| said.get(name).and_then(Value::as_f64);
    let now = 1_790_000_000.0;
    assert!(number("exp").is_some_and(|exp| exp > now - 60.0), "it is over");
    assert!(
        number("nbf").is_none_or(|nbf| nbf < now + 61.0),
        "it is not valid yet"
    );
}

/// Keys of others, in PEM or as JWK: read, they are written and read as the same key; what they verify
/// is no signature that nobody made.
pub fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = SigningKey::from_pem(text) {
        let signed = key
            .sign(&good_claims(serde_json::json!({})), "JWT")
            .unwrap_or_default();
        let verified = key.public().verify::<Any>(&signed, &expected(&[AUDIENCE]));
        assert!(verified.is_ok(), "its own signature is refused");
    }
    let read = match serde_json::from_str::<Value>(text) {
        Ok(jwk) => PublicKey::from_jwk(&jwk),
        Err(_) => PublicKey::from_pem(text),
    };
    if let Ok(key) = read {
        let by_jwk = PublicKey::from_jwk(key.jwk());
        let by_pem = PublicKey::from_pem(key.pem());
        for again in [by_jwk, by_pem] {
            let again = again.as_ref().map(|again| (again.kid(), again.pem()));
            assert_eq!(again, Ok((key.kid(), key.pem())));
        }
        for (signed, signature) in signed_parts() {
            let is_ours = signing_keys().iter().any(|ours| ours.public().kid() == key.kid());
            let verified = key.verify::<Any>(&format!("{signed}.{signature}"), &expected(&[AUDIENCE]));
            assert!(is_ours || verified.is_err());
        }
        assert!(!pss::verify_max_salt(key.pem(), b"message", &[1; 256]));
    }
    assert!(!pss::verify_max_salt(text, b"message", &[1; 256]));
}

/// `Forwarded`, `X-Forwarded-For` and `X-Request-Id`: a line each, of which the first letter says which.
/// A stranger's are not believed; a proxy's lead to an address that stands there.
pub fn forwarded(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else {
            continue;
        };
        let name = match which {
            b'f' => "forwarded",
            b'x' => "x-forwarded-for",
            _ => "x-request-id",
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(str::parse);
    let trusted: Vec<_> = trusted.into_iter().filter_map(Result::ok).collect();
    let (proxy, stranger) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([203, 0, 113, 9]));
    let unbelieved = Client::of(Some(stranger), &headers, &trusted);
    assert_eq!(unbelieved.address, Some(stranger));
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    assert_ne!(Some(unbelieved.request_id.as_str()), given);
    let believed = Client::of(Some(proxy), &headers, &trusted);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(&byte);
    assert!(believed.request_id.len() <= 128 && believed.request_id.bytes().all(plain));
    let Some(address) = believed.address.filter(|address| *address != proxy) else {
        return;
    };
    let stands_there = headers
        .iter()
        .filter_map(|(_, value)| value.to_str().ok())
        .any(|value| {
            let parts = value.split([',', ';', '=', '"', ' ', '\t', '[', ']']);
            parts.into_iter().any(|part| {
                let without_port = part.split_once(':').map_or(part, |(host, _)| host);
                [part, without_port]
                    .iter()
                    .filter_map(|part| part.parse::<IpAddr>().ok())
                    .any(|found| found.to_canonical() == address)
            })
        });
    assert!(stands_there, "{address} comes from nowhere");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_input_that_is_kept_holds() {
        identity_testkit::replay("core", super::TARGETS);
    }
}
