//! Settings: the original's names and key forms, presets, the order of providers, what is refused and how.

use std::path::PathBuf;

use identity_core::config::{Environment, Settings, Sources};
use identity_core::failure::Failure;
use identity_testkit::{Process, TestDatabase, output};
use secrecy::ExposeSecret;
use tokenstore::config::{Config, SCHEMA};

use crate::processes::{House, KEY, tokenstore_in};

const USUAL: [&str; 3] = [
    "oidc.discovery_url=https://login.example",
    "oidc.client_id=x",
    "crypto_keys=0123456789abcdef0123456789abcdef",
];

fn read(environment: &[(&str, &str)], overrides: &[&str], file: Option<PathBuf>) -> Result<Config, Failure> {
    let pairs = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = Settings::load(
        &SCHEMA,
        &Sources {
            file,
            environment: pairs.collect::<Environment>(),
            overrides: overrides.iter().map(ToString::to_string).collect(),
        },
    )?;
    Config::read(&settings)
}

fn refused(environment: &[(&str, &str)], overrides: &[&str]) -> String {
    match read(environment, overrides, None) {
        Err(Failure::Configuration(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

const ORIGINAL: [(&str, &str); 18] = [
    (
        "TOKENSTORE_SQLALCHEMY_DATABASE_URI",
        "postgresql+psycopg2://postgres:pw@postgres:5432/tokenstore",
    ),
    (
        "TOKENSTORE_OIDC_DISCOVERY_URL",
        "https://auth.example.com/auth/realms/example/.well-known/openid-configuration",
    ),
    ("TOKENSTORE_OIDC_CLIENT_ID", "tokenstore"),
    ("TOKENSTORE_OIDC_CLIENT_SECRET", "tokenstore_client_secret"),
    ("TOKENSTORE_TOKEN_PROVIDERS", "idp2, idp1"),
    (
        "TOKENSTORE_IDP1_DISCOVERY_URL",
        "https://auth-idp1.example.com/.well-known/openid-configuration",
    ),
    ("TOKENSTORE_IDP1_CLIENT_ID", "idp1"),
    ("TOKENSTORE_IDP1_CLIENT_SECRET", "idp1_client_secret"),
    ("TOKENSTORE_IDP1_SCOPE", "openid custom"),
    ("TOKENSTORE_IDP1_MD_NAME", "IDP1 Display Name"),
    ("TOKENSTORE_IDP1_MD_DESCRIPTION", "IDP1 description text"),
    ("TOKENSTORE_IDP1_MD_URL", "IDP1 Home page"),
    ("TOKENSTORE_IDP1_MD_ICON", "IDP1 Icon url"),
    ("TOKENSTORE_IDP1_MD_LOGO", "IDP1 Logo url"),
    (
        "TOKENSTORE_IDP2_DISCOVERY_URL",
        "https://auth-idp2.example.com/.well-known/openid-configuration",
    ),
    ("TOKENSTORE_IDP2_CLIENT_ID", "idp2"),
    ("TOKENSTORE_CRYPTOKEY", KEY),
    ("TOKENSTORE_SESSION_TYPE", "filesystem"),
];

#[test]
fn the_original_s_environment_is_understood() {
    let config = read(&ORIGINAL, &[], None).unwrap();
    let url = config.base.database.postgres.url.unwrap();
    assert_eq!(
        url.expose_secret(),
        "postgresql://postgres:pw@postgres:5432/tokenstore"
    );
    assert_eq!(config.oidc.client_id, "tokenstore");
    assert_eq!(config.audience, "tokenstore");
    let ids: Vec<_> = config
        .providers
        .iter()
        .map(|provider| provider.id.as_str())
        .collect();
    assert_eq!(ids, ["idp2", "idp1"], "in the order of the list");
    let (idp1, idp2) = (&config.providers[1], &config.providers[0]);
    assert_eq!(idp1.scope, "openid custom");
    assert_eq!(idp2.scope, "openid email offline_access");
    assert_eq!(
        idp1.client_secret.as_ref().unwrap().expose_secret(),
        "idp1_client_secret"
    );
    assert_eq!(idp2.authorize_params["prompt"], "consent");
    let shown = &idp1.metadata;
    let texts = [
        &shown.name,
        &shown.description,
        &shown.url,
        &shown.icon,
        &shown.logo,
    ];
    let expected = [
        "IDP1 Display Name",
        "IDP1 description text",
        "IDP1 Home page",
        "IDP1 Icon url",
        "IDP1 Logo url",
    ];
    assert_eq!(texts.map(|text| text.as_deref().unwrap()), expected);
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("session.type"));
}

#[test]
fn wrong_originals_are_refused_by_name() {
    let with = |name: &'static str, value: &'static str| {
        let mut environment: Vec<_> = ORIGINAL
            .iter()
            .filter(|(known, _)| *known != name)
            .copied()
            .collect();
        environment.push((name, value));
        refused(&environment, &[])
    };
    for (name, value) in [
        ("TOKENSTORE_CRYPTOKEY", "short"),
        ("TOKENSTORE_CRYPTOKEY", "0123456789abcdef0123456789abcdef,x"),
        (
            "TOKENSTORE_CRYPTOKEY",
            "zz23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ),
        (
            "TOKENSTORE_CRYPTOKEY",
            "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!=",
        ),
        (
            "TOKENSTORE_CRYPTOKEY",
            "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPQ====",
        ),
        ("TOKENSTORE_SQLALCHEMY_DATABASE_URI", "sqlite:////tmp/x.db"),
        ("TOKENSTORE_SQLALCHEMY_DATABASE_URI", "mysql://root:geheim@x/y"),
        ("TOKENSTORE_OIDC_DISCOVERY_URL", "nowhere"),
        ("TOKENSTORE_TOKEN_PROVIDERS", "idp1, a/b"),
        ("TOKENSTORE_IDP1_DISCOVERY_URL", "nowhere"),
    ] {
        let message = with(name, value);
        assert!(message.contains(name), "{message}");
        assert!(
            !message.contains("geheim") && !message.contains('\n'),
            "{message}"
        );
    }
    let unset: Vec<_> = ORIGINAL
        .iter()
        .filter(|(name, _)| *name != "TOKENSTORE_IDP2_CLIENT_ID")
        .copied()
        .collect();
    assert!(refused(&unset, &[]).contains("TOKENSTORE_IDP2_CLIENT_ID"));
}

#[test]
fn every_form_of_a_key_is_taken_and_the_first_encrypts() {
    let base64 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let hex = "3031323334353637383961626364656630313233343536373839616263646566";
    let fingerprints = |text: &str| {
        let config = read(&[("TOKENSTORE_CRYPTOKEY", text)], &USUAL[..2], None).unwrap();
        config
            .crypto_keys
            .fingerprints()
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    };
    let [raw] = &fingerprints(KEY)[..] else {
        panic!("one")
    };
    assert_eq!(fingerprints(base64), std::slice::from_ref(raw));
    assert_eq!(fingerprints(hex), std::slice::from_ref(raw));
    let two = fingerprints(&format!("fedcba9876543210fedcba9876543210, {hex}"));
    assert_eq!((two.len(), &two[1]), (2, raw));
}

#[test]
fn providers_stand_in_the_order_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenstore.toml");
    let text = format!(
        "crypto_keys = [\"{KEY}\"]\nreturn_urls = [\"https://app.example.org/\"]\nrefresh_margin = \"30s\"\n\
         [oidc]\ndiscovery_url = \"https://login.example\"\nclient_id = \"x\"\n\
         [providers.zebra]\npreset = \"github\"\nclient_id = \"z\"\n\
         [providers.zebra.metadata]\nname = \"Zebra\"\n\
         [providers.my-idp]\ndiscovery_url = \"https://my.example\"\nclient_id = \"m\"\nkeep_alive = \"30d\"\n\
         authorize_params = {{ access_type = \"offline\" }}\nrequire_same_subject = true\n\
         [providers.alpha]\npreset = \"google\"\nclient_id = \"a\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let config = read(
        &[
            ("TOKENSTORE__PROVIDERS__LATER__PRESET", "gitlab"),
            ("TOKENSTORE__PROVIDERS__LATER__CLIENT_ID", "l"),
        ],
        &[],
        Some(path),
    )
    .unwrap();
    let ids: Vec<_> = config
        .providers
        .iter()
        .map(|provider| provider.id.as_str())
        .collect();
    assert_eq!(ids, ["zebra", "my-idp", "alpha", "later"]);
    assert_eq!(config.refresh_margin.as_secs(), 30);
    assert_eq!(config.return_urls.len(), 1);
    assert_eq!(config.providers[0].metadata.name.as_deref(), Some("Zebra"));
    let mine = &config.providers[1];
    assert!(mine.require_same_subject);
    assert_eq!(mine.keep_alive.unwrap().as_secs(), 30 * 24 * 3600);
    assert_eq!(
        mine.authorize_params.get("access_type").map(String::as_str),
        Some("offline")
    );
    assert_eq!(mine.authorize_params.get("prompt"), None);
}

#[test]
fn what_cannot_work_is_refused_with_its_key() {
    for (setting, key) in [
        ("oidc.discovery_url=", "oidc.discovery_url"),
        ("oidc.client_id=", "oidc.client_id"),
        ("crypto_keys=", "crypto_keys"),
        ("crypto_keys=x", "crypto_keys"),
        ("return_urls=app.example.org", "return_urls"),
        ("return_urls=https://u@app.example.org/", "return_urls"),
        (
            "cors.allowed_origins=https://app.example.org/path",
            "cors.allowed_origins",
        ),
        ("cors.allowed_origins=*", "cors.allowed_origins"),
        ("refresh_margin=soon", "refresh_margin"),
        ("session.idle=never", "session.idle"),
        (
            "notifications.url=https://ops.example/hook",
            "notifications.secret",
        ),
        ("providers.a.preset=github", "providers.a.client_id"),
        ("providers.a.client_id=x", "providers.a.discovery_url"),
        ("providers.keys.preset=github", "providers.keys"),
        ("providers.a.clientid=x", "unknown key `providers.a.clientid`"),
        ("session.idel=1h", "session.idle"),
    ] {
        let mut overrides = USUAL.to_vec();
        overrides.push(setting);
        let message = refused(&[], &overrides);
        assert!(message.contains(key), "{setting}: {message}");
    }
    for setting in [
        "providers.a.preset=gogle",
        "providers.a.keep_alive=often",
        "providers.a.token_endpoint_auth_method=tls",
        "providers.a.token_endpoint_auth_method=private_key_jwt",
        "providers.a.authorize_params.state=x",
        "providers.a.authorize_params.redirect_uri=x",
        "providers.a.token_endpoint=ftp://x",
        "providers.a.require_same_subject=perhaps",
    ] {
        let mut overrides = USUAL.to_vec();
        overrides.extend([
            "providers.a.client_id=x",
            "providers.a.discovery_url=https://a.example",
            setting,
        ]);
        let message = refused(&[], &overrides);
        let key = setting.split('=').next().unwrap();
        let key = if key.ends_with("auth_method") && setting.ends_with("jwt") {
            "client_secret"
        } else {
            key
        };
        assert!(message.contains(key), "{setting}: {message}");
    }
}

#[tokio::test]
async fn a_wrong_key_ends_the_start_with_status_2_and_a_name() {
    let refused = output(tokenstore_in(&[("TOKENSTORE_CRYPTOKEY", "short")], &[])).await;
    assert_eq!(refused.status.code(), Some(2));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(
        complaint.contains("TOKENSTORE_CRYPTOKEY") && complaint.lines().count() == 1,
        "{complaint}"
    );
}

#[tokio::test]
async fn secrets_are_masked_where_the_settings_are_shown() {
    let house = House::new().await;
    let shown = house.run(&["config"]).await;
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("providers.idp1.client_id"), "{text}");
    for secret in [KEY, "a secret/of+ours", &house.database.url()] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn the_session_type_of_the_original_is_ignored_with_a_warning() {
    let house = House::new().await;
    let mut command = house.command(&[]);
    command.env("TOKENSTORE_SESSION_TYPE", "redis");
    let process = Process::start(command);
    process.address().await;
    assert!(
        process.log().contains("session.type is ignored"),
        "{}",
        process.log()
    );
}

#[tokio::test]
async fn a_database_of_other_keys_is_refused() {
    let house = House::new().await;
    let (first, url) = house.serve(&[]).await;
    house.link(&url).await;
    drop(first);
    let mut command = house.command(&[]);
    command.env("TOKENSTORE_CRYPTOKEY", "fedcba9876543210fedcba9876543210");
    let refused = output(command).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("crypto_keys"));
    let _: &TestDatabase = &house.database;
}
