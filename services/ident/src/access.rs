//! Who is calling, and may they: a handler gets its caller only through this check.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use identity_core::http::Problem;

use crate::config::RecordsAccess;
use crate::state::State;

/// Something that a caller may be allowed to do.
pub trait Permission {
    /// Its name in a token.
    const NAME: &'static str;
}

/// `users:read`: see people's records.
#[derive(Debug)]
pub struct ReadUsers;

/// `users:write`: make, change and delete people's records.
#[derive(Debug)]
pub struct WriteUsers;

/// `users:tokens`: take the access tokens of linked accounts.
#[derive(Debug)]
pub struct TakeTokens;

impl Permission for ReadUsers {
    const NAME: &'static str = "users:read";
}

impl Permission for WriteUsers {
    const NAME: &'static str = "users:write";
}

impl Permission for TakeTokens {
    const NAME: &'static str = "users:tokens";
}

/// A caller of the people's records who has the permission `P`.
#[derive(Debug)]
pub struct Permitted<P>(PhantomData<P>);

impl<P: Permission> FromRequest for Permitted<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let records = request.app_data::<web::Data<State>>().map(|state| state.records);
        ready(match records {
            Some(RecordsAccess::Open) => Ok(Self(PhantomData)),
            // No token is issued yet, so that none can be valid.
            Some(RecordsAccess::Token) | None => Err(unauthenticated(P::NAME)),
        })
    }
}

/// RFC 6750, 3: what is missing, and what would be needed.
fn unauthenticated(scope: &str) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "A valid bearer token is needed.");
    match HeaderValue::try_from(format!("Bearer realm=\"ident\", scope=\"{scope}\"")) {
        Ok(challenge) => problem.with_header(WWW_AUTHENTICATE, challenge),
        Err(error) => Problem::internal(error),
    }
}
