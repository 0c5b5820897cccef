//! Secrets at rest against Fernet's specification and against its first implementation, Python's
//! `cryptography`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::process::{Command, Stdio};

use fernet::Fernet;
use identity_core::crypto::fernet::{KeyError, Keys, OpenError, Raw};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

/// The key of the specification's vectors, <https://github.com/fernet/spec>.
const SPECIFIED: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// 1985-10-26T01:20:00-07:00, the vectors' time.
const THEN: u64 = 499_162_800;

const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM=";

/// Made by Python's `cryptography` 50.0.2: key, place, plain text, token.
const OF_PYTHON: [(&str, &str, &str, &str); 3] = [
    (
        FIRST,
        "users/7/token",
        "hello",
        "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD2mEv2B4JfQUL1hlSzVYFGiL8PzqwfvsxSFMpAQDxqc5t2IVsxqcaG2hVFj88hj0NnKVQiSTU-\
         gbQ_WhvwMOHaqMWH7Hv-O4NqVMMwVXljlG",
    ),
    (
        FIRST,
        "users/7/token",
        "",
        "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD2mEv2B4JfQUL1hlSzVYFGiL8PzqwfvsxSFMpAQDxqc51FUjpCYrrr34d2QKoMSw95kRxesMzpSx\
         -4EGCaJYWW4Rt9Y6c-M3a0iDwmMgRzPY",
    ),
    (
        SECOND,
        "users/8/token",
        "geheim ✓ 🔑",
        "gAAAAABlU_EAAAECAwQFBgcICQoLDA0ODyxJxpL2rREuEXy1xE2MvaWgUMjc9xqF9Y5HQwB0vWVWFTdaLk9YPrPSCXSin5-Ksnc1EN1cg43j\
         _cCAuUiWfYXR7H1QBE2GlgeYS86etkCW",
    ),
];

fn keys(texts: &[&str]) -> Keys {
    let texts: Vec<SecretString> = texts.iter().map(|&text| text.into()).collect();
    Keys::parse(&texts, Raw::Refused).unwrap()
}

#[test]
fn the_specification_s_token_is_read() {
    let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    let fernet = Fernet::new(SPECIFIED).unwrap();
    assert_eq!(
        fernet.decrypt_at_time(token, Some(60), THEN + 1).unwrap(),
        b"hello"
    );
    assert_eq!(fernet.decrypt(token).unwrap(), b"hello");
    // It is bound to no place of ours.
    assert_eq!(keys(&[SPECIFIED]).open("anywhere", token).err(), Some(OpenError));
}

#[test]
fn the_specification_s_invalid_tokens_are_refused() {
    let fernet = Fernet::new(SPECIFIED).unwrap();
    for (what, token, after) in [
        (
            "incorrect mac",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            1,
        ),
        (
            "too short",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            1,
        ),
        (
            "invalid base64",
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            1,
        ),
        (
            "size of no whole blocks",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            1,
        ),
        (
            "wrong padding",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            1,
        ),
        (
            "from the far future",
            "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
            1,
        ),
        (
            "expired",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            91,
        ),
        (
            "incorrect initialisation vector",
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
            1,
        ),
    ] {
        assert!(
            fernet.decrypt_at_time(token, Some(60), THEN + after).is_err(),
            "{what}"
        );
        assert!(keys(&[SPECIFIED]).open("anywhere", token).is_err(), "{what}");
    }
}

#[test]
fn what_python_encrypted_is_read() {
    for (key, place, plain, token) in OF_PYTHON {
        let opened = keys(&[key]).open_text(place, token).unwrap();
        assert_eq!(opened.expose_secret(), plain);
        for several in [[FIRST, SECOND], [SECOND, FIRST]] {
            assert!(keys(&several).open(place, token).is_ok());
        }
        let other = if key == FIRST { SECOND } else { FIRST };
        assert_eq!(keys(&[other]).open(place, token).err(), Some(OpenError));
    }
}

