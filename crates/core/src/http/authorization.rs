//! The header `Authorization` (RFC 9110, 11.6.2): a scheme, and what it carries.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

/// The scheme as it was written, and the credentials behind it; none where either is missing.
#[must_use]
pub fn credentials(request: &HttpRequest) -> Option<(&str, &str)> {
    let (scheme, credentials) = request
        .headers()
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    Some((scheme, credentials.trim())).filter(|(_, credentials)| !credentials.is_empty())
}

/// The bearer token of a request (RFC 6750, 2.1).
#[must_use]
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    credentials(request)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token)
}
