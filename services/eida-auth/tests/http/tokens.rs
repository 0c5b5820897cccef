//! Messages that the real gpg made, in every form, good and bad.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use identity_testkit::TestService;

use crate::EIDA;
use crate::signer::{answer, connect, count, map};

/// Messages that are kept with the tests.
const MADE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/made");

/// What is wrong with each of the bad messages, as the refusal says it.
const BAD: &[(&str, &str)] = &[
    ("bomb.gpg", "too large when it is decompressed"),
    (
        "certifier.asc",
        "the key that signed is not accepted: it is not meant for signing",
    ),
    ("changed-clear.asc", "the signature is not valid"),
    ("changed.gpg", "the signature is not valid"),
    ("content-endless.asc", "valid_until"),
    ("content-expired.asc", "expired at 2023-12-31T12:00:00Z"),
    ("content-text.asc", "not a JSON object"),
    ("content-twice.asc", "not a JSON object"),
    ("critical-notation.asc", "it demands what is not understood here"),
    ("detached.asc", "a signature without what is signed"),
    ("encrypted.asc", "others than those of a signed message"),
    ("from-the-future.asc", "it is from the future"),
    (
        "key-expired-since.asc",
        "it has expired, or was not valid when it signed",
    ),
    ("not-signed.asc", "it is not signed"),
    ("revoked.asc", "it was revoked"),
    ("ripemd160.asc", "its hash algorithm is not accepted"),
    (
        "signature-expired.asc",
        "the signature is not accepted: it has expired",
    ),
    ("stranger.asc", "not signed by a trusted key"),
    (
        "subkey-expired-since.asc",
        "it has expired, or was not valid when it signed",
    ),
    ("subrevoked.asc", "it was revoked"),
    ("text-after.asc", "cannot be read"),
    ("text-before.asc", "not an OpenPGP message"),
    ("truncated-clear.asc", "cannot be read"),
    ("truncated.asc", "cannot be read"),
    ("two-messages-clear.asc", "cannot be read"),
    ("two-messages.gpg", "something follows it"),
    ("two-signatures-clear.asc", "more than one signature"),
    ("two-signatures.asc", "more than one signature"),
    ("weak.asc", "an RSA key of 1024 bits is too short"),
];

fn messages(made: &Path, folder: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(made.join(folder)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

async fn instance(made: &Path, settings: &[&str]) -> TestService {
    let keyring = format!("keyring={}", made.join("keys").display());
    let settings: Vec<&str> = std::iter::once(keyring.as_str())
        .chain(settings.iter().copied())
        .collect();
    let eida = EIDA.start(&settings).await;
    map(&connect(&eida).await, "/epos/alparray", "Z3", 2015, 2022).await;
    eida
}

async fn post(eida: &TestService, path: &Path) -> (u16, String) {
    let (status, text) = answer(eida, std::fs::read(path).unwrap()).await;
    (status.as_u16(), text)
}

/// Good messages are accepted, bad ones refused for what is wrong with them.
async fn all_messages(made: &Path) {
    let eida = instance(made, &[]).await;
    let mut accepted = 0;
    for message in messages(made, "good") {
        let (status, text) = post(&eida, &message).await;
        let expected = if name(&message) == "no-memberships.asc" {
            403
        } else {
            200
        };
        assert_eq!(status, expected, "{}: {text}", name(&message));
        accepted += i64::from(status == 200);
    }
    let bad = messages(made, "bad");
    let names: Vec<&str> = bad.iter().map(|path| name(path)).collect();
    let listed: Vec<&str> = BAD.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
    for (message, (_, why)) in bad.iter().zip(BAD) {
        let (status, text) = post(&eida, message).await;
        assert_eq!(status, 415, "{}: {text}", name(message));
        assert!(text.contains(why), "{}: {text}", name(message));
        assert!(
            !text.contains("Doe"),
            "a refusal shows nothing of the message: {text}"
        );
    }
    for message in messages(made, "sha1") {
        let (status, text) = post(&eida, &message).await;
        assert_eq!(status, 415, "{}: {text}", name(&message));
        assert!(text.contains("its hash algorithm is not accepted"), "{text}");
    }
    assert_eq!(count(&connect(&eida).await, "users").await, accepted);
}

#[tokio::test]
async fn messages_of_gpg_are_accepted_in_every_form_and_refused_for_what_is_wrong_with_them() {
    all_messages(Path::new(MADE)).await;
}

#[tokio::test]
async fn sha1_counts_where_it_is_accepted_and_nothing_else_does() {
    let made = Path::new(MADE);
    let eida = instance(made, &["accept_sha1=true"]).await;
    for message in messages(made, "sha1") {
        let (status, text) = post(&eida, &message).await;
        assert_eq!(status, 200, "{}: {text}", name(&message));
    }
    for (bad, why) in BAD {
        let (status, text) = post(&eida, &made.join("bad").join(bad)).await;
        assert_eq!(status, 415, "{bad}: {text}");
        assert!(text.contains(why), "{bad}: {text}");
    }
}

#[tokio::test]
#[ignore = "needs gpg"]
async fn messages_that_gpg_makes_now_are_accepted_and_refused_alike() {
    let made = tempfile::TempDir::new().unwrap();
    let status = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/make"))
        .arg(made.path())
        .status();
    assert!(status.unwrap().success());
    all_messages(made.path()).await;
}
