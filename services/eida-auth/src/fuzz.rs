//! What `fuzz/` feeds with any bytes, and the tests with the inputs that are kept: readers of strangers'
//! input, each with what must hold of whatever it accepts. Not in what is built and shipped.
#![expect(clippy::missing_panics_doc, reason = "by a panic a target says what it found")]

use std::sync::OnceLock;

use crate::mappings::model::COLUMNS;
use crate::mappings::read_csv;
use crate::openpgp::keyring::certificates;
use crate::openpgp::{Keys, Policy, Refused, parse};
use crate::tokens::Content;

/// What a target does with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("eida_auth_token", token),
    ("eida_auth_keyring", keyring),
    ("eida_auth_mapping", mapping),
];

const POLICY: Policy = Policy { accept_sha1: true };
const NOW: i64 = 1_790_000_000;

fn trusted() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let bytes = include_bytes!("../../../fuzz/keys/openpgp.asc");
        Keys::of(&certificates(bytes).unwrap_or_default(), POLICY, NOW)
    })
}

/// What is posted to `/`: read in bounds or refused; by a key of ours is accepted what that key has signed
/// and nothing else, and by no key nothing is.
pub fn token(data: &[u8]) {
    let _ = Content::read(data);
    let Ok(signed) = parse(data) else { return };
    assert!(signed.content.len() <= 1 << 20);
    if let Ok(content) = Content::read(&signed.content) {
        assert!(content.memberships.len() <= 1000);
        let is_path = |path: &String| {
            !path.is_empty() && path.len() <= 1000 && path.trim() == path && !path.contains(';')
        };
        assert!(content.memberships.iter().all(is_path));
    }
    let Ok(again) = parse(data) else {
        panic!("read once more it is refused")
    };
    let stranger = Keys::default().verify(again, POLICY, NOW);
    assert!(matches!(stranger, Err(Refused::Stranger | Refused::Signature(_))));
    let Ok(verified) = trusted().verify(signed, POLICY, NOW) else {
        return;
    };
    // All that the key has ever signed begins and ends like this.
    let text = String::from_utf8_lossy(&verified.content);
    assert!(
        text.contains("\"valid_until\"") && text.contains("/epos/fuzz"),
        "{text}"
    );
    assert!(verified.signed_at <= NOW);
}

/// A file of the keyring: what is read of it are certificates, each with a fingerprint, and none verifies
/// what ours has signed unless it is ours.
pub fn keyring(data: &[u8]) {
    let Ok(found) = certificates(data) else { return };
    assert!(!found.is_empty());
    let keys = Keys::of(&found, POLICY, NOW);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(
        keys.iter()
            .all(|key| key.fingerprint().len() >= 32 && is_hex(&key.fingerprint()))
    );
    let message = include_bytes!("../../../fuzz/corpora/eida_auth_token/signed.asc");
    let Ok(signed) = parse(message) else {
        panic!("our own message cannot be read")
    };
    if let Ok(verified) = keys.verify(signed, POLICY, NOW) {
        let is_ours = trusted()
            .iter()
            .any(|key| key.fingerprint() == verified.fingerprint);
        assert!(is_ours, "{} has not signed it", verified.fingerprint);
    }
}

/// A file of mappings: written and read again it is the same.
pub fn mapping(data: &[u8]) {
    let Ok(mappings) = read_csv(data) else { return };
    let mut written = csv::Writer::from_writer(Vec::new());
    let header = written.write_record(COLUMNS);
    let rows = mappings
        .iter()
        .try_for_each(|mapping| written.write_record(mapping.fields()));
    assert!(header.is_ok() && rows.is_ok());
    let bytes = written.into_inner().unwrap_or_default();
    assert_eq!(
        read_csv(&bytes[..]),
        Ok(mappings),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_input_that_is_kept_holds() {
        identity_testkit::replay("eida_auth", super::TARGETS);
    }
}
