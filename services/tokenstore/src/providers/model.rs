//! A provider as the configuration and its preset describe it.

use std::collections::BTreeMap;
use std::time::Duration;

use identity_core::config::values::Span;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::presets::{self, Preset};

/// What is asked for where nothing else is said.
const DEFAULT_SCOPE: &str = "openid email offline_access";

/// How we show the provider who we are (RFC 6749, 2.3; OpenID Connect Core 1.0, 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// Id and secret in the header `Authorization`.
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
    /// An assertion signed with our key.
    PrivateKeyJwt,
}

impl AuthMethod {
    /// Its name in discovery documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// What is shown of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// Its name for people.
    pub name: Option<String>,
    /// What it is, or what it is linked for.
    pub description: Option<String>,
    /// Its own page.
    pub url: Option<String>,
    /// A small picture.
    pub icon: Option<String>,
    /// A larger one.
    pub logo: Option<String>,
}

/// `[providers.<id>]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Written {
    pub preset: Option<String>,
    pub discovery_url: Option<Url>,
    pub issuer: Option<String>,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    pub jwks_uri: Option<Url>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    pub scope: Option<String>,
    pub token_endpoint_auth_method: Option<AuthMethod>,
    pub authorize_params: Option<BTreeMap<String, String>>,
    pub require_same_subject: bool,
    pub keep_alive: Option<Span>,
    pub metadata: Metadata,
}

/// A provider's settings, complete.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each key's meaning stands once, in default.toml")]
pub struct Settings {
    pub id: String,
    pub discovery_url: Option<Url>,
    pub issuer: Option<String>,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    pub jwks_uri: Option<Url>,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    pub scope: String,
    /// None: what discovery offers, basic before post.
    pub auth_method: Option<AuthMethod>,
    pub authorize_params: BTreeMap<String, String>,
    pub require_same_subject: bool,
    pub keep_alive: Option<Duration>,
    pub metadata: Metadata,
    /// What else is known of it.
    pub preset: Preset,
}

impl Settings {
    /// Completes what is written of the provider `id`.
    ///
    /// # Errors
    /// The key and what is expected of it.
    pub fn complete(id: &str, written: Written) -> Result<Self, String> {
        let preset = match &written.preset {
            None => Preset::default(),
            Some(name) => presets::find(name).map_err(|wrong| format!("preset: {wrong}"))?,
        };
        let by_hand = written.authorization_endpoint.is_some() || written.token_endpoint.is_some();
        let default_params = || BTreeMap::from([("prompt".to_owned(), "consent".to_owned())]);
        let settings = Self {
            id: id.to_owned(),
            // Endpoints by hand replace the preset's discovery; the operator's own stays.
            discovery_url: written
                .discovery_url
                .or_else(|| preset.discovery_url.clone().filter(|_| !by_hand)),
            issuer: written.issuer.or_else(|| preset.issuer.clone()),
            authorization_endpoint: written
                .authorization_endpoint
                .or_else(|| preset.authorization_endpoint.clone()),
            token_endpoint: written.token_endpoint.or_else(|| preset.token_endpoint.clone()),
            revocation_endpoint: written
                .revocation_endpoint
                .or_else(|| preset.revocation_endpoint.clone()),
            userinfo_endpoint: written
                .userinfo_endpoint
                .or_else(|| preset.userinfo_endpoint.clone()),
            jwks_uri: written.jwks_uri.or_else(|| preset.jwks_uri.clone()),
            client_id: written
                .client_id
                .ok_or("client_id: expected the id under which the provider knows this service")?,
            client_secret: written.client_secret,
            scope: written
                .scope
                .or_else(|| preset.scope.clone())
                .unwrap_or_else(|| DEFAULT_SCOPE.to_owned()),
            auth_method: written
                .token_endpoint_auth_method
                .or(preset.token_endpoint_auth_method),
            authorize_params: written
                .authorize_params
                .or_else(|| preset.authorize_params.clone())
                .unwrap_or_else(default_params),
            require_same_subject: written.require_same_subject,
            keep_alive: written.keep_alive.or(preset.keep_alive).map(|span| span.0),
            metadata: over(written.metadata, &preset.metadata),
            preset,
        };
        settings.check().map(|()| settings)
    }

    /// Everything that cannot work, before anybody meets it.
    fn check(&self) -> Result<(), String> {
        if self.discovery_url.is_none()
            && (self.authorization_endpoint.is_none() || self.token_endpoint.is_none())
        {
            return Err(
                "discovery_url: expected it, or authorization_endpoint and token_endpoint".to_owned(),
            );
        }
        let urls = [
            ("discovery_url", &self.discovery_url),
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
            ("userinfo_endpoint", &self.userinfo_endpoint),
            ("jwks_uri", &self.jwks_uri),
        ];
        for (key, url) in urls {
            if url
                .as_ref()
                .is_some_and(|url| !["http", "https"].contains(&url.scheme()))
            {
                return Err(format!("{key}: expected an https URL"));
            }
        }
        if self.auth_method == Some(AuthMethod::PrivateKeyJwt) {
            super::assertion::key(self)?;
        }
        // Parameters that are ours: another value would undo what protects the flow.
        let ours = [
            "client_id",
            "redirect_uri",
            "response_type",
            "state",
            "nonce",
            "scope",
            "code_challenge",
        ];
        match self
            .authorize_params
            .keys()
            .find(|name| ours.contains(&name.as_str()))
        {
            Some(name) => Err(format!(
                "authorize_params.{name}: expected none, since the service sets it itself"
            )),
            None => Ok(()),
        }
    }

    /// Whether what is asked for makes a refresh token come, as far as is known.
    #[must_use]
    pub fn asks_for_refresh_tokens(&self) -> Option<bool> {
        let preset = &self.preset;
        if preset.refresh_tokens == Some(false) {
            return Some(false);
        }
        if let Some(scope) = &preset.offline_scope {
            return Some(self.scope.split_whitespace().any(|asked| asked == scope));
        }
        if !preset.offline_params.is_empty() {
            let asked = preset
                .offline_params
                .iter()
                .all(|(name, value)| self.authorize_params.get(name) == Some(value));
            return Some(asked);
        }
        None
    }
}

fn over(written: Metadata, preset: &Metadata) -> Metadata {
    Metadata {
        name: written.name.or_else(|| preset.name.clone()),
        description: written.description.or_else(|| preset.description.clone()),
        url: written.url.or_else(|| preset.url.clone()),
        icon: written.icon.or_else(|| preset.icon.clone()),
        logo: written.logo.or_else(|| preset.logo.clone()),
    }
}
