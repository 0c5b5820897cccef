//! What users would meet at a provider, found out by a dry run: its discovery, its keys, what is asked for,
//! and whether it accepts this service.

use jiff::Timestamp;

use super::discovery::Endpoints;
use super::protocol::ProviderError;
use super::provider::Provider;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It works.
    Good,
    /// It works, with what is said.
    Warning,
    /// It cannot work.
    Wrong,
}

/// One line of the report.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was found.
    pub text: String,
}

/// Examines a provider; `links` says whether accounts are linked there, or only people sign in.
pub async fn examine(provider: &Provider, links: bool, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |weight, text: String| found.push(Finding { weight, text });
    let endpoints = match provider.endpoints(now).await {
        Ok(endpoints) => endpoints,
        Err(error) => {
            say(
                Weight::Wrong,
                format!("it cannot be reached, so that nobody can connect: {error}"),
            );
            return found;
        }
    };
    let by = if provider.settings.discovery_url.is_some() {
        "its discovery document"
    } else {
        "the configuration"
    };
    say(Weight::Good, format!("its endpoints are known from {by}"));
    for (name, url) in [
        ("authorization_endpoint", &endpoints.authorization),
        ("token_endpoint", &endpoints.token),
    ] {
        if url.scheme() != "https" {
            say(
                Weight::Warning,
                format!("{name} is not https: whoever is on the way can read tokens"),
            );
        }
    }
    if endpoints.issuer.is_some() && endpoints.jwks.is_some() {
        match provider.keys(false, now).await {
            Ok(keys) if keys.keys().is_empty() => {
                say(Weight::Wrong, "it publishes no key that is known here".to_owned());
            }
            Ok(keys) => say(Weight::Good, format!("it publishes {} keys", keys.keys().len())),
            Err(error) => say(Weight::Wrong, format!("its keys cannot be had: {error}")),
        }
    } else if !links {
        say(
            Weight::Wrong,
            "it has no jwks_uri, so that nobody can sign in".to_owned(),
        );
    }
    supported(provider, &endpoints, links, &mut say);
    accepted(provider, now, &mut say).await;
    found
}

/// What is asked for, against what the provider says it supports.
fn supported(provider: &Provider, endpoints: &Endpoints, links: bool, say: &mut impl FnMut(Weight, String)) {
    let (settings, supported) = (&provider.settings, &endpoints.supported);
    if let Some(scopes) = &supported.scopes {
        for asked in settings
            .scope
            .split_whitespace()
            .filter(|asked| !scopes.iter().any(|scope| scope == asked))
        {
            say(
                Weight::Warning,
                format!("it does not list the scope `{asked}` among those that it supports"),
            );
        }
    }
    if let Some(methods) = &supported.code_challenge_methods
        && !methods.iter().any(|method| method == "S256")
    {
        say(
            Weight::Warning,
            "it does not say that it supports PKCE with S256".to_owned(),
        );
    }
    let method = endpoints.auth_method.as_str();
    if let Some(methods) = &supported.token_endpoint_auth_methods
        && !methods.iter().any(|known| known == method)
    {
        say(
            Weight::Wrong,
            format!("it does not support token_endpoint_auth_method {method}"),
        );
    }
    if settings.client_secret.is_none() {
        say(
            Weight::Warning,
            "client_secret is not set: it must know this service as a public client".to_owned(),
        );
    }
    if !links {
        return;
    }
    let offers_offline = supported
        .scopes
        .as_ref()
        .is_some_and(|all| all.iter().any(|scope| scope == "offline_access"));
    let asks = settings
        .scope
        .split_whitespace()
        .any(|scope| scope == "offline_access");
    match settings.asks_for_refresh_tokens() {
        Some(true) => say(Weight::Good, "refresh tokens will come".to_owned()),
        Some(false) if settings.preset.refresh_tokens == Some(false) => {
            say(
                Weight::Good,
                "no refresh token will come, and none is needed: access tokens last".to_owned(),
            );
        }
        Some(false) => say(
            Weight::Warning,
            "no refresh token will come: offline access is not asked for".to_owned(),
        ),
        None if offers_offline && !asks => {
            say(
                Weight::Warning,
                "no refresh token will come: offline access is not asked for".to_owned(),
            );
        }
        None => {}
    }
    if endpoints.revocation.is_none() {
        say(
            Weight::Warning,
            "it has no revocation endpoint: a disconnected account stays allowed there".to_owned(),
        );
    }
    if settings.require_same_subject && endpoints.issuer.is_none() && endpoints.userinfo.is_none() {
        say(
            Weight::Wrong,
            "require_same_subject is set, but nothing tells who the person is there".to_owned(),
        );
    }
}

/// A refresh token that cannot exist is refused as such by a provider that knows us.
async fn accepted(provider: &Provider, now: Timestamp, say: &mut impl FnMut(Weight, String)) {
    let invented = identity_core::crypto::token::PlainToken::generate("dry-run-");
    match provider.refresh(&invented.expose().into(), now).await {
        Err(ProviderError::InvalidGrant(_)) => {
            say(Weight::Good, "it accepts the client id and secret".to_owned());
        }
        Err(ProviderError::Refused { error, description }) if error == "invalid_client" => {
            say(
                Weight::Wrong,
                format!("it does not accept the client id and secret: {description}"),
            );
        }
        Err(ProviderError::Refused { error, .. }) => {
            say(
                Weight::Warning,
                format!("it answers a refresh with `{error}`: whether it accepts us is not known"),
            );
        }
        Err(error) => say(
            Weight::Warning,
            format!("its token endpoint gives no useful answer: {error}"),
        ),
        Ok(_) => say(
            Weight::Wrong,
            "it gives tokens for a refresh token that was invented".to_owned(),
        ),
    }
}
