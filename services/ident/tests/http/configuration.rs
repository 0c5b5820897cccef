//! Where settings come from, which wins, and in which forms they are written.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use ident::config::{Config, SCHEMA};
use identity_core::config::values::{AllowPrivate, OutageExit};
use identity_core::config::{Environment, Settings, Sources};
use identity_core::failure::Failure;
use identity_testkit::output;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::processes::{KEY, complained, ident_in, printed, status};

/// The least that a file says.
pub const FILE: &str = "[database]\nencryption_key = \"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\"\n";

/// A directory with one file.
pub fn file(text: &str) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ident.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// Runs `ident config`.
pub async fn config(environment: &[(&'static str, &str)], arguments: &[&str]) -> Output {
    let mut all = arguments.to_vec();
    all.push("config");
    output(ident_in(environment, &all)).await
}

/// What `ident config` printed: the value and the origin of each key.
fn in_force(output: &Output) -> BTreeMap<String, (String, String)> {
    assert_eq!(status(output), 0, "{}", complained(output));
    let printed = printed(output);
    let mut rows = printed.lines().map(|line| {
        let mut columns = line
            .split("  ")
            .map(str::trim)
            .filter(|column| !column.is_empty());
        let mut next = || columns.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        (next(), (next(), next()))
    });
    assert_eq!(rows.next().unwrap().0, "key");
    rows.collect()
}

/// Reads a configuration in this process.
pub fn read(environment: &[(&str, &str)], overrides: &[&str], file: Option<&str>) -> Result<Config, Failure> {
    let environment: Environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let key = format!("database.encryption_key={KEY}");
    let mut all = vec![key];
    all.extend(overrides.iter().map(|&setting| setting.to_owned()));
    let has_key = file.is_some() || environment.get("ENCRYPTION_KEY").is_some();
    if has_key {
        all.remove(0);
    }
    let sources = Sources {
        file: file.map(PathBuf::from),
        environment,
        overrides: all,
    };
    Config::read(&Settings::load(&SCHEMA, &sources)?)
}

#[tokio::test]
async fn later_layers_win_and_each_value_tells_where_it_came_from() {
    let (_directory, path) = file(&format!("{FILE}[database.postgres]\nhost = \"of-the-file\"\n"));
    let environment = [
        ("IDENT__DATABASE__POSTGRES__HOST", "of-ours"),
        ("DATABASE_HOST", "of-the-original"),
    ];
    let key = format!("database.encryption_key={KEY}");
    let with_file = ["--config", &path];
    let with_all = ["--config", &path, "--set", "database.postgres.host=of-the-line"];
    let host = async |environment: &[(&'static str, &str)], arguments: &[&str]| {
        let mut found = in_force(&config(environment, arguments).await);
        found.remove("database.postgres.host").unwrap()
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(host(&[], &["--set", &key]).await, pair("localhost", "default"));
    assert_eq!(host(&[], &with_file).await, pair("of-the-file", &path));
    let ours = host(&environment[..1], &with_file).await;
    assert_eq!(
        ours,
        pair("of-ours", "environment variable IDENT__DATABASE__POSTGRES__HOST")
    );
    let original = host(&environment, &with_file).await;
    assert_eq!(
        original,
        pair("of-the-original", "environment variable DATABASE_HOST")
    );
    assert_eq!(
        host(&environment, &with_all).await,
        pair("of-the-line", "command line")
    );
}

#[tokio::test]
async fn secrets_are_masked_wherever_they_come_from() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (_directory, path) = file(&format!(
        "{FILE}[database.postgres]\npassword = \"pw-of-the-file\"\n[notifications]\nurl = \"https://push.example\"\n"
    ));
    let environment = [
        ("IDENT__NOTIFICATIONS__SECRET", secret),
        ("DATABASE_PASSWORD", "pw-of-the-original"),
    ];
    let url = "database.postgres.url=postgresql://ident:pw-of-the-url@db/ident";
    let shown = config(&environment, &["--config", &path, "--set", url]).await;
    let text = printed(&shown);
    for secret in [secret, KEY, "pw-of"] {
        assert!(!text.contains(secret), "{text}");
    }
    let shown = in_force(&shown);
    for key in [
        "database.encryption_key",
        "database.postgres.password",
        "database.postgres.url",
        "notifications.secret",
    ] {
        assert_eq!(shown[key].0, "********", "{key}");
    }
    assert_eq!(
        shown["database.postgres.password"].1,
        "environment variable DATABASE_PASSWORD"
    );
    assert_eq!(shown["database.encryption_key"].1, path);
    assert_eq!(shown["notifications.url"].0, "https://push.example");
    assert_eq!(shown["server.public_url"].0, "(not set)");
}

#[tokio::test]
async fn secrets_can_stand_in_files_of_their_own() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = write("key", &format!("{KEY}\n"));
    let password = write("password", " with blanks \r\n");
    let found = in_force(&config(&[("IDENT__DATABASE__ENCRYPTION_KEY_FILE", &key)], &[]).await);
    assert_eq!(found["database.encryption_key"].0, "********");
    assert!(found["database.encryption_key"].1.contains(&key));

    let of_file = format!(
        "[database]\nencryption_key_file = \"{key}\"\n[database.postgres]\npassword_file = \"{password}\"\n"
    );
    let (_other, path) = file(&of_file);
    let read = read(&[], &[], Some(&path)).unwrap();
    let postgres = read.base.database.postgres;
    assert_eq!(postgres.password.unwrap().expose_secret(), " with blanks ");

    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    let refused = config(&[("IDENT__DATABASE__ENCRYPTION_KEY_FILE", missing)], &[]).await;
    assert_eq!(status(&refused), 2);
    assert!(complained(&refused).contains(missing), "{}", complained(&refused));
    assert!(complained(&refused).contains("encryption_key"));
    let both = [
        ("IDENT__DATABASE__ENCRYPTION_KEY_FILE", key.as_str()),
        ("IDENT__DATABASE__ENCRYPTION_KEY", KEY),
    ];
    let refused = config(&both, &[]).await;
    assert_eq!(status(&refused), 2);
    assert!(complained(&refused).contains("twice"), "{}", complained(&refused));
    // One of a later place wins over one of an earlier.
    let overridden = config(&both[..1], &["--set", &format!("database.encryption_key={KEY}")]).await;
    assert_eq!(in_force(&overridden)["database.encryption_key"].1, "command line");
    let refused = config(&[], &["--set", &format!("server.bind_file={key}")]).await;
    assert!(complained(&refused).contains("unknown key `server.bind_file`"));
}

#[test]
fn durations_sizes_and_ranges_are_read_in_all_their_forms() {
    for (text, expected) in [
        ("30s", Duration::from_secs(30)),
        ("10m", Duration::from_mins(10)),
        ("72h", Duration::from_hours(72)),
        ("7d", Duration::from_hours(7 * 24)),
        ("1h 30m", Duration::from_mins(90)),
        ("250ms", Duration::from_millis(250)),
        ("5", Duration::from_secs(5)),
        ("0.5", Duration::from_millis(500)),
    ] {
        let config = read(&[], &[&format!("server.request_timeout={text}")], None).unwrap();
        assert_eq!(config.base.server.request_timeout.0, expected, "{text}");
    }
    for (text, expected) in [
        ("65536", 65536),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("1MB", 1_000_000),
        ("1MiB", 1 << 20),
    ] {
        let config = read(&[], &[&format!("server.body_limit={text}")], None).unwrap();
        assert_eq!(config.base.server.body_limit.as_u64(), expected, "{text}");
    }
    for (text, count) in [("", 0), ("10.0.0.1", 1), ("10.0.0.0/8, ::1 ,192.0.2.1/32,", 3)] {
        let config = read(&[], &[&format!("server.trusted_proxies={text}")], None).unwrap();
        assert_eq!(config.base.server.trusted_proxies.len(), count, "{text}");
    }
    for (text, expected) in [
        ("60s", OutageExit::After(Duration::from_mins(1))),
        ("0", OutageExit::After(Duration::ZERO)),
        ("never", OutageExit::Never),
    ] {
        let config = read(&[], &[&format!("database.postgres.outage_exit={text}")], None).unwrap();
        assert_eq!(config.base.database.postgres.outage_exit, expected);
    }
    let allowed = |text: &str| {
        read(&[], &[&format!("outgoing.allow_private={text}")], None)
            .unwrap()
            .base
            .outgoing
            .allow_private
    };
    assert_eq!(allowed("true"), AllowPrivate::Yes);
    assert_eq!(allowed("false"), AllowPrivate::No);
    assert!(matches!(allowed("10.0.0.0/8, fd00::/8"), AllowPrivate::Ranges(ranges) if ranges.len() == 2));
}

#[test]
fn a_file_may_write_values_as_toml_does() {
    let (_directory, path) = file(&format!(
        "{FILE}[server]\nrequest_timeout = 5\nheader_timeout = 0.5\nbody_limit = 1024\nworkers = 3\n\
         trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[database.postgres]\noutage_exit = 0\nhost = [\"a\", \"b\"]\n\
         [outgoing]\nallow_private = [\"10.0.0.0/8\"]\n[services]\nallowed = [\"github\", \"gitlab\"]\n"
    ));
    let config = read(&[], &[], Some(&path)).unwrap();
    assert_eq!(config.base.server.request_timeout.0, Duration::from_secs(5));
    assert_eq!(config.base.server.header_timeout.0, Duration::from_millis(500));
    assert_eq!(config.base.server.body_limit.as_u64(), 1024);
    assert_eq!(config.base.server.worker_count(), 3);
    assert_eq!(config.base.server.trusted_proxies.len(), 2);
    assert_eq!(
        config.base.database.postgres.outage_exit,
        OutageExit::After(Duration::ZERO)
    );
    assert_eq!(config.base.database.postgres.host, ["a", "b"]);
    assert_eq!(config.allowed_services.len(), 2);
    let from_environment = [
        ("IDENT__SERVICES__ALLOWED", "github, gitlab ,"),
        ("IDENT__DATABASE__POSTGRES__HOST", "a,b"),
    ];
    let config = read(&from_environment, &[], None).unwrap();
    assert_eq!(config.allowed_services.len(), 2);
    assert_eq!(config.base.database.postgres.host, ["a", "b"]);
}

#[tokio::test]
async fn three_variables_name_the_file_ours_first() {
    let files: Vec<_> = ["first", "second", "third"]
        .iter()
        .map(|name| file(&format!("{FILE}[database.postgres]\ndatabase = \"{name}\"\n")))
        .collect();
    let variables = [
        ("IDENT_CONFIG", files[0].1.as_str()),
        ("PHI_IDENT_SETTINGS", files[1].1.as_str()),
        ("IDENT_SETTINGS", files[2].1.as_str()),
    ];
    for (from, expected) in ["first", "second", "third"].iter().enumerate() {
        let found = in_force(&config(&variables[from..], &[]).await);
        assert_eq!(found["database.postgres.database"].0, *expected);
    }
    let found = in_force(&config(&variables, &["--config", &files[2].1]).await);
    assert_eq!(found["database.postgres.database"].0, "third");
}

/// The fingerprints of the keys that `text` stands for.
fn fingerprints(text: &str) -> Result<Vec<String>, String> {
    let config = read(&[("ENCRYPTION_KEY", text)], &[], None).map_err(|error| error.to_string())?;
    Ok(config
        .encryption_keys
        .fingerprints()
        .map(ToOwned::to_owned)
        .collect())
}

#[test]
fn an_encryption_key_is_read_in_all_its_forms() {
    // The bytes 251, whose base64 has characters that differ from base64url.
    let forms = [
        "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
        "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=",
        "7P57X6737P57X6737P57X6737P57X6737P57X6737P57X6737P5Q====",
        "FVPXMNZNL53DOLK7OY3S2X3WG4WV65RXFVPXMNZNL53DOLK7OY3S2X3WG4WV65RXFVPXGPI=",
        "fbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfb",
    ];
    let expected = fingerprints(forms[0]).unwrap();
    assert_eq!(expected.len(), 1);
    for form in forms {
        assert_eq!(fingerprints(form).as_ref(), Ok(&expected), "{form}");
        assert_eq!(
            fingerprints(form.trim_end_matches('=')).as_ref(),
            Ok(&expected),
            "{form}"
        );
        assert_eq!(
            fingerprints(&format!(" {form} ")).as_ref(),
            Ok(&expected),
            "{form}"
        );
    }
    for (form, changed) in [
        (forms[2], str::to_lowercase as fn(&str) -> String),
        (forms[4], |text| text.to_uppercase()),
    ] {
        assert_eq!(fingerprints(&changed(form)).as_ref(), Ok(&expected), "{form}");
    }
    let other = fingerprints(KEY).unwrap();
    assert_ne!(other, expected);
    let both = [&expected[..], &other].concat();
    assert_eq!(fingerprints(&format!("{}, {KEY}", forms[0])), Ok(both.clone()));
    let (_directory, path) = file(&format!(
        "[database]\nencryption_key = [\"{}\", \"{KEY}\"]\n",
        forms[2]
    ));
    let listed = read(&[], &[], Some(&path)).unwrap().encryption_keys;
    assert_eq!(listed.fingerprints().collect::<Vec<_>>(), both);
    for wrong in [
        "x",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA==",
        "01234567890123456789012345678901",
        &forms[4][2..],
    ] {
        let refused = fingerprints(wrong).unwrap_err();
        assert!(
            refused.contains("database.encryption_key key 1 is malformed"),
            "{refused}"
        );
        assert!(!refused.contains(wrong) || wrong == "x", "{refused}");
    }
}
