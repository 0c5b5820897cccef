//! Certificates and messages that no gpg makes, against the rules.
mod certificates;
mod messages;
mod signatures;

use std::sync::LazyLock;

use pgp::composed::{
    KeyType, SecretKeyParamsBuilder, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey,
    SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, LiteralData, Notation, OnePassSignature, PacketTrait, SecretKey, SecretSubkey, Signature,
    SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::types::{
    Duration, KeyDetails, PacketHeaderVersion, Password, SignedUser, SigningKey, Tag, Timestamp,
};
use proptest::prelude::*;
use rand::rngs::OsRng;

use super::certificate::Key;
use super::{Keys, Policy, Refused, Signed, Unusable, Verified, parse};

const DAY: u32 = 86_400;
/// When keys are made, when they sign, and when it is looked at.
const BORN: u32 = 1_600_000_000;
const SIGNED: u32 = BORN + 100 * DAY;
const NOW: u32 = BORN + 200 * DAY;
const STRICT: Policy = Policy { accept_sha1: false };
const LENIENT: Policy = Policy { accept_sha1: true };

struct Owner {
    primary: SecretKey,
    subkey: SecretSubkey,
    id: UserId,
}

static OWNER: LazyLock<Owner> = LazyLock::new(|| Owner::new(KeyType::Rsa(2048)));
static STRANGER: LazyLock<Owner> = LazyLock::new(|| Owner::new(KeyType::Ed25519Legacy));

impl Owner {
    fn new(kind: KeyType) -> Self {
        let born = Timestamp::from_secs(BORN);
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(kind.clone()).can_sign(true).created_at(born);
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(kind)
            .can_certify(true)
            .can_sign(true)
            .created_at(born)
            .primary_user_id("Owner <owner@example.org>".to_owned())
            .subkey(subkey.build().unwrap());
        let key = parameters.build().unwrap().generate(OsRng).unwrap();
        Self {
            id: key.details.users[0].id.clone(),
            subkey: key.secret_subkeys[0].key.clone(),
            primary: key.primary_key,
        }
    }

    /// The certificate with these parts.
    fn certificate(
        &self,
        certification: Vec<Signature>,
        direct: Vec<Signature>,
        binding: Vec<Signature>,
    ) -> SignedPublicKey {
        let users = vec![SignedUser::new(self.id.clone(), certification)];
        let (revocations, direct) = direct
            .into_iter()
            .partition(|signature| signature.typ() == Some(SignatureType::KeyRevocation));
        let subkey = SignedPublicSubKey::new(self.subkey.public_key().clone(), binding);
        SignedPublicKey::new(
            self.primary.public_key().clone(),
            SignedKeyDetails::new(revocations, direct, users, Vec::new()),
            vec![subkey],
        )
    }
}

/// What is signed beside the thing itself.
#[derive(Clone)]
struct Says {
    kind: SignatureType,
    hash: HashAlgorithm,
    at: u32,
    hashed: Vec<Subpacket>,
    unhashed: Vec<Subpacket>,
}

fn regular(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).unwrap()
}

fn flags(sign: bool) -> Subpacket {
    let mut flags = KeyFlags::default();
    flags.set_sign(sign);
    flags.set_certify(true);
    regular(SubpacketData::KeyFlags(flags))
}

fn life(days: u32) -> Subpacket {
    regular(SubpacketData::KeyExpirationTime(Duration::from_secs(days * DAY)))
}

fn says(kind: SignatureType) -> Says {
    Says {
        kind,
        hash: HashAlgorithm::Sha256,
        at: BORN,
        hashed: Vec::new(),
        unhashed: Vec::new(),
    }
}

impl Says {
    fn with(mut self, part: Subpacket) -> Self {
        self.hashed.push(part);
        self
    }

    fn beside(mut self, part: Subpacket) -> Self {
        self.unhashed.push(part);
        self
    }

    fn by(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }

    fn at(mut self, at: u32) -> Self {
        self.at = at;
        self
    }

    fn config(&self, signer: &impl SigningKey) -> SignatureConfig {
        let mut config = self.undated(signer);
        let at = SubpacketData::SignatureCreationTime(Timestamp::from_secs(self.at));
        config.hashed_subpackets.insert(0, regular(at));
        config
    }

    fn undated(&self, signer: &impl SigningKey) -> SignatureConfig {
        let mut config = SignatureConfig::v4(self.kind, signer.algorithm(), self.hash);
        config.hashed_subpackets = vec![regular(SubpacketData::IssuerFingerprint(signer.fingerprint()))];
        config.hashed_subpackets.extend(self.hashed.clone());
        config.unhashed_subpackets.clone_from(&self.unhashed);
        config
    }

    /// Over the owner's name.
    fn name(&self, signer: &Owner) -> Signature {
        let owner = &*OWNER;
        self.config(&signer.primary)
            .sign_certification_third_party(
                &signer.primary,
                &Password::empty(),
                owner.primary.public_key(),
                Tag::UserId,
                &owner.id,
            )
            .unwrap()
    }

    /// Over the owner's primary key.
    fn key(&self, signer: &Owner) -> Signature {
        let key = OWNER.primary.public_key();
        self.config(&signer.primary)
            .sign_key(&signer.primary, &Password::empty(), key)
            .unwrap()
    }

    /// Over the owner's subkey.
    fn subkey(&self, signer: &Owner) -> Signature {
        let config = self.config(&signer.primary);
        let (primary, subkey) = (OWNER.primary.public_key(), OWNER.subkey.public_key());
        config
            .sign_subkey_binding(&signer.primary, primary, &Password::empty(), subkey)
            .unwrap()
    }

    /// By a subkey over the owner's primary key.
    fn back(&self, signer: &Owner) -> Subpacket {
        let config = self.config(&signer.subkey);
        let (primary, subkey) = (OWNER.primary.public_key(), signer.subkey.public_key());
        let back = config
            .sign_primary_key_binding(&signer.subkey, subkey, &Password::empty(), primary)
            .unwrap();
        regular(SubpacketData::EmbeddedSignature(Box::new(back)))
    }

    /// Over a document.
    fn document(&self, signer: &impl SigningKey) -> Signature {
        self.config(signer)
            .sign(signer, &Password::empty(), &b"content"[..])
            .unwrap()
    }
}

fn certified() -> Says {
    says(SignatureType::CertPositive).with(flags(true))
}

fn bound() -> Says {
    says(SignatureType::SubkeyBinding)
        .with(flags(true))
        .with(says(SignatureType::KeyBinding).back(&OWNER))
}

fn usual() -> SignedPublicKey {
    OWNER.certificate(
        vec![certified().name(&OWNER)],
        vec![],
        vec![bound().subkey(&OWNER)],
    )
}

fn document() -> Says {
    says(SignatureType::Binary).at(SIGNED)
}

fn verified(
    certificate: &SignedPublicKey,
    signature: Signature,
    policy: Policy,
    now: u32,
) -> Result<Verified, Refused> {
    let keys = Keys::of(std::slice::from_ref(certificate), policy, i64::from(now));
    let signed = Signed {
        content: b"content".to_vec(),
        signature,
    };
    keys.verify(signed, policy, i64::from(now))
}

/// What becomes of a message by the primary key, and of one by the subkey.
fn both(certificate: &SignedPublicKey, policy: Policy, now: u32) -> [Result<(), Refused>; 2] {
    [
        verified(certificate, document().document(&OWNER.primary), policy, now).map(drop),
        verified(certificate, document().document(&OWNER.subkey), policy, now).map(drop),
    ]
}

fn unusable(why: Unusable) -> Result<(), Refused> {
    Err(Refused::Key(why))
}
