//! Settings: where they come from, what cannot work, and what production demands.

use eida_auth::config::{Config, Mode, RunMode, SCHEMA};
use eida_auth::openpgp::Source;
use identity_core::config::{Environment, Settings, Sources};
use identity_core::failure::Failure;
use identity_testkit::{TestDatabase, output};
use tempfile::TempDir;

use crate::processes::{complained, eida_at, eida_in, printed, status};
use crate::signer::Signer;

fn read(environment: &[(&str, &str)], overrides: &[&str]) -> Result<Config, Failure> {
    let environment: Environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let sources = Sources {
        file: None,
        environment,
        overrides: overrides.iter().map(|&setting| setting.to_owned()).collect(),
    };
    Config::read(&Settings::load(&SCHEMA, &sources)?)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = read(&[], &[]).unwrap();
    assert_eq!(config.base.server.bind.0.to_string(), "127.0.0.1:8000");
    assert_eq!(config.base.server.body_limit.as_u64(), 64 * 1024);
    assert_eq!(config.base.database.postgres.schema, "eida_auth");
    assert_eq!(config.run_mode, RunMode::Development);
    assert!(!config.policy.accept_sha1);
    assert!(config.auth.is_none() && config.privileges.is_none() && config.eas.is_none());
    assert!(config.key_sources.is_empty());
    assert_eq!(config.credentials.lifetime.0.as_secs(), 24 * 3600);
    assert!(config.credentials.cap_to_token);
    assert_eq!(
        (config.credentials.mode, config.credentials.max_per_token),
        (Mode::Random, 20)
    );
    assert_eq!(config.cleanup.interval.0.as_secs(), 600);
    let ranges: Vec<String> = config
        .cleanup
        .allow_from
        .iter()
        .map(|range| range.0.to_string())
        .collect();
    assert_eq!(ranges, ["127.0.0.1/32", "::1/128"]);
}