/// Run by `cargo test -p identity-core --test fernet -- --ignored`, with `PYTHON` naming a Python
/// that has `cryptography`.
#[test]
#[ignore = "needs Python's cryptography"]
fn what_we_encrypt_python_reads() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_fernet.py");
    for plain in ["", "hello", "geheim ✓ 🔑", &"long ".repeat(1000)] {
        let token = keys(&[SECOND, FIRST]).seal("users/7/token", plain.as_bytes());
        let mut child = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{SECOND}\n{token}\nusers/7/token").unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), plain);
    }
}

#[test]
fn the_first_key_encrypts_and_all_decrypt() {
    let both = keys(&[SECOND, FIRST]);
    let sealed = both.seal("place", b"secret");
    assert!(keys(&[SECOND]).open("place", &sealed).is_ok());
    assert!(keys(&[FIRST]).open("place", &sealed).is_err());
    let of_old = keys(&[FIRST]).seal("place", b"secret");
    assert_eq!(both.open("place", &of_old).unwrap().as_slice(), b"secret");
    assert_ne!(sealed, both.seal("place", b"secret"), "each time anew");
}

#[test]
fn what_was_changed_or_moved_is_refused() {
    let keys = keys(&[FIRST]);
    let sealed = keys.seal("users/7/token", b"secret");
    for place in ["users/8/token", "users/7/token ", "", "users/7"] {
        assert_eq!(keys.open(place, &sealed).err(), Some(OpenError), "{place}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // Only what pads the last character may differ without a difference.
        assert!(keys.open("users/7/token", &changed).is_err(), "{at}");
        assert!(keys.open("users/7/token", &sealed[..at]).is_err(), "cut at {at}");
    }
    assert!(keys.open_text("place", &keys.seal("place", b"\xff\xfe")).is_err());
}

#[test]
fn keys_are_never_shown() {
    let keys = keys(&[FIRST, SECOND]);
    let shown = format!("{keys:?}");
    let fingerprints: Vec<_> = keys.fingerprints().collect();
    assert_eq!(shown, format!("{fingerprints:?}"));
    assert!(fingerprints.iter().all(|fingerprint| fingerprint.len() == 16));
    assert_ne!(fingerprints[0], fingerprints[1]);
}

#[test]
fn what_is_no_key_is_refused_by_its_position() {
    let parse = |texts: &[&str], raw| {
        let texts: Vec<SecretString> = texts.iter().map(|&text| text.into()).collect();
        Keys::parse(&texts, raw).err()
    };
    let raw = "01234567890123456789012345678901";
    assert_eq!(parse(&[], Raw::Accepted), Some(KeyError::Missing));
    assert_eq!(parse(&[FIRST, "x"], Raw::Accepted), Some(KeyError::Malformed(2)));
    assert_eq!(parse(&[raw], Raw::Refused), Some(KeyError::Malformed(1)));
    assert_eq!(parse(&[raw], Raw::Accepted), None);
    assert_eq!(parse(&[""], Raw::Accepted), Some(KeyError::Malformed(1)));
    for length in [31, 33] {
        assert_eq!(
            parse(&[&"a".repeat(length)], Raw::Accepted),
            Some(KeyError::Malformed(1))
        );
    }
}

proptest! {
    #[test]
    fn what_is_sealed_can_be_opened_at_its_place_only(
        plain in proptest::collection::vec(any::<u8>(), 0..200), place in ".*", other in ".*",
    ) {
        let keys = keys(&[FIRST]);
        let sealed = keys.seal(&place, &plain);
        let opened = keys.open(&place, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), &plain[..]);
        prop_assert_eq!(keys.open(&other, &sealed).is_ok(), other == place);
    }

    #[test]
    fn no_text_opens_or_breaks_anything(text in ".*") {
        prop_assert!(keys(&[FIRST]).open("place", &text).is_err());
        let parsed = Keys::parse(&[SecretString::from(text)], Raw::Accepted);
        prop_assert!(parsed.is_ok() || matches!(parsed, Err(KeyError::Malformed(1))));
    }
}
