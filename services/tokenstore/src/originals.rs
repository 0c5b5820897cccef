//! The environment of the original, which goes on working: names with the prefix `TOKENSTORE_`.

use identity_core::config::{Lower, Setting};
use identity_core::crypto::fernet::{Keys, Raw};
use identity_core::failure::Failure;
use secrecy::SecretString;

/// The lengths of a key's forms: raw characters, base64, hex.
const KEY_LENGTHS: [usize; 3] = [32, 44, 64];

/// What can be set of a provider, behind its name in upper case.
const OF_PROVIDER: [(&str, &str); 9] = [
    ("DISCOVERY_URL", "discovery_url"),
    ("CLIENT_ID", "client_id"),
    ("CLIENT_SECRET", "client_secret"),
    ("SCOPE", "scope"),
    ("MD_NAME", "metadata.name"),
    ("MD_DESCRIPTION", "metadata.description"),
    ("MD_URL", "metadata.url"),
    ("MD_ICON", "metadata.icon"),
    ("MD_LOGO", "metadata.logo"),
];

/// Translates the original's names into settings.
///
/// # Errors
/// [`Failure::Configuration`] naming the variable.
pub fn settings(lower: &Lower<'_>) -> Result<Vec<Setting>, Failure> {
    let mut settings = lower.renamed(&[
        ("TOKENSTORE_OIDC_DISCOVERY_URL", "oidc.discovery_url"),
        ("TOKENSTORE_OIDC_CLIENT_ID", "oidc.client_id"),
        ("TOKENSTORE_OIDC_CLIENT_SECRET", "oidc.client_secret"),
        ("TOKENSTORE_SESSION_TYPE", "session.type"),
        ("TOKENSTORE_SESSION_FILE_DIR", "session.file_dir"),
    ]);
    settings.extend(database(lower)?);
    if let Some(text) = lower.environment.get("TOKENSTORE_CRYPTOKEY") {
        let origin = "environment variable TOKENSTORE_CRYPTOKEY";
        keys(text.split(',').map(|key| key.trim().into()))
            .map_err(|wrong| Failure::configuration(format!("{origin}: {wrong}")))?;
        settings.push(Setting::new("crypto_keys", text, origin));
    }
    settings.extend(providers(lower)?);
    Ok(settings)
}

/// `SQLAlchemy` names the driver in the scheme, as `postgresql+psycopg2://`.
fn database(lower: &Lower<'_>) -> Result<Option<Setting>, Failure> {
    let name = "TOKENSTORE_SQLALCHEMY_DATABASE_URI";
    let Some(uri) = lower.environment.get(name) else {
        return Ok(None);
    };
    let origin = format!("environment variable {name}");
    let (scheme, rest) = uri.split_once("://").unwrap_or((uri, ""));
    let dialect = scheme.split('+').next().unwrap_or_default();
    // The URI holds a password, so that it is not repeated.
    if !["postgresql", "postgres"].contains(&dialect) || rest.is_empty() {
        let message = format!("{origin}: expected postgresql://…, since the data are kept in Postgres");
        return Err(Failure::configuration(message));
    }
    let url = format!("postgresql://{rest}");
    Ok(Some(Setting::new("database.postgres.url", url, origin)))
}

/// The providers that `TOKEN_PROVIDERS` lists, in its order.
fn providers(lower: &Lower<'_>) -> Result<Vec<Setting>, Failure> {
    let mut settings = Vec::new();
    let listed = lower
        .environment
        .get("TOKENSTORE_TOKEN_PROVIDERS")
        .unwrap_or_default();
    for id in listed.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        if !is_id(id) {
            let message = format!(
                "environment variable TOKENSTORE_TOKEN_PROVIDERS: expected letters, digits, - and _ in an id, found \
                 `{id}`"
            );
            return Err(Failure::configuration(message));
        }
        let variable = format!("TOKENSTORE_{}_", id.to_uppercase().replace('-', "_"));
        for (name, key) in OF_PROVIDER {
            let name = format!("{variable}{name}");
            // Also where nothing is set: a listed provider without an id is refused by its name.
            if let Some(value) = lower.environment.get(&name) {
                let origin = format!("environment variable {name}");
                settings.push(Setting::new(format!("providers.{id}.{key}"), value, origin));
            } else if key == "client_id" && lower.text(&format!("providers.{id}.client_id")).is_none() {
                return Err(Failure::configuration(format!(
                    "environment variable {name}: expected the client id of the provider `{id}`, which \
                     TOKENSTORE_TOKEN_PROVIDERS lists"
                )));
            }
        }
    }
    Ok(settings)
}

/// Whether a text can be a provider's id: it stands in paths, keys and names of variables.
#[must_use]
pub fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

/// Reads encryption keys in the original's three forms, and in no other.
///
/// # Errors
/// Which key it is, counted from 1, and what is expected of it; never the key.
pub fn keys(texts: impl Iterator<Item = SecretString>) -> Result<Keys, String> {
    use secrecy::ExposeSecret;
    let texts: Vec<_> = texts.collect();
    let expected = |position: usize| {
        format!("key {position} is malformed; expected 32 characters raw, 44 of base64 or 64 of hex")
    };
    if texts.is_empty() {
        return Err("expected at least one key; `tokenstore keys add` makes one".to_owned());
    }
    for (index, text) in texts.iter().enumerate() {
        let text = text.expose_secret();
        if !KEY_LENGTHS.contains(&text.len()) {
            return Err(expected(index + 1));
        }
        Keys::parse(&[text.into()], Raw::Accepted).map_err(|_| expected(index + 1))?;
    }
    Keys::parse(&texts, Raw::Accepted).map_err(|_| expected(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Keys, String> {
        keys(text.split(',').map(Into::into))
    }

    #[test]
    fn the_three_forms_of_one_key_are_the_same_key() {
        let raw = "0123456789abcdef0123456789abcdef";
        let base64 = data_encoding::BASE64URL.encode(raw.as_bytes());
        let hex = data_encoding::HEXLOWER.encode(raw.as_bytes());
        let fingerprint = |text: &str| parsed(text).unwrap().fingerprints().next().unwrap().to_owned();
        assert_eq!(base64.len(), 44);
        assert_eq!(fingerprint(raw), fingerprint(&base64));
        assert_eq!(fingerprint(raw), fingerprint(&hex));
        assert_eq!(parsed(&format!("{hex},{raw}")).unwrap().fingerprints().count(), 2);
    }

    #[test]
    fn anything_else_is_refused_by_its_position() {
        let good = "0123456789abcdef0123456789abcdef";
        for wrong in [
            "",
            "short",
            &good[1..],
            &"x".repeat(64),
            &"!".repeat(44),
            &"a".repeat(43),
            &"a".repeat(52),
        ] {
            let refused = parsed(&format!("{good},{wrong}")).unwrap_err();
            assert!(refused.starts_with("key 2 is malformed"), "{wrong}: {refused}");
            assert!(wrong.len() < 8 || !refused.contains(wrong));
        }
    }

    #[test]
    fn ids_are_plain_names() {
        assert!(is_id("idp1") && is_id("my-idp_2"));
        assert!(!is_id("") && !is_id("a.b") && !is_id("a/b") && !is_id("ä") && !is_id(&"a".repeat(65)));
    }
}
