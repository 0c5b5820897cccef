//! What is known of well-known providers, as data: a table each in `presets/`.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::model::{AuthMethod, Metadata};
use identity_core::config::values::Span;

/// Every preset by its name.
const PRESETS: &[(&str, &str)] = &[
    ("github", include_str!("presets/github.toml")),
    ("github-app", include_str!("presets/github-app.toml")),
    ("gitlab", include_str!("presets/gitlab.toml")),
    ("google", include_str!("presets/google.toml")),
    ("keycloak", include_str!("presets/keycloak.toml")),
    ("microsoft", include_str!("presets/microsoft.toml")),
    ("okta", include_str!("presets/okta.toml")),
    ("orcid", include_str!("presets/orcid.toml")),
    ("slack", include_str!("presets/slack.toml")),
];

/// What a preset fills in where the configuration says nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "the keys are those of [providers.<id>], explained in default.toml"
)]
pub struct Preset {
    pub discovery_url: Option<Url>,
    pub issuer: Option<String>,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    pub jwks_uri: Option<Url>,
    pub scope: Option<String>,
    pub authorize_params: Option<BTreeMap<String, String>>,
    pub token_endpoint_auth_method: Option<AuthMethod>,
    pub keep_alive: Option<Span>,
    pub metadata: Metadata,
    /// Whether refresh tokens are to be expected at all.
    pub refresh_tokens: Option<bool>,
    /// The scope without which no refresh token comes.
    pub offline_scope: Option<String>,
    /// The parameters without which no refresh token comes.
    pub offline_params: BTreeMap<String, String>,
    /// Errors that mean what the standard calls `invalid_grant`.
    pub invalid_grant: Vec<String>,
}

/// The names of all presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The preset of this name.
///
/// # Errors
/// What is expected, where there is none.
pub fn find(name: &str) -> Result<Preset, String> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| {
        let all: Vec<_> = names().collect();
        format!("expected one of {}, found `{name}`", all.join(", "))
    })?;
    toml::from_str(text).map_err(|error| format!("the preset `{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_read_and_an_unknown_one_is_refused_with_their_names() {
        for name in names() {
            let preset = find(name).unwrap();
            assert!(preset.metadata.name.is_some(), "{name}");
            let by_hand = preset.token_endpoint.is_some();
            assert_eq!(by_hand, preset.authorization_endpoint.is_some(), "{name}");
        }
        assert!(find("gogle").unwrap_err().contains("google"));
    }
}
