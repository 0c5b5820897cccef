//! OAuth 2.0 and OpenID Connect with a provider: the browser sent there, the code and the refresh token
//! exchanged, the ID token verified, a token revoked. openidconnect does the protocol.

use std::time::Duration;

use identity_core::crypto::token::PlainToken;
use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreJsonWebKeySet, CoreTokenResponse,
    CoreTokenType,
};
use openidconnect::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, StandardErrorResponse, TokenUrl,
};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::assertion::{self, assertion};
use super::discovery::Endpoints;
use super::model::AuthMethod;
use super::provider::Provider;
use super::wire::{Unreachable, Wire, receive};

/// The longest token that is stored, in bytes.
const LONGEST_TOKEN: usize = 64 * 1024;

/// A lifetime longer than this says nothing: ORCID's tokens are good for twenty years.
const LONGEST_LIFETIME: u64 = 100 * 366 * 24 * 3600;

pub(crate) type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;
pub(crate) type Asked<T> =
    Result<T, RequestTokenError<Unreachable, StandardErrorResponse<CoreErrorResponseType>>>;

/// An authorization that was begun: where the browser goes, and what has to be remembered.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub location: Url,
    /// `state`
    pub state: PlainToken,
    /// `nonce`
    pub nonce: String,
    /// `code_verifier` (RFC 7636)
    pub verifier: PlainToken,
}

/// What comes back with the browser.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the members are those of RFC 6749, 4.1.2, and RFC 9207"
)]
pub struct Callback {
    pub state: Option<String>,
    pub code: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// Tokens as they came.
#[derive(Debug)]
#[expect(missing_docs, reason = "the members are those of RFC 6749, 5.1")]
pub struct Obtained {
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    pub token_type: String,
    pub expires_in: Option<Duration>,
    pub refresh_expires_in: Option<Duration>,
    pub scopes: Option<Vec<String>>,
    pub id_token: Option<SecretString>,
}

/// Why a provider gave no tokens.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// It is down, slow, or answers nonsense: later.
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    /// The code or refresh token is good for nothing any more.
    #[error("invalid_grant: {0}")]
    InvalidGrant(String),
    /// Any other error of the standard: most often it does not accept us.
    #[error("{error}: {description}")]
    Refused {
        /// `error`
        error: String,
        /// `error_description`
        description: String,
    },
    /// Who the person is there cannot be believed.
    #[error("{0}")]
    Identity(String),
}

impl ProviderError {
    /// The parameters `error` and `error_description` for the page that began it.
    #[must_use]
    pub fn shown(&self) -> (String, String) {
        match self {
            Self::Unreachable(_) => (
                "temporarily_unavailable".to_owned(),
                "The provider could not be reached.".to_owned(),
            ),
            Self::InvalidGrant(_) => (
                "invalid_grant".to_owned(),
                "The provider did not accept its own code.".to_owned(),
            ),
            Self::Refused { error, description } => (error.clone(), description.clone()),
            Self::Identity(_) => (
                "invalid_id_token".to_owned(),
                "What the provider says of the account cannot be verified.".to_owned(),
            ),
        }
    }
}

