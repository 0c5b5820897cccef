//! Signatures of notifications by the Standard Webhooks specification 1.0.0: HMAC-SHA-256 over
//! `{webhook-id}.{webhook-timestamp}.{body}`, in base64 behind `v1,`.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The lengths that the specification allows for a secret, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with one secret.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer with a secret written as `whsec_` and base64, or base64.
    ///
    /// # Errors
    /// What is expected of the secret.
    pub fn new(secret: &SecretString) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected whsec_ and base64, or base64, of 24 to 64 bytes";
        let text = secret.expose_secret();
        let unpadded = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
        let bytes = Zeroizing::new(BASE64_NOPAD.decode(unpadded.as_bytes()).map_err(|_| EXPECTED)?);
        if !LENGTHS.contains(&bytes.len()) {
            return Err(EXPECTED);
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| EXPECTED)
    }

    /// The value of `webhook-signature` for a message sent at `timestamp`, in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_public_library() {
        for secret in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            let signer = Signer::new(&secret.into()).unwrap();
            let theirs = standardwebhooks::Webhook::new(secret).unwrap();
            let expected = theirs
                .sign("msg_1", 1_614_265_330, b"{\"test\": 2432232314}")
                .unwrap();
            assert_eq!(
                signer.sign("msg_1", 1_614_265_330, "{\"test\": 2432232314}"),
                expected
            );
        }
    }
}
