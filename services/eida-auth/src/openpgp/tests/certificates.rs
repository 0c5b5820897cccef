//! What certificates say of their keys.

use super::*;

#[test]
fn a_primary_key_and_a_signing_subkey_sign() {
    let certificate = usual();
    let found = verified(&certificate, document().document(&OWNER.primary), STRICT, NOW).unwrap();
    assert_eq!(found.content, b"content");
    assert_eq!(found.signed_at, i64::from(SIGNED));
    assert_eq!(
        found.fingerprint,
        OWNER.primary.fingerprint().to_string().to_uppercase()
    );
    let found = verified(&certificate, document().document(&OWNER.subkey), STRICT, NOW).unwrap();
    assert_eq!(
        found.fingerprint,
        OWNER.subkey.fingerprint().to_string().to_uppercase()
    );
}

#[test]
fn a_subkey_must_be_bound_from_both_sides() {
    let sign = || says(SignatureType::SubkeyBinding).with(flags(true));
    let back = || says(SignatureType::KeyBinding);
    for (binding, expected) in [
        (vec![], Refused::Stranger),
        (vec![sign().subkey(&OWNER)], Refused::Key(Unusable::NotBound)),
        (
            vec![sign().with(back().back(&STRANGER)).subkey(&OWNER)],
            Refused::Key(Unusable::NotBound),
        ),
        (vec![bound().subkey(&STRANGER)], Refused::Key(Unusable::NotBound)),
        (
            vec![
                sign()
                    .with(back().by(HashAlgorithm::Sha1).back(&OWNER))
                    .subkey(&OWNER),
            ],
            Refused::Key(Unusable::NotBound),
        ),
        (
            vec![bound().by(HashAlgorithm::Sha1).subkey(&OWNER)],
            Refused::Key(Unusable::NotBound),
        ),
        (
            vec![bound().at(NOW + 400).subkey(&OWNER)],
            Refused::Key(Unusable::NotBound),
        ),
        (
            vec![
                says(SignatureType::SubkeyBinding)
                    .with(flags(false))
                    .with(back().back(&OWNER))
                    .subkey(&OWNER),
            ],
            Refused::Key(Unusable::MayNotSign),
        ),
        // The newest counts.
        (
            vec![
                bound().subkey(&OWNER),
                says(SignatureType::SubkeyBinding)
                    .with(flags(false))
                    .at(BORN + 1)
                    .subkey(&OWNER),
            ],
            Refused::Key(Unusable::MayNotSign),
        ),
        (
            vec![
                bound().subkey(&OWNER),
                says(SignatureType::SubkeyRevocation).subkey(&OWNER),
            ],
            Refused::Key(Unusable::Revoked),
        ),
        (
            vec![
                bound().subkey(&OWNER),
                says(SignatureType::SubkeyRevocation)
                    .by(HashAlgorithm::Sha1)
                    .at(NOW + DAY)
                    .subkey(&OWNER),
            ],
            Refused::Key(Unusable::Revoked),
        ),
        (
            vec![bound().with(life(150)).subkey(&OWNER)],
            Refused::Key(Unusable::NotAlive),
        ),
    ] {
        let certificate = OWNER.certificate(vec![certified().name(&OWNER)], vec![], binding);
        let [primary, subkey] = both(&certificate, STRICT, NOW);
        assert_eq!((primary, subkey), (Ok(()), Err(expected)));
    }
    let by_sha1 = bound().by(HashAlgorithm::Sha1).subkey(&OWNER);
    let certificate = OWNER.certificate(vec![certified().name(&OWNER)], vec![], vec![by_sha1]);
    assert_eq!(both(&certificate, LENIENT, NOW), [Ok(()), Ok(())]);
    // What others say of it does not matter.
    let by_another = says(SignatureType::SubkeyRevocation).subkey(&STRANGER);
    let certificate = OWNER.certificate(
        vec![certified().name(&OWNER)],
        vec![],
        vec![bound().subkey(&OWNER), by_another],
    );
    assert_eq!(both(&certificate, STRICT, NOW), [Ok(()), Ok(())]);
}