impl Provider {
    /// Begins an authorization that comes back to `redirect_uri`.
    ///
    /// # Errors
    /// [`Unreachable`] where the provider's endpoints are not known.
    pub async fn begin(&self, redirect_uri: &str, now: Timestamp) -> Result<Begun, Unreachable> {
        let endpoints = self.endpoints(now).await?;
        let client = self.client(&endpoints, Some(redirect_uri))?;
        let (state, nonce, verifier) = (
            PlainToken::generate(""),
            PlainToken::generate("").expose().to_owned(),
            PlainToken::generate(""),
        );
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(
            verifier.expose().to_owned(),
        ));
        let (asked_state, asked_nonce) = (state.expose().to_owned(), nonce.clone());
        let mut asked = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(asked_state.clone()),
                move || Nonce::new(asked_nonce.clone()),
            )
            .set_pkce_challenge(challenge);
        for scope in self.settings.scope.split_whitespace() {
            asked = asked.add_scope(Scope::new(scope.to_owned()));
        }
        for (name, value) in &self.settings.authorize_params {
            asked = asked.add_extra_param(name.clone(), value.clone());
        }
        let (location, _, _) = asked.url();
        Ok(Begun {
            location,
            state,
            nonce,
            verifier,
        })
    }

    /// Exchanges what came back with the browser for tokens.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn exchange(
        &self,
        callback: &Callback,
        verifier: &str,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<Obtained, ProviderError> {
        let endpoints = self.endpoints(now).await?;
        check_issuer(&endpoints, callback.iss.as_deref())?;
        if let Some(error) = &callback.error {
            return Err(ProviderError::Refused {
                error: printable(error),
                description: printable(callback.error_description.as_deref().unwrap_or_default()),
            });
        }
        let code = callback.code.clone().ok_or_else(|| ProviderError::Refused {
            error: "invalid_request".to_owned(),
            description: "The provider sent neither a code nor an error.".to_owned(),
        })?;
        let client = self.client(&endpoints, Some(redirect_uri))?;
        let wire = Wire::new(&self.outgoing, &self.settings, true);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        for (name, value) in self.authentication(&endpoints, now)? {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&wire).await;
        obtained(answer, &wire)
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn refresh(&self, token: &SecretString, now: Timestamp) -> Result<Obtained, ProviderError> {
        let endpoints = self.endpoints(now).await?;
        let client = self.client(&endpoints, None)?;
        let wire = Wire::new(&self.refreshing, &self.settings, false);
        let token = RefreshToken::new(token.expose_secret().to_owned());
        let mut request = client.exchange_refresh_token(&token);
        for (name, value) in self.authentication(&endpoints, now)? {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&wire).await;
        obtained(answer, &wire)
    }

    /// Revokes a token (RFC 7009); false where the provider has no endpoint for that.
    ///
    /// openidconnect would do it by HTTPS only, and then not with a signed assertion.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn revoke(
        &self,
        token: &SecretString,
        hint: &str,
        now: Timestamp,
    ) -> Result<bool, ProviderError> {
        let endpoints = self.endpoints(now).await?;
        let Some(url) = &endpoints.revocation else {
            return Ok(false);
        };
        let mut form = vec![
            ("token".to_owned(), token.expose_secret().to_owned()),
            ("token_type_hint".to_owned(), hint.to_owned()),
        ];
        form.extend(self.authentication(&endpoints, now)?);
        let request = self.outgoing.request(Method::POST, url.clone());
        let mut request = request.map_err(|error| Unreachable::because(error.to_string()))?;
        let secret = self
            .settings
            .client_secret
            .as_ref()
            .map(ExposeSecret::expose_secret);
        match endpoints.auth_method {
            AuthMethod::ClientSecretBasic if secret.is_some() => {
                request = request.basic_auth(encoded(&self.settings.client_id), secret.map(encoded));
            }
            AuthMethod::ClientSecretPost | AuthMethod::ClientSecretBasic => {
                form.push(("client_id".to_owned(), self.settings.client_id.clone()));
                form.extend(secret.map(|secret| ("client_secret".to_owned(), secret.to_owned())));
            }
            AuthMethod::PrivateKeyJwt => {
                form.push(("client_id".to_owned(), self.settings.client_id.clone()));
            }
        }
        let (status, _) = receive(request.form(&form)).await?;
        if status.is_success() {
            Ok(true)
        } else {
            Err(Unreachable::because(format!("its revocation endpoint answered {status}")).into())
        }
    }

    pub(crate) fn client(
        &self,
        endpoints: &Endpoints,
        redirect_uri: Option<&str>,
    ) -> Result<Client, Unreachable> {
        let wrong = |error: url::ParseError| Unreachable::because(error.to_string());
        // Without an issuer no ID token is looked at; the library wants one all the same.
        let issuer = endpoints
            .issuer
            .clone()
            .unwrap_or_else(|| endpoints.token.to_string());
        let client = CoreClient::new(
            ClientId::new(self.settings.client_id.clone()),
            IssuerUrl::new(issuer).map_err(wrong)?,
            CoreJsonWebKeySet::new(Vec::new()),
        );
        let mut client = client
            .set_auth_uri(AuthUrl::from_url(endpoints.authorization.clone()))
            .set_token_uri(TokenUrl::from_url(endpoints.token.clone()))
            .disable_openid_scope()
            .set_auth_type(match endpoints.auth_method {
                AuthMethod::ClientSecretBasic => AuthType::BasicAuth,
                AuthMethod::ClientSecretPost | AuthMethod::PrivateKeyJwt => AuthType::RequestBody,
            });
        if let Some(uri) = redirect_uri {
            client = client.set_redirect_uri(RedirectUrl::new(uri.to_owned()).map_err(wrong)?);
        }
        match &self.settings.client_secret {
            Some(secret) if endpoints.auth_method != AuthMethod::PrivateKeyJwt => {
                Ok(client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())))
            }
            _ => Ok(client),
        }
    }

    /// What shows who we are beyond id and secret.
    fn authentication(
        &self,
        endpoints: &Endpoints,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, Unreachable> {
        if endpoints.auth_method != AuthMethod::PrivateKeyJwt {
            return Ok(Vec::new());
        }
        let signed = assertion(&self.settings, endpoints.token.as_str(), now)
            .map_err(|error| Unreachable::because(error.to_string()))?;
        Ok(vec![
            ("client_assertion_type".to_owned(), assertion::TYPE.to_owned()),
            ("client_assertion".to_owned(), signed),
        ])
    }
}

