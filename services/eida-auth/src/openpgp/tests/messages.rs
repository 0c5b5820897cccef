//! The shapes that messages may have.

use super::*;

fn packet(of: &impl PacketTrait) -> Vec<u8> {
    let mut bytes = Vec::new();
    of.to_writer_with_header(&mut bytes).unwrap();
    bytes
}

fn literal() -> Vec<u8> {
    packet(&LiteralData::from_bytes("", b"content"[..].into()).unwrap())
}

fn announced(hash: HashAlgorithm) -> Vec<u8> {
    let key = &OWNER.primary;
    packet(&OnePassSignature::v3(
        SignatureType::Binary,
        hash,
        key.algorithm(),
        key.legacy_key_id(),
    ))
}

/// A packet of compressed data whose compression is none.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = pgp::packet::PacketHeader::from_parts(
        PacketHeaderVersion::New,
        Tag::CompressedData,
        pgp::types::PacketLength::Fixed(u32::try_from(content.len() + 1).unwrap()),
    );
    pgp::ser::Serialize::to_writer(&header.unwrap(), &mut bytes).unwrap();
    bytes.push(0);
    bytes.extend(content);
    bytes
}

#[test]
fn two_shapes_are_known_and_no_other() {
    let signature = packet(&document().document(&OWNER.primary));
    let one_pass = [announced(HashAlgorithm::Sha256), literal(), signature.clone()].concat();
    let old = [signature.clone(), literal()].concat();
    for good in [&one_pass, &old, &stored(&one_pass), &stored(&old)] {
        let signed = parse(good).unwrap();
        assert_eq!(signed.content, b"content");
        let keys = Keys::of(&[usual()], STRICT, i64::from(NOW));
        assert!(keys.verify(signed, STRICT, i64::from(NOW)).is_ok());
    }
    for (bad, why) in [
        (stored(&stored(&one_pass)), "compressed within"),
        (
            [announced(HashAlgorithm::Sha512), literal(), signature.clone()].concat(),
            "another than was announced",
        ),
        (
            [signature.clone(), literal(), literal()].concat(),
            "others than those",
        ),
        ([one_pass.clone(), literal()].concat(), "more than one"),
        ([one_pass.clone(), one_pass.clone()].concat(), "more than one"),
        ([literal(), signature.clone()].concat(), "others than those"),
        (
            [signature.clone(), signature.clone()].concat(),
            "others than those",
        ),
        (
            [signature.clone(), stored(&literal())].concat(),
            "others than those",
        ),
        (literal(), "not signed"),
        (stored(&literal()), "not signed"),
        (signature.clone(), "without what is signed"),
        (stored(&[]), "others than those"),
        ([&one_pass[..], &[0xc2]].concat(), "more than one"),
        ([&old[..], &[0xc2]].concat(), "cannot be read"),
        ([&old[..], &[0x0a]].concat(), "cannot be read"),
    ] {
        let refused = parse(&bad).unwrap_err().to_string();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    for cut in 1..one_pass.len() {
        assert!(parse(&one_pass[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn cleartext_is_taken_apart_strictly() {
    let made = include_str!("../../../tests/messages/made/good/clear-sha256.asc");
    let signed = parse(made.as_bytes()).unwrap();
    assert!(signed.content.starts_with(b"{\"valid_until\"") && signed.content.ends_with(b"}"));
    let inside = |from: &str, to: &str| parse(made.replacen(from, to, 1).as_bytes());
    assert!(inside("Hash: SHA256", "Hash: SHA256\nHash: SHA512").is_ok());
    for (from, to) in [
        ("Hash: SHA256", "Comment: SHA256"),
        ("{\"valid_until\"", "-x\n{\"valid_until\""),
        (
            "{\"valid_until\"",
            "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n{\"valid_until\"",
        ),
        (
            "-----BEGIN PGP SIGNED MESSAGE-----",
            "-----BEGIN PGP SIGNED MESSAGE----- x",
        ),
        ("-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----"),
        ("-----END PGP SIGNATURE-----", ""),
    ] {
        assert!(inside(from, to).is_err(), "{to}");
    }
    // Escaped, and with blanks at the end, which are not signed.
    let escaped = inside("{\"valid_until\"", "- {\"valid_until\"").unwrap();
    assert_eq!(escaped.content, signed.content);
    assert_eq!(inside("\"}\n", "\"} \t\n").unwrap().content, signed.content);
}

/// Every good message with some bytes changed: it is refused, or says the very same.
fn changed(message: &[u8], changes: &[(usize, u8)]) {
    let made = include_bytes!("../../../tests/messages/made/geofon.gpg");
    let now = 1_790_000_000;
    let keys = Keys::of(&super::super::keyring::certificates(made).unwrap(), STRICT, now);
    let original = keys.verify(parse(message).unwrap(), STRICT, now).unwrap();
    let mut bytes = message.to_vec();
    for (place, byte) in changes {
        let place = place % bytes.len();
        bytes[place] = *byte;
    }
    if let Ok(signed) = parse(&bytes)
        && let Ok(verified) = keys.verify(signed, STRICT, now)
    {
        assert_eq!(verified.content, original.content);
        assert_eq!(verified.digest, original.digest);
    }
}

proptest! {
    #[test]
    fn a_changed_message_is_refused_or_says_the_same(changes in proptest::collection::vec((0..100_000_usize, any::<u8>()), 1..4)) {
        changed(include_bytes!("../../../tests/messages/made/good/none.gpg"), &changes);
        changed(include_bytes!("../../../tests/messages/made/good/zip.gpg"), &changes);
        changed(include_bytes!("../../../tests/messages/made/good/clear-sha256.asc"), &changes);
    }

    #[test]
    fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
        let _ = parse(&[&b"-----BEGIN PGP MESSAGE-----\n\n"[..], &bytes, b"\n-----END PGP MESSAGE-----\n"].concat());
        let _ = parse(&[&b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"[..], &bytes].concat());
    }
}
