//! RSA-PSS signatures with the longest salt that fits, as Python's `cryptography` makes them when
//! asked for the maximum. Only verified, never made: no private key comes near this crate's RSA.

use rsa::pkcs8::DecodePublicKey;
use rsa::sha2::{Digest, Sha256};
use rsa::traits::PublicKeyParts;
use rsa::{Pss, RsaPublicKey};

/// Whether `signature` is that of the key `pem` over `message`: SHA-256, MGF1 with SHA-256, and the
/// maximum salt (RFC 8017, 9.1: the encoded message's length less the digest's and 2).
#[must_use]
pub fn verify_max_salt(pem: &str, message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = RsaPublicKey::from_public_key_pem(pem) else {
        return false;
    };
    let encoded_length = (key.n().bits() - 1).div_ceil(8);
    let Some(salt_length) = encoded_length.checked_sub(Sha256::output_size() + 2) else {
        return false;
    };
    key.verify(
        Pss::new_with_salt::<Sha256>(salt_length),
        &Sha256::digest(message),
        signature,
    )
    .is_ok()
}
