//! OpenID Connect Discovery 1.0: what a provider says of itself, over which what the operator says by hand
//! has the last word.

use identity_core::outgoing::Outgoing;
use openidconnect::core::CoreJsonWebKeySet;
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::model::{AuthMethod, Settings};
use super::wire::{Unreachable, receive};

/// Where the document stands below an issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where a provider is reached, and what it can.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The `iss` of its ID tokens; none where there are none.
    pub issuer: Option<String>,
    /// Where the browser is sent.
    pub authorization: Url,
    /// Where tokens are asked for.
    pub token: Url,
    /// RFC 7009
    pub revocation: Option<Url>,
    /// OpenID Connect Core 1.0, 5.3
    pub userinfo: Option<Url>,
    /// Its keys.
    pub jwks: Option<Url>,
    /// Where it is told that somebody signs out (OpenID Connect RP-Initiated Logout 1.0).
    pub end_session: Option<Url>,
    /// Whether every answer to the browser names the issuer (RFC 9207).
    pub names_issuer: bool,
    /// How we show who we are.
    pub auth_method: AuthMethod,
    /// What it says it supports; none where it does not say.
    pub supported: Supported,
}

/// Lists of a discovery document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Supported {
    #[serde(rename = "scopes_supported")]
    pub scopes: Option<Vec<String>>,
    #[serde(rename = "grant_types_supported")]
    pub grant_types: Option<Vec<String>>,
    #[serde(rename = "code_challenge_methods_supported")]
    pub code_challenge_methods: Option<Vec<String>>,
    #[serde(rename = "token_endpoint_auth_methods_supported")]
    pub token_endpoint_auth_methods: Option<Vec<String>>,
}

/// A discovery document, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    issuer: Option<String>,
    authorization_endpoint: Option<Url>,
    token_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    userinfo_endpoint: Option<Url>,
    jwks_uri: Option<Url>,
    end_session_endpoint: Option<Url>,
    authorization_response_iss_parameter_supported: bool,
    #[serde(flatten)]
    supported: Supported,
}

/// Asks the provider, where it has a discovery document.
///
/// # Errors
/// [`Unreachable`] where it cannot be had, is of another issuer, or lacks what is needed.
pub async fn discover(settings: &Settings, outgoing: &Outgoing) -> Result<Endpoints, Unreachable> {
    let Some(url) = &settings.discovery_url else {
        return endpoints_of(settings, Document::default());
    };
    let (address, issuer) = addresses(url);
    let document: Document = get(outgoing, address).await?;
    let expected = settings.issuer.as_deref().unwrap_or(&issuer);
    let found = document.issuer.as_deref().unwrap_or_default();
    // Discovery, 4.3: the document must be of the very issuer. A slash at the end is often missing.
    if found.trim_end_matches('/') != expected.trim_end_matches('/') {
        return Err(Unreachable::because(format!(
            "the discovered issuer is `{found}`, expected `{expected}`"
        )));
    }
    endpoints_of(settings, document)
}

/// What the operator says by hand, and where nothing is said the document.
///
/// # Errors
/// [`Unreachable`] where something is missing that is needed.
pub(crate) fn endpoints_of(settings: &Settings, document: Document) -> Result<Endpoints, Unreachable> {
    let needed = |name: &str, by_hand: &Option<Url>, discovered: Option<Url>| {
        let found = by_hand.clone().or(discovered);
        found.ok_or_else(|| Unreachable::because(format!("its discovery document has no {name}")))
    };
    let endpoints = Endpoints {
        authorization: needed(
            "authorization_endpoint",
            &settings.authorization_endpoint,
            document.authorization_endpoint,
        )?,
        token: needed(
            "token_endpoint",
            &settings.token_endpoint,
            document.token_endpoint,
        )?,
        issuer: document.issuer.or_else(|| settings.issuer.clone()),
        revocation: settings
            .revocation_endpoint
            .clone()
            .or(document.revocation_endpoint),
        userinfo: settings.userinfo_endpoint.clone().or(document.userinfo_endpoint),
        jwks: settings.jwks_uri.clone().or(document.jwks_uri),
        end_session: document.end_session_endpoint,
        names_issuer: document.authorization_response_iss_parameter_supported,
        auth_method: settings
            .auth_method
            .unwrap_or_else(|| offered(document.supported.token_endpoint_auth_methods.as_deref())),
        supported: document.supported,
    };
    let browsers = [Some(&endpoints.authorization), endpoints.end_session.as_ref()];
    for url in browsers.into_iter().flatten() {
        // The browser is sent there: nothing but a page will do.
        if !["http", "https"].contains(&url.scheme()) {
            return Err(Unreachable::because(format!(
                "`{}` is no address of a page",
                url.scheme()
            )));
        }
    }
    Ok(endpoints)
}

/// The address of the document, and the issuer whose it must be.
fn addresses(url: &Url) -> (Url, String) {
    let text = url.as_str();
    match text.strip_suffix(WELL_KNOWN) {
        Some(issuer) => (url.clone(), issuer.to_owned()),
        None if url.path().contains("/.well-known/") => (url.clone(), text.to_owned()),
        None => {
            let issuer = text.trim_end_matches('/');
            let address = Url::parse(&format!("{issuer}{WELL_KNOWN}")).unwrap_or_else(|_| url.clone());
            (address, issuer.to_owned())
        }
    }
}

/// Basic where it is offered or nothing is said (OpenID Connect Discovery 1.0, 3), else post.
fn offered(methods: Option<&[String]>) -> AuthMethod {
    let offers = |method: AuthMethod| methods.is_none_or(|all| all.iter().any(|one| one == method.as_str()));
    if !offers(AuthMethod::ClientSecretBasic) && offers(AuthMethod::ClientSecretPost) {
        AuthMethod::ClientSecretPost
    } else {
        AuthMethod::ClientSecretBasic
    }
}

/// The provider's keys, those of kinds that we do not know left out.
///
/// # Errors
/// [`Unreachable`]
pub async fn keys(outgoing: &Outgoing, url: &Url) -> Result<CoreJsonWebKeySet, Unreachable> {
    get(outgoing, url.clone()).await
}

async fn get<T: serde::de::DeserializeOwned>(outgoing: &Outgoing, url: Url) -> Result<T, Unreachable> {
    let request = outgoing
        .request(Method::GET, url)
        .map_err(|error| Unreachable::because(error.to_string()))?;
    let (status, body) = receive(request).await?;
    if !status.is_success() {
        return Err(Unreachable::because(format!("it answered {status}")));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Unreachable::because(format!("its answer is nonsense: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_its_address_or_by_its_issuer() {
        for (given, address, issuer) in [
            (
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/realms/x",
            ),
            (
                "https://a.example/realms/x/",
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/realms/x",
            ),
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example",
            ),
        ] {
            let (found, of) = addresses(&Url::parse(given).unwrap());
            assert_eq!((found.as_str(), of.as_str()), (address, issuer));
        }
    }

    #[test]
    fn basic_is_preferred_where_it_is_offered() {
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(offered(None), AuthMethod::ClientSecretBasic);
        assert_eq!(
            offered(Some(&all(&["client_secret_post"]))),
            AuthMethod::ClientSecretPost
        );
        let both = all(&["client_secret_post", "client_secret_basic"]);
        assert_eq!(offered(Some(&both)), AuthMethod::ClientSecretBasic);
    }
}
