//! Which hashes, algorithms and subpackets count. Pure rules, used for messages and for certificates.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureVersion, Subpacket, SubpacketData};
use pgp::types::{EcdsaPublicParams, PublicParams};
use rsa::traits::PublicKeyParts;

/// The shortest RSA modulus and DSA prime, in bits.
const SHORTEST: usize = 2048;
/// How far in the future a moment may lie, in seconds: clocks differ.
pub(super) const TOLERANCE: i64 = 300;

/// What can be chosen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether signatures over SHA-1 digests count (`accept_sha1`).
    pub accept_sha1: bool,
}

impl Policy {
    /// Whether signatures over digests of `algorithm` count: SHA-2 and SHA-3, SHA-1 if that is accepted.
    pub(super) fn accepts(self, algorithm: Option<HashAlgorithm>) -> bool {
        match algorithm {
            Some(
                HashAlgorithm::Sha224
                | HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512,
            ) => true,
            Some(HashAlgorithm::Sha1) => self.accept_sha1,
            _ => false,
        }
    }

    /// What is wrong with a signature by itself, at the moment `now` (seconds since 1970): its
    /// version, hash, times, and what it demands to be understood. Not its kind, and not whether it
    /// is genuine.
    pub(super) fn flaw(self, signature: &Signature, now: i64) -> Option<&'static str> {
        if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
            return Some("its version is not accepted");
        }
        if !self.accepts(signature.hash_alg()) {
            return Some("its hash algorithm is not accepted");
        }
        let Some(config) = signature.config() else {
            return Some("it cannot be read");
        };
        if config
            .hashed_subpackets()
            .chain(config.unhashed_subpackets())
            .any(|subpacket| subpacket.is_critical && !is_known(subpacket))
        {
            return Some("it demands what is not understood here");
        }
        // Which of two would count, programs do not agree on.
        let times =
            |is: fn(&SubpacketData) -> bool| config.hashed_subpackets().filter(|part| is(&part.data)).count();
        if times(|data| matches!(data, SubpacketData::SignatureCreationTime(_))) != 1
            || times(|data| matches!(data, SubpacketData::SignatureExpirationTime(_))) > 1
        {
            return Some("it does not say when it was made");
        }
        let created = created(signature);
        if created > now + TOLERANCE {
            return Some("it is from the future");
        }
        if expires(signature).is_some_and(|end| end <= now) {
            return Some("it has expired");
        }
        None
    }
}

/// When a signature was made, in seconds since 1970; long ago where it does not say.
pub(super) fn created(signature: &Signature) -> i64 {
    signature
        .created()
        .map_or(0, |created| i64::from(created.as_secs()))
}

/// When a signature ends to count, if it does.
pub(super) fn expires(signature: &Signature) -> Option<i64> {
    let span = signature.signature_expiration_time()?.as_secs();
    (span > 0).then(|| created(signature) + i64::from(span))
}

/// What is wrong with the algorithm and size of a key.
pub(super) fn weakness(key: &PublicParams) -> Option<String> {
    match key {
        PublicParams::RSA(rsa) => {
            let bits = rsa.key.n().bits();
            (bits < SHORTEST).then(|| format!("an RSA key of {bits} bits is too short"))
        }
        PublicParams::DSA(dsa) => {
            let bits = dsa.key.components().p().bits();
            (bits < SHORTEST).then(|| format!("a DSA key of {bits} bits is too short"))
        }
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. }) => {
            Some("its curve is not known here".to_owned())
        }
        PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => None,
        _ => Some("its algorithm does not sign, or is not known here".to_owned()),
    }
}

/// Subpackets that are understood, or that can be passed over whatever they say.
fn is_known(subpacket: &Subpacket) -> bool {
    !matches!(
        subpacket.data,
        SubpacketData::Notation(_)
            | SubpacketData::RegularExpression(_)
            | SubpacketData::IntendedRecipientFingerprint(_)
            | SubpacketData::SignatureTarget(..)
            | SubpacketData::Experimental(..)
            | SubpacketData::Other(..)
    )
}