/// RFC 9207: the issuer that the answer names is the one that was asked, or it is mixed up.
fn check_issuer(endpoints: &Endpoints, named: Option<&str>) -> Result<(), ProviderError> {
    match (named, &endpoints.issuer) {
        (Some(named), Some(issuer)) if named != issuer => Err(ProviderError::Identity(
            "the answer names another issuer".to_owned(),
        )),
        (None, _) if endpoints.names_issuer => Err(ProviderError::Identity(
            "the answer does not name its issuer".to_owned(),
        )),
        _ => Ok(()),
    }
}

pub(crate) fn obtained(answer: Asked<CoreTokenResponse>, wire: &Wire<'_>) -> Result<Obtained, ProviderError> {
    let tokens = answer.map_err(|error| match error {
        RequestTokenError::ServerResponse(said) => {
            let description = printable(said.error_description().map_or("", String::as_str));
            match said.error() {
                CoreErrorResponseType::InvalidGrant => ProviderError::InvalidGrant(description),
                CoreErrorResponseType::Extension(error)
                    if ["temporarily_unavailable", "server_error"].contains(&error.as_str()) =>
                {
                    Unreachable::because(format!("it says {error}")).into()
                }
                other => ProviderError::Refused {
                    error: printable(other.as_ref()),
                    description,
                },
            }
        }
        RequestTokenError::Request(unreachable) => unreachable.into(),
        // The text would hold what the provider sent, which may be a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Unreachable::because("its answer is nonsense").into()
        }
    })?;
    let lengths = [
        tokens.access_token().secret().len(),
        tokens.refresh_token().map_or(1, |token| token.secret().len()),
    ];
    if lengths.iter().any(|length| !(1..=LONGEST_TOKEN).contains(length)) {
        return Err(Unreachable::because("its tokens have an impossible length").into());
    }
    let lifetime = |seconds: u64| Duration::from_secs(seconds.min(LONGEST_LIFETIME));
    let refresh_seconds = wire.seconds(&["refresh_expires_in", "refresh_token_expires_in"]);
    Ok(Obtained {
        access_token: tokens.access_token().secret().clone().into(),
        refresh_token: tokens.refresh_token().map(|token| token.secret().clone().into()),
        token_type: match tokens.token_type() {
            CoreTokenType::Bearer => "Bearer".to_owned(),
            other => printable(other.as_ref()),
        },
        expires_in: tokens.expires_in().map(|span| lifetime(span.as_secs())),
        refresh_expires_in: refresh_seconds.filter(|seconds| *seconds > 0).map(lifetime),
        scopes: tokens.scopes().map(|scopes| {
            let scopes = scopes.iter().map(|scope| printable(scope));
            scopes.filter(|scope| !scope.is_empty()).collect()
        }),
        id_token: tokens
            .extra_fields()
            .id_token()
            .map(|token| token.to_string().into()),
    })
}

/// What a stranger wrote, fit for a log line or a parameter.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect()
}

/// RFC 6749, 2.3.1: id and secret are form-encoded before they are put into the header.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
