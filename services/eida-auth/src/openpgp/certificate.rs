//! Which keys of a certificate may sign messages, and until when: what its own signatures say, each
//! verified (RFC 9580, 5.2.1 and 10.1).

use std::fmt;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{KeyFlags, PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use pgp::types::{Fingerprint, KeyDetails, KeyId, KeyVersion, Tag};

use super::policy::{self, created};
use super::{Policy, Refused};

/// A primary key or a subkey of a trusted certificate.
#[derive(Debug, Clone)]
pub struct Key {
    material: Material,
    /// When it was made, in seconds since 1970.
    created: i64,
    /// When it ends to be good, if it does.
    ends: Option<i64>,
    /// Why it may not sign, if it may not.
    unusable: Option<Unusable>,
}

/// Why a key of the keyring may not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It, or the certificate that it belongs to, was revoked.
    Revoked,
    /// It has expired, or had when it signed, or was not made then.
    NotAlive,
    /// It is not meant for signing.
    MayNotSign,
    /// Nothing that counts says that it belongs to its certificate.
    NotBound,
    /// Its algorithm or its size is not accepted.
    Weak(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Revoked => "it was revoked",
            Self::NotAlive => "it has expired, or was not valid when it signed",
            Self::MayNotSign => "it is not meant for signing",
            Self::NotBound => "no accepted signature of its owner says what it may do",
            Self::Weak(why) => why,
        })
    }
}

#[derive(Debug, Clone)]
enum Material {
    Primary(PublicKey),
    Sub(PublicSubkey),
}

/// What a certificate's own signatures say of one of its keys.
#[derive(Debug, Clone)]
struct Standing {
    /// The span of its life in seconds, where it has one.
    life: Option<i64>,
    /// When the word of this signature ends itself.
    until: Option<i64>,
    flags: Option<KeyFlags>,
    said: i64,
}

impl Key {
    /// All keys of `certificate`, as they stand at the moment `now`: those that may not sign too, so that
    /// a refusal can tell why.
    pub(super) fn of(certificate: &SignedPublicKey, policy: Policy, now: i64) -> Vec<Self> {
        let primary = &certificate.primary_key;
        let born = i64::from(primary.created_at().as_secs());
        let standings = standings(certificate, policy, now);
        let revoked = is_revoked(certificate);
        let ends = end_of(&standings, born);
        let common = if revoked {
            Some(Unusable::Revoked)
        } else if primary.version() < KeyVersion::V4 {
            Some(Unusable::Weak("keys of its version are not accepted".to_owned()))
        } else if let Some(why) = policy::weakness(primary.public_params()) {
            Some(Unusable::Weak(why))
        } else if standings.is_empty() {
            Some(Unusable::NotBound)
        } else {
            None
        };
        let newest_flags = standings.iter().find_map(|standing| standing.flags.clone());
        let may_sign = newest_flags.is_some_and(|flags| flags.sign());
        let first = Self {
            material: Material::Primary(primary.clone()),
            created: born,
            ends,
            unusable: common.clone().or((!may_sign).then_some(Unusable::MayNotSign)),
        };
        let subkeys = certificate.public_subkeys.iter();
        let subkeys =
            subkeys.map(|subkey| Self::of_subkey(primary, subkey, common.clone(), ends, policy, now));
        std::iter::once(first).chain(subkeys).collect()
    }

    fn of_subkey(
        primary: &PublicKey,
        subkey: &SignedPublicSubKey,
        common: Option<Unusable>,
        primary_ends: Option<i64>,
        policy: Policy,
        now: i64,
    ) -> Self {
        let born = i64::from(subkey.key.created_at().as_secs());
        let of_kind = |kind: SignatureType| {
            subkey
                .signatures
                .iter()
                .filter(move |one| one.typ() == Some(kind))
        };
        let is_genuine =
            |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
        let binding = of_kind(SignatureType::SubkeyBinding)
            .filter(|binding| policy.flaw(binding, now).is_none())
            .filter(is_genuine)
            .max_by_key(|binding| created(binding));
        let standing = binding.map(Standing::of);
        let own_end = end_of(standing.as_slice(), born);
        let unusable = common.or_else(|| {
            if of_kind(SignatureType::SubkeyRevocation).any(|revocation| is_genuine(&revocation)) {
                return Some(Unusable::Revoked);
            }
            if let Some(why) = policy::weakness(subkey.key.public_params()) {
                return Some(Unusable::Weak(why));
            }
            let Some(binding) = binding else {
                return Some(Unusable::NotBound);
            };
            if !binding.key_flags().sign() {
                return Some(Unusable::MayNotSign);
            }
            // The subkey must agree, or anybody could pass off another's signing key as their own.
            let agreed = binding.embedded_signature().is_some_and(|back| {
                policy.flaw(back, now).is_none()
                    && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
            });
            (!agreed).then_some(Unusable::NotBound)
        });
        Self {
            material: Material::Sub(subkey.key.clone()),
            created: born,
            ends: earlier(primary_ends, own_end),
            unusable,
        }
    }

