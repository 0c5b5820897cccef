//! Our two cookies: the session, and the browser that began a login or a link.
//!
//! `HttpOnly`, `SameSite=Lax` (the browser comes back from providers by links), `Secure` and with the prefix
//! `__Host-` where the service is reached by HTTPS (RFC 6265bis, 4.1.3.2): no other host can set such one.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderValue};
use identity_core::crypto::token::PlainToken;

/// The longest value that is looked at; ours have 43 bytes.
const LONGEST: usize = 64;

/// How long a browser may take for a login or a link.
pub const FLOW_LIFETIME: Duration = Duration::from_mins(10);

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in.
    Session,
    /// The browser that began something.
    Browser,
}

/// How cookies are set here.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    /// Whether browsers come by HTTPS.
    pub https: bool,
}

impl Cookies {
    fn name(self, cookie: Cookie) -> &'static str {
        match (cookie, self.https) {
            (Cookie::Session, true) => "__Host-tokenstore",
            (Cookie::Session, false) => "tokenstore",
            (Cookie::Browser, true) => "__Host-tokenstore-browser",
            (Cookie::Browser, false) => "tokenstore-browser",
        }
    }

    /// The secret in a cookie of `request`. Where two have the name, neither is believed: one of them is
    /// somebody else's.
    #[must_use]
    pub fn find(self, request: &HttpRequest, cookie: Cookie) -> Option<PlainToken> {
        let name = self.name(cookie);
        let headers = request.headers().get_all(COOKIE);
        let mut values = headers
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.trim_matches('"'));
        match (values.next(), values.next()) {
            (Some(value), None) if (1..=LONGEST).contains(&value.len()) => Some(PlainToken::presented(value)),
            _ => None,
        }
    }

    /// The header `Set-Cookie` that keeps `secret` for `lifetime`.
    #[must_use]
    pub fn set(self, cookie: Cookie, secret: &PlainToken, lifetime: Duration) -> HeaderValue {
        self.header(cookie, secret.expose(), lifetime.as_secs())
    }

    /// The header `Set-Cookie` that takes the cookie away.
    #[must_use]
    pub fn unset(self, cookie: Cookie) -> HeaderValue {
        self.header(cookie, "", 0)
    }

    fn header(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.https { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}",
            self.name(cookie)
        );
        // Base64url, digits and our own words: there is nothing that no header could hold.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}
