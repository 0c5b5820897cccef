//! Which signatures count.

use super::*;

#[test]
fn a_signature_counts_for_its_time_only() {
    let certificate = usual();
    let at = |at: u32| {
        verified(
            &certificate,
            document().at(at).document(&OWNER.primary),
            STRICT,
            NOW,
        )
        .map(drop)
    };
    assert_eq!(at(NOW + 300), Ok(()));
    assert_eq!(at(NOW + 301), Err(Refused::Signature("it is from the future")));
    let lasting = |seconds: u32| {
        let end = regular(SubpacketData::SignatureExpirationTime(Duration::from_secs(
            seconds,
        )));
        verified(
            &certificate,
            document().with(end).document(&OWNER.primary),
            STRICT,
            NOW,
        )
        .map(drop)
    };
    assert_eq!(lasting(NOW - SIGNED + 1), Ok(()));
    assert_eq!(lasting(NOW - SIGNED), Err(Refused::Signature("it has expired")));
    assert_eq!(lasting(0), Ok(()), "without an end");
    // Only what is signed says when.
    let time = |at: u32| regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)));
    let timeless = document().beside(time(SIGNED)).undated(&OWNER.primary);
    let timeless = timeless
        .sign(&OWNER.primary, &Password::empty(), &b"content"[..])
        .unwrap();
    let expected = Err(Refused::Signature("it does not say when it was made"));
    assert_eq!(verified(&certificate, timeless, STRICT, NOW).map(drop), expected);
    let twice = document().with(time(SIGNED)).document(&OWNER.primary);
    assert_eq!(verified(&certificate, twice, STRICT, NOW).map(drop), expected);
}

#[test]
fn hashes_kinds_and_demands_are_those_that_count() {
    let certificate = usual();
    let outcome = |says: Says, policy: Policy| {
        verified(&certificate, says.document(&OWNER.primary), policy, NOW).map(drop)
    };
    for hash in [
        HashAlgorithm::Sha224,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ] {
        assert_eq!(outcome(document().by(hash), STRICT), Ok(()), "{hash}");
    }
    let weak = Err(Refused::Signature("its hash algorithm is not accepted"));
    assert_eq!(outcome(document().by(HashAlgorithm::Sha1), STRICT), weak);
    assert_eq!(outcome(document().by(HashAlgorithm::Sha1), LENIENT), Ok(()));
    for hash in [HashAlgorithm::Md5, HashAlgorithm::Ripemd160] {
        assert_eq!(outcome(document().by(hash), LENIENT), weak, "{hash}");
    }
    let found = verified(
        &certificate,
        document().by(HashAlgorithm::Sha1).document(&OWNER.primary),
        LENIENT,
        NOW,
    );
    assert!(found.unwrap().by_sha1);
    // A signature over a name or a key is none over a document.
    for signature in [
        certified().name(&OWNER),
        says(SignatureType::Key).key(&OWNER),
        bound().subkey(&OWNER),
    ] {
        let outcome = verified(&certificate, signature, STRICT, NOW).map(drop);
        assert_eq!(outcome, Err(Refused::Signature("it is not made over a document")));
    }
    let notation = || {
        SubpacketData::Notation(Notation {
            readable: true,
            name: "unknown@example.org".into(),
            value: "x".into(),
        })
    };
    let demand = Err(Refused::Signature("it demands what is not understood here"));
    assert_eq!(outcome(document().with(regular(notation())), STRICT), Ok(()));
    let critical = |data: SubpacketData| Subpacket::critical(data).unwrap();
    assert_eq!(outcome(document().with(critical(notation())), STRICT), demand);
    // Where rPGP itself would not sign them they stand outside of what is signed.
    for data in [
        notation(),
        SubpacketData::Other(99, vec![1].into()),
        SubpacketData::Experimental(101, vec![1].into()),
    ] {
        assert_eq!(outcome(document().beside(critical(data)), STRICT), demand);
    }
}

#[test]
fn only_the_key_that_is_named_is_tried() {
    let certificate = usual();
    let strange = document().document(&STRANGER.primary);
    assert_eq!(
        verified(&certificate, strange, STRICT, NOW),
        Err(Refused::Stranger)
    );
    // Named as the owner's, but not by the owner.
    let mut config = document().config(&STRANGER.primary);
    config.hashed_subpackets[1] = regular(SubpacketData::IssuerFingerprint(OWNER.primary.fingerprint()));
    let posing = config
        .sign(&STRANGER.primary, &Password::empty(), &b"content"[..])
        .unwrap();
    assert_eq!(verified(&certificate, posing, STRICT, NOW), Err(Refused::Forged));
    let mut config = document().config(&OWNER.primary);
    config.hashed_subpackets.remove(1);
    let nameless = config
        .sign(&OWNER.primary, &Password::empty(), &b"content"[..])
        .unwrap();
    assert_eq!(
        verified(&certificate, nameless, STRICT, NOW),
        Err(Refused::Stranger)
    );
    let mut config = document().config(&OWNER.primary);
    config.hashed_subpackets.remove(1);
    config.unhashed_subpackets = vec![regular(SubpacketData::IssuerKeyId(OWNER.primary.legacy_key_id()))];
    let by_id = config
        .sign(&OWNER.primary, &Password::empty(), &b"content"[..])
        .unwrap();
    assert!(verified(&certificate, by_id, STRICT, NOW).is_ok());
}

#[test]
fn the_digest_is_of_what_is_signed_only() {
    let certificate = usual();
    let digest = |says: Says| {
        verified(&certificate, says.document(&OWNER.primary), STRICT, NOW)
            .unwrap()
            .digest
    };
    let one = digest(document());
    assert_eq!(
        one,
        digest(document().beside(regular(SubpacketData::PolicyURI("https://example.org".into()))))
    );
    assert_ne!(one, digest(document().at(SIGNED + 1)));
    let by_subkey = verified(&certificate, document().document(&OWNER.subkey), STRICT, NOW).unwrap();
    assert_ne!(one, by_subkey.digest);
}