    /// Its fingerprint, in upper-case hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.details().fingerprint().to_string().to_uppercase()
    }

    /// Why it may not sign anything now, if it may not.
    #[must_use]
    pub fn unusable(&self, now: i64) -> Option<Unusable> {
        let unusable = self.unusable.clone();
        unusable.or_else(|| {
            self.ends
                .is_some_and(|end| end <= now)
                .then_some(Unusable::NotAlive)
        })
    }

    /// Whether a signature says that it is of this key.
    pub(super) fn is_named(&self, ids: &[&KeyId], fingerprints: &[&Fingerprint]) -> bool {
        let key = self.details();
        if fingerprints.is_empty() {
            ids.iter().any(|id| **id == key.legacy_key_id())
        } else {
            fingerprints
                .iter()
                .any(|fingerprint| **fingerprint == key.fingerprint())
        }
    }

    /// Verifies that this key made `signature` over `content`, and might, at the moment `now`.
    pub(super) fn verify(&self, signature: &Signature, content: &[u8], now: i64) -> Result<(), Refused> {
        let genuine = match &self.material {
            Material::Primary(key) => signature.verify(key, content),
            Material::Sub(key) => signature.verify(key, content),
        };
        genuine.map_err(|_| Refused::Forged)?;
        if let Some(unusable) = self.unusable(now) {
            return Err(Refused::Key(unusable));
        }
        let signed = created(signature);
        if signed < self.created || self.ends.is_some_and(|end| signed >= end) {
            return Err(Refused::Key(Unusable::NotAlive));
        }
        Ok(())
    }

    fn details(&self) -> &dyn KeyDetails {
        match &self.material {
            Material::Primary(key) => key,
            Material::Sub(key) => key,
        }
    }
}

impl Standing {
    fn of(signature: &Signature) -> Self {
        let life = signature
            .key_expiration_time()
            .map(|span| i64::from(span.as_secs()));
        let says_flags = signature.config().is_some_and(|config| {
            config
                .hashed_subpackets()
                .any(|part| matches!(part.data, SubpacketData::KeyFlags(_)))
        });
        Self {
            life: life.filter(|span| *span > 0),
            until: policy::expires(signature),
            flags: says_flags.then(|| signature.key_flags()),
            said: created(signature),
        }
    }
}

/// What the owner's newest signature over each name, and over the key itself, says; the newest first.
fn standings(certificate: &SignedPublicKey, policy: Policy, now: i64) -> Vec<Standing> {
    let primary = &certificate.primary_key;
    let details = &certificate.details;
    let direct = details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key)
            && policy.flaw(signature, now).is_none()
            && signature.verify_key(primary).is_ok()
    });
    let mut standings: Vec<Standing> = direct
        .max_by_key(|signature| created(signature))
        .map(Standing::of)
        .into_iter()
        .collect();
    for user in &details.users {
        let genuine = |signature: &&Signature| {
            signature
                .verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
        };
        let revoked = user
            .signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        let revoked = revoked.filter(genuine).map(created).max();
        let certified = user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation) && policy.flaw(signature, now).is_none()
        });
        let newest = certified
            .filter(genuine)
            .max_by_key(|signature| created(signature));
        standings.extend(
            newest
                .filter(|signature| revoked.is_none_or(|revoked| revoked < created(signature)))
                .map(Standing::of),
        );
    }
    standings.sort_by_key(|standing| std::cmp::Reverse(standing.said));
    standings
}

/// Any genuine revocation ends a key for good, whatever reason it gives and whichever hash it is over.
fn is_revoked(certificate: &SignedPublicKey) -> bool {
    let details = &certificate.details;
    let all = details
        .revocation_signatures
        .iter()
        .chain(&details.direct_signatures);
    all.filter(|signature| signature.typ() == Some(SignatureType::KeyRevocation))
        .any(|revocation| revocation.verify_key(&certificate.primary_key).is_ok())
}

/// The end of a key that was made at `born`: what the newest word that names one says.
fn end_of(standings: &[Standing], born: i64) -> Option<i64> {
    let life = standings
        .iter()
        .find_map(|standing| standing.life)
        .map(|span| born + span);
    let word = standings.first().and_then(|standing| standing.until);
    earlier(life, word)
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}