#[test]
fn a_certificate_must_speak_for_itself() {
    let none = vec![certified().name(&STRANGER)];
    for certification in [
        none,
        vec![certified().by(HashAlgorithm::Sha1).name(&OWNER)],
        vec![certified().by(HashAlgorithm::Md5).name(&OWNER)],
    ] {
        let certificate = OWNER.certificate(certification, vec![], vec![bound().subkey(&OWNER)]);
        assert_eq!(
            both(&certificate, STRICT, NOW),
            [unusable(Unusable::NotBound), unusable(Unusable::NotBound)]
        );
    }
    let old = OWNER.certificate(
        vec![certified().by(HashAlgorithm::Sha1).name(&OWNER)],
        vec![],
        vec![bound().subkey(&OWNER)],
    );
    assert_eq!(both(&old, LENIENT, NOW), [Ok(()), Ok(())]);
    // By a signature over the key itself, without any name.
    let direct = says(SignatureType::Key).with(flags(true)).key(&OWNER);
    let nameless = OWNER.certificate(vec![], vec![direct], vec![bound().subkey(&OWNER)]);
    assert_eq!(both(&nameless, STRICT, NOW), [Ok(()), Ok(())]);
    // A name that is revoked says nothing any more.
    let revoked = says(SignatureType::CertRevocation).at(BORN + 1).name(&OWNER);
    let certificate = OWNER.certificate(
        vec![certified().name(&OWNER), revoked.clone()],
        vec![],
        vec![bound().subkey(&OWNER)],
    );
    assert_eq!(
        both(&certificate, STRICT, NOW),
        [unusable(Unusable::NotBound), unusable(Unusable::NotBound)]
    );
    let again = certified().at(BORN + 2).name(&OWNER);
    let certificate = OWNER.certificate(vec![revoked, again], vec![], vec![bound().subkey(&OWNER)]);
    assert_eq!(both(&certificate, STRICT, NOW), [Ok(()), Ok(())]);
    // It may not sign, but its subkey may.
    let certifier = says(SignatureType::CertPositive).with(flags(false)).name(&OWNER);
    let certificate = OWNER.certificate(vec![certifier.clone()], vec![], vec![bound().subkey(&OWNER)]);
    assert_eq!(
        both(&certificate, STRICT, NOW),
        [unusable(Unusable::MayNotSign), Ok(())]
    );
    let changed = certified().at(BORN - 1).name(&OWNER);
    let certificate = OWNER.certificate(vec![changed, certifier], vec![], vec![bound().subkey(&OWNER)]);
    assert_eq!(
        both(&certificate, STRICT, NOW)[0],
        unusable(Unusable::MayNotSign),
        "the newest counts"
    );
}

#[test]
fn a_revocation_ends_everything_whatever_its_reason_and_hash() {
    for revocation in [
        says(SignatureType::KeyRevocation),
        says(SignatureType::KeyRevocation).by(HashAlgorithm::Sha1),
        says(SignatureType::KeyRevocation).at(NOW + DAY),
    ] {
        let certificate = OWNER.certificate(
            vec![certified().name(&OWNER)],
            vec![revocation.key(&OWNER)],
            vec![bound().subkey(&OWNER)],
        );
        assert_eq!(
            both(&certificate, STRICT, NOW),
            [unusable(Unusable::Revoked), unusable(Unusable::Revoked)]
        );
    }
    let by_another = says(SignatureType::KeyRevocation).key(&STRANGER);
    let certificate = OWNER.certificate(
        vec![certified().name(&OWNER)],
        vec![by_another],
        vec![bound().subkey(&OWNER)],
    );
    assert_eq!(both(&certificate, STRICT, NOW), [Ok(()), Ok(())]);
}

#[test]
fn a_key_must_live_when_it_signs_and_now() {
    let living = |days: u32| {
        OWNER.certificate(
            vec![certified().with(life(days)).name(&OWNER)],
            vec![],
            vec![bound().subkey(&OWNER)],
        )
    };
    let dead = || unusable(Unusable::NotAlive);
    assert_eq!(both(&living(201), STRICT, NOW), [Ok(()), Ok(())]);
    assert_eq!(both(&living(200), STRICT, NOW), [dead(), dead()]);
    assert_eq!(both(&living(0), STRICT, NOW), [Ok(()), Ok(())], "no end");
    // A life that was made longer, or shorter.
    let longer = certified().with(life(300)).at(SIGNED).name(&OWNER);
    let first = certified().with(life(150)).name(&OWNER);
    let certificate = OWNER.certificate(vec![longer, first.clone()], vec![], vec![bound().subkey(&OWNER)]);
    assert_eq!(both(&certificate, STRICT, NOW), [Ok(()), Ok(())]);
    let shorter = certified().with(life(120)).at(SIGNED).name(&OWNER);
    let certificate = OWNER.certificate(vec![first, shorter], vec![], vec![bound().subkey(&OWNER)]);
    assert_eq!(both(&certificate, STRICT, NOW), [dead(), dead()]);
    // Signed before the key was made, or at its end.
    let certificate = living(201);
    let early = document().at(BORN - 1).document(&OWNER.primary);
    assert_eq!(
        verified(&certificate, early, STRICT, NOW),
        Err(Refused::Key(Unusable::NotAlive))
    );
    let end = BORN + 201 * DAY;
    let last = document().at(end - 1).document(&OWNER.primary);
    assert!(verified(&certificate, last, STRICT, end - 200).is_ok());
    let late = document().at(end).document(&OWNER.primary);
    assert_eq!(
        verified(&certificate, late, STRICT, end - 200),
        Err(Refused::Key(Unusable::NotAlive))
    );
}

#[test]
fn a_key_shows_its_fingerprint_and_why_it_may_not_sign() {
    let keys = Key::of(&usual(), STRICT, i64::from(NOW));
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0].fingerprint().len(), 40);
    assert_eq!(keys[0].unusable(i64::from(NOW)), None);
}