#[test]
fn the_originals_variable_and_ours_are_read() {
    for (text, mode) in [
        ("PRODUCTION", RunMode::Production),
        ("Test", RunMode::Test),
        ("development", RunMode::Development),
    ] {
        assert_eq!(read(&[("RUNMODE", text)], &[]).unwrap().run_mode, mode);
        assert_eq!(read(&[("EIDA_AUTH__RUNMODE", text)], &[]).unwrap().run_mode, mode);
    }
    let config = read(
        &[
            ("EIDA_AUTH__KEYRING", "/keys"),
            ("EIDA_AUTH__GNUPG_HOME", "/home/gpg"),
            ("EIDA_AUTH__ACCEPT_SHA1", "true"),
            ("EIDA_AUTH__CLEANUP__ALLOW_FROM", "10.0.0.0/8, ::1"),
            ("EIDA_AUTH__EAS__ISSUER", "https://eas.example.org"),
            ("EIDA_AUTH__AUTHDB__DATABASE", "resifAuth"),
            ("EIDA_AUTH__AUTHDB__PORT", "5433"),
            ("EIDA_AUTH__AUTHDB__HOST", "a,b"),
            ("EIDA_AUTH__AUTHDB__POOL_SIZE", "3"),
            ("EIDA_AUTH__DATABASE__POSTGRES__CONNECT_TIMEOUT", "3s"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(
        config.key_sources,
        [Source::Files("/keys".into()), Source::GnuPg("/home/gpg".into())]
    );
    assert!(config.policy.accept_sha1);
    assert_eq!(config.cleanup.allow_from.len(), 2);
    let eas = config.eas.unwrap();
    assert_eq!(
        (eas.issuer.audience.as_str(), eas.memberships_claim.as_str()),
        ("fdsn", "memberof")
    );
    let auth = config.auth.unwrap().postgres;
    assert_eq!(
        (auth.database.as_deref(), auth.port, auth.pool_size),
        (Some("resifAuth"), 5433, 3)
    );
    assert_eq!(auth.host, ["a", "b"]);
    assert_eq!(
        (auth.schema.as_str(), auth.connect_timeout.0.as_secs()),
        ("public", 3)
    );
    assert!(config.privileges.is_none());
}

#[test]
fn what_cannot_work_is_refused_by_its_key() {
    for (setting, expected) in [
        (
            "runmode=live",
            "runmode: expected production, development or test",
        ),
        (
            "credentials.mode=derived",
            "credentials.secret: expected at least 32 characters",
        ),
        ("credentials.mode=fixed", "credentials.mode"),
        ("credentials.max_per_token=0", "credentials.max_per_token"),
        ("credentials.lifetime=0", "credentials.lifetime"),
        ("credentials.lifetime=soon", "credentials.lifetime"),
        ("cleanup.interval=0", "cleanup.interval"),
        ("cleanup.allow_from=everywhere", "cleanup.allow_from"),
        ("authdb.host=db.example.org", "authdb.database"),
        ("privilegedb.port=5433", "privilegedb.database"),
        ("authdb.networks_table=x", "unknown key `authdb.networks_table`"),
        ("eas.jwks_uri=nonsense", "eas.jwks_uri"),
        ("token_url=nonsense", "token_url"),
        ("accept_sha1=perhaps", "accept_sha1"),
    ] {
        let error = read(&[], &[setting]).unwrap_err().to_string();
        assert!(error.contains(expected), "{setting}: {error}");
    }
}

#[tokio::test]
async fn production_does_not_start_without_a_key_that_may_sign() {
    let database = TestDatabase::empty().await;
    let files = TempDir::new().unwrap();
    let place = |name: &str| files.path().join(name).display().to_string();
    std::fs::create_dir(place("empty")).unwrap();
    std::fs::create_dir(place("unusable")).unwrap();
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/made/keys");
    for name in [
        "revoked",
        "expired",
        "weak",
        "certifier",
        "subrevoked",
        "subexpired",
    ] {
        std::fs::copy(
            format!("{made}/{name}.asc"),
            format!("{}/{name}.asc", place("unusable")),
        )
        .unwrap();
    }
    std::fs::write(place("nonsense"), "no key").unwrap();
    let keyring = |path: String| format!("keyring={path}");
    for (setting, expected) in [
        (
            "server.workers=1".to_owned(),
            "keyring: expected at least one key",
        ),
        (keyring(place("empty")), "keyring: expected at least one key"),
        (keyring(place("unusable")), "keyring: expected at least one key"),
        (keyring(place("nonsense")), "no OpenPGP public keys"),
        (keyring(place("missing")), "missing"),
    ] {
        let mut command = eida_at(&database.url(), &["--set", &setting]);
        command.env("RUNMODE", "Production");
        let ended = output(command).await;
        assert_eq!(status(&ended), 2, "{}", complained(&ended));
        assert!(
            complained(&ended).lines().last().unwrap().contains(expected),
            "{}",
            complained(&ended)
        );
    }
    // Elsewhere it starts, and says that it accepts nothing.
    let process = identity_testkit::Process::start(eida_at(&database.url(), &["--set", "log.format=json"]));
    process.address().await;
    assert!(
        process.log().contains("no token will be accepted"),
        "{}",
        process.log()
    );
    let signer = Signer::new();
    let mut command = eida_at(
        &database.url(),
        &[
            "--set",
            &signer.setting(),
            "--set",
            "accept_sha1=true",
            "--set",
            "log.format=json",
        ],
    );
    command.env("RUNMODE", "PRODUCTION");
    let process = identity_testkit::Process::start(command);
    process.address().await;
    assert!(
        process.log().contains("SHA-1 digests are accepted"),
        "{}",
        process.log()
    );
}

#[tokio::test]
async fn the_command_line_explains_itself_and_masks_secrets() {
    let help = output(eida_in(&[], &["--help"])).await;
    assert_eq!(status(&help), 0);
    for word in [
        "serve",
        "migrate",
        "health",
        "cleanup",
        "mapping",
        "verify",
        "block",
        "Exit status",
    ] {
        assert!(printed(&help).contains(word), "{word}");
    }
    let version = output(eida_in(&[], &["--version"])).await;
    assert!(printed(&version).contains(env!("CARGO_PKG_VERSION")));
    let secrets = [
        ("EIDA_AUTH__AUTHDB__PASSWORD", "very-secret-1"),
        ("EIDA_AUTH__AUTHDB__DATABASE", "resifAuth"),
        ("EIDA_AUTH__PRIVILEGEDB__URL", "postgresql://very-secret-2@h/d"),
        ("EIDA_AUTH__CREDENTIALS__SECRET", "very-secret-3"),
        ("EIDA_AUTH__CLEANUP__TOKEN", "very-secret-4"),
    ];
    let shown = output(eida_in(&secrets, &["config"])).await;
    assert_eq!(status(&shown), 0, "{}", complained(&shown));
    assert!(
        printed(&shown).contains("resifAuth") && !printed(&shown).contains("very-secret"),
        "{}",
        printed(&shown)
    );
}

#[tokio::test]
async fn migrations_are_a_command_and_a_newer_schema_is_refused() {
    let database = TestDatabase::empty().await;
    let refused = output(eida_at(&database.url(), &["--set", "database.migrate=false"])).await;
    assert_eq!(status(&refused), 1);
    assert!(
        complained(&refused).contains("migrations are outstanding"),
        "{}",
        complained(&refused)
    );
    let done = output(eida_at(&database.url(), &["migrate"])).await;
    assert!(
        printed(&done).contains("V1__temporary_accounts"),
        "{}",
        printed(&done)
    );
    let again = output(eida_at(&database.url(), &["migrate"])).await;
    assert!(
        printed(&again).starts_with("0 migrations applied"),
        "{}",
        printed(&again)
    );
}

#[tokio::test]
async fn what_happens_to_tokens_is_counted() {
    let database = TestDatabase::empty().await;
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/made");
    let keyring = format!("keyring={made}/keys");
    let arguments = [
        "--set",
        &keyring,
        "--set",
        "accept_sha1=true",
        "--set",
        "metrics.bind=127.0.0.1:0",
        "--set",
        "log.format=json",
    ];
    let process = identity_testkit::Process::start(eida_at(&database.url(), &arguments));
    let url = format!("http://{}/", process.address().await);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let sha1 = std::fs::read(format!("{made}/sha1/gnupg-2.0.asc")).unwrap();
    for (body, status) in [(sha1, 403), (b"nonsense".to_vec(), 415)] {
        assert_eq!(http.post(&url).body(body).send().await.unwrap().status(), status);
    }
    let metrics = format!("http://{}/metrics", process.metrics_address().await);
    let text = http.get(metrics).send().await.unwrap().text().await.unwrap();
    for line in [
        "eida_auth_tokens_accepted_total 1",
        "eida_auth_tokens_sha1_total 1",
        "eida_auth_tokens_refused_total{reason=\"not_openpgp\"} 1",
        "eida_auth_logins_issued_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(
        !process.log().contains("Jane"),
        "the log shows nothing of a token's owner"
    );
}
