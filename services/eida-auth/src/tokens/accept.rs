//! From a body, or a bearer token, to a token that is genuine and valid now, or to why it is refused.

use data_encoding::BASE64URL_NOPAD;
use identity_core::clock::Clock;
use identity_core::crypto::issuer::Issuers;
use identity_core::crypto::jwt;
use identity_core::metrics::Metrics;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use sha2::{Digest, Sha256};

use super::model::{Content, Token, TokenId, Unreadable, memberships};
use crate::openpgp::{self, Keyring, Refused};

/// Tells good tokens from bad. Clones share keys.
#[derive(Debug, Clone)]
pub struct Acceptor {
    /// The keys that sign `OpenPGP` tokens.
    pub keyring: Keyring,
    /// The new EAS, where it is known.
    pub issuers: Issuers,
    /// The claim of its tokens with the memberships.
    pub memberships_claim: String,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub counts: Counts,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As `OpenPGP`.
    OpenPgp(Refused),
    /// As a JWT.
    Jwt,
    /// It is genuine, but says nothing that can be read.
    Content(Unreadable),
    /// It is genuine, but over.
    Expired(Timestamp),
}

/// What is counted of tokens.
#[derive(Debug, Clone)]
pub struct Counts {
    accepted: Counter,
    by_sha1: Counter,
    refused: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Counts {
    /// Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let refused = Family::default();
        metrics.register(
            "tokens_refused",
            "Tokens that were refused, by the reason",
            &refused,
        );
        Self {
            accepted: metrics.counter("tokens_accepted", "Tokens that were genuine and valid"),
            by_sha1: metrics.counter(
                "tokens_sha1",
                "Accepted tokens whose signature is over a SHA-1 digest",
            ),
            refused,
        }
    }

    fn refuse(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::OpenPgp(refused) => refused.kind(),
            Refusal::Jwt => "jwt",
            Refusal::Content(_) => "content",
            Refusal::Expired(_) => "expired",
        };
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}

impl Acceptor {
    /// The token in `bearer`, where there is one, or else in `body`.
    ///
    /// # Errors
    /// [`Refusal`], saying why.
    pub async fn accept(&self, body: &[u8], bearer: Option<&str>) -> Result<Token, Refusal> {
        let accepted = match bearer.or_else(|| jwt_in(body)) {
            Some(text) => self.of_jwt(text).await,
            None => self.of_openpgp(body).await,
        };
        match &accepted {
            Ok(_) => {
                self.counts.accepted.inc();
            }
            Err(refusal) => self.counts.refuse(refusal),
        }
        accepted
    }

    /// The digest of an `OpenPGP` token that is genuine, whether or not it is still valid.
    ///
    /// # Errors
    /// [`Refused`], saying why it is none.
    pub fn identify(&self, body: &[u8]) -> Result<TokenId, Refused> {
        let verified = openpgp::parse(body).and_then(|signed| self.keyring.verify(signed));
        verified.map(|verified| TokenId(verified.digest))
    }

    async fn of_openpgp(&self, body: &[u8]) -> Result<Token, Refusal> {
        let mut verified = openpgp::parse(body).and_then(|signed| self.keyring.verify(signed));
        // Its key may have been put into the keyring just now.
        if matches!(verified, Err(Refused::Stranger)) && self.keyring.refresh().await == Ok(true) {
            verified = openpgp::parse(body).and_then(|signed| self.keyring.verify(signed));
        }
        let verified = verified.map_err(Refusal::OpenPgp)?;
        let content = Content::read(&verified.content).map_err(Refusal::Content)?;
        if !content.is_valid(self.clock.now()) {
            return Err(Refusal::Expired(content.valid_until));
        }
        if verified.by_sha1 {
            self.counts.by_sha1.inc();
        }
        Ok(Token {
            id: TokenId(verified.digest),
            content,
            voucher: verified.fingerprint,
        })
    }

    async fn of_jwt(&self, text: &str) -> Result<Token, Refusal> {
        let now = self.clock.now();
        let issuer = self.issuers.issuer_of(text).ok_or(Refusal::Jwt)?;
        // The new EAS signs so; another algorithm of its keys would be somebody else's token.
        if jwt::header(text).map_err(|_| Refusal::Jwt)?.algorithm != "RS256" {
            return Err(Refusal::Jwt);
        }
        let claims = match issuer.verify(text, now).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::info!(%error, "a JWT is not accepted");
                // Users shall be told when their token expired, but only of a token that was good then.
                let end = end_of_jwt(text).filter(|end| *end <= now).ok_or(Refusal::Jwt)?;
                let before = end - SignedDuration::from_secs(1);
                issuer.verify(text, before).await.map_err(|_| Refusal::Jwt)?;
                return Err(Refusal::Expired(end));
            }
        };
        let named = claims.own.get(&self.memberships_claim);
        let content = Content {
            valid_until: claims.expires_at,
            memberships: memberships(named).map_err(Refusal::Content)?,
        };
        if !content.is_valid(now) {
            return Err(Refusal::Expired(content.valid_until));
        }
        Ok(Token {
            // What the signature is made over, in the one form that it has.
            id: TokenId(
                Sha256::new()
                    .chain_update("eida-auth jwt\0")
                    .chain_update(text.rsplit_once('.').map_or(text, |(signed, _)| signed))
                    .finalize()
                    .into(),
            ),
            content,
            voucher: claims.issuer,
        })
    }
}

/// The `exp` of a JWT, unverified.
fn end_of_jwt(text: &str) -> Option<Timestamp> {
    let payload = BASE64URL_NOPAD.decode(text.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

/// A body that is a JWT: three parts of base64url, of which the first begins as `{"` does.
fn jwt_in(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body.trim_ascii()).ok()?;
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let shaped = text.starts_with("eyJ") && text.matches('.').count() == 2 && text.bytes().all(is_base64url);
    shaped.then_some(text)
}
