//! What keys a service knows: read from its `default.toml`, never listed a second time.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::layers::{self, Layer, Lower, Setting};
use crate::failure::Failure;

/// The sections that every service has.
const SHARED_DEFAULTS: &str = include_str!("default.toml");

/// Secrets in the shared sections; each can come from a file named by the same key with `_file`.
const SHARED_SECRETS: &[&str] = &[
    "database.encryption_key",
    "database.postgres.password",
    "database.postgres.url",
];

/// What a service says of its configuration.
#[derive(Debug)]
pub struct Schema {
    /// The service's name, and in upper case the prefix of its environment variables.
    pub service: &'static str,
    /// Its `default.toml`: keys, meanings, defaults. It wins over the shared defaults.
    pub defaults: &'static str,
    /// Its own keys whose values are never shown and can come from a file (`…_file`).
    pub secrets: &'static [&'static str],
    /// Keys below which any table may stand, with `*` for the parts that the operator names.
    pub open: &'static [&'static str],
    /// Environment variables that name the configuration file, the first that is set wins.
    pub file_variables: &'static [&'static str],
    /// Translates the environment names of the service this one replaces.
    pub originals: fn(&Lower<'_>) -> Result<Vec<Setting>, Failure>,
}

impl Schema {
    /// The prefix of this service's environment variables, as `IDM_USERS`.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.service.replace('-', "_").to_uppercase()
    }

    pub(super) fn default_layers(&self) -> Result<Vec<Layer>, Failure> {
        Ok(vec![
            layers::from_toml(SHARED_DEFAULTS, "default")?,
            layers::from_toml(self.defaults, "default")?,
        ])
    }

    /// Every key with its default, in which a list tells that the key takes a list.
    pub(super) fn keys(&self) -> Result<BTreeMap<String, Value>, Failure> {
        let layers = self.default_layers()?;
        let settings = layers.into_iter().flat_map(|layer| layer.settings);
        Ok(settings.map(|setting| (setting.key, setting.value)).collect())
    }

    /// Whether the value of `key` must never be shown.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        SHARED_SECRETS
            .iter()
            .chain(self.secrets)
            .any(|secret| matches(secret, key))
    }

    /// Whether `key` takes a list.
    pub(super) fn takes_list(keys: &BTreeMap<String, Value>, key: &str) -> bool {
        keys.get(key)
            .is_some_and(|value| matches!(value.kind, ValueKind::Array(_)))
    }

    /// Accepts a key that is known, or tells the nearest one that is.
    pub(super) fn check(&self, keys: &BTreeMap<String, Value>, key: &str) -> Result<(), String> {
        let secret = key.strip_suffix("_file").is_some_and(|key| self.is_secret(key));
        if secret || keys.contains_key(key) || self.open.iter().any(|open| matches(open, key)) {
            return Ok(());
        }
        let nearest = keys
            .keys()
            .min_by_key(|known| strsim::damerau_levenshtein(known, key));
        Err(match nearest {
            Some(nearest) => format!("unknown key `{key}`; the nearest known one is `{nearest}`"),
            None => format!("unknown key `{key}`"),
        })
    }
}

/// Compares dotted keys, `*` standing for any one part.
fn matches(pattern: &str, key: &str) -> bool {
    let (mut pattern, mut key) = (pattern.split('.'), key.split('.'));
    loop {
        match (pattern.next(), key.next()) {
            (None, None) => return true,
            (Some(expected), Some(part)) if expected == "*" || expected == part => {}
            _ => return false,
        }
    }
}
