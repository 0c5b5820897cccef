//! Who is calling, and may they: a handler gets its caller only through this check.
//!
//! The scheme of a token is `JWT`, as the frontends say it, or `Bearer` (RFC 6750).

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use identity_core::http::Problem;
use identity_core::http::authorization::credentials;

use crate::sign_in;
use crate::state::State;
use crate::users::User;

/// Whoever has signed in.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) User);

/// A caller who is an administrator.
#[derive(Debug)]
pub(crate) struct Admin(pub(crate) User);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { check(&request).await.map(Self) })
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let user = check(&request).await?;
            if user.admin {
                Ok(Self(user))
            } else {
                Err(forbidden())
            }
        })
    }
}

async fn check(request: &HttpRequest) -> Result<User, Problem> {
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or_else(|| Problem::internal("the state is missing"))?;
    let token = token(request).ok_or_else(|| unauthorized("Sign in first: the request has no token."))?;
    let user = sign_in::user_of(state, token).await?;
    user.ok_or_else(|| unauthorized("The token is not valid any more, or never was."))
}

fn token(request: &HttpRequest) -> Option<&str> {
    credentials(request)
        .filter(|(scheme, _)| is_ours(scheme))
        .map(|(_, token)| token)
}

/// Whether we know the scheme of an `Authorization` header.
pub(crate) fn is_ours(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("JWT") || scheme.eq_ignore_ascii_case("Bearer")
}

/// 401 with what is expected.
pub(crate) fn unauthorized(message: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, message).with_header(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("JWT realm=\"idm-users\""),
    )
}

/// 403 for what only an administrator may do.
pub(crate) fn forbidden() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "Only an administrator may do this.")
}
