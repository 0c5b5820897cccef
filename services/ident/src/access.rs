//! Who is calling, and may they: a handler gets its caller only through this check. Answers as
//! RFC 6750 says.

use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use identity_core::http::Problem;
use identity_core::http::authorization::bearer;

use crate::config::RecordsAccess;
use crate::state::State;
use crate::tokens::{Permission, Verified};

/// What a handler needs its caller to be allowed.
pub trait Needed {
    /// The permission.
    const PERMISSION: Permission;
}

/// When the check is made.
pub trait Checked {
    /// Whether `auth.records = "open"` lets everybody in.
    const OPENS: bool;
}

/// The people's records, which can be open.
#[derive(Debug)]
pub struct Records;

/// Everything else.
#[derive(Debug)]
pub struct Always;

impl Checked for Records {
    const OPENS: bool = true;
}

impl Checked for Always {
    const OPENS: bool = false;
}

macro_rules! needed {
    ($($(#[$doc:meta])* $name:ident = $permission:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Needed for $name {
            const PERMISSION: Permission = Permission::$permission;
        }
    )*};
}

needed! {
    /// See people.
    ReadUsers = UsersRead;
    /// Make, change and delete people's records.
    WriteUsers = UsersWrite;
    /// Take the access tokens of linked accounts.
    TakeTokens = UsersTokens;
    /// Give people usernames, passwords and permissions.
    WriteCredentials = UsersCredentials;
    /// See machine clients.
    ReadClients = ClientsRead;
    /// Make, change and delete machine clients.
    WriteClients = ClientsWrite;
    /// See and change keys, issuer and lifetimes.
    ConfigurationWrite = ConfigurationWrite;
}

/// A caller who may do what `P` names.
#[derive(Debug)]
pub struct Permitted<P, C = Always> {
    /// What the caller may do; none: everything, since nobody is asked.
    permissions: Option<Permissions>,
    needed: PhantomData<(P, C)>,
}

/// What a caller may do.
#[derive(Debug)]
pub enum Permissions {
    /// As a token of ours says, which others show as well.
    Ours(Arc<Verified>),
    /// As a trusted issuer says.
    Theirs(Vec<String>),
}

impl std::ops::Deref for Permissions {
    type Target = [String];

    fn deref(&self) -> &[String] {
        match self {
            Self::Ours(token) => &token.claims.own.permissions,
            Self::Theirs(permissions) => permissions,
        }
    }
}

impl<P: Needed, C: Checked> FromRequest for Permitted<P, C> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { check::<P, C>(&request).await })
    }
}

async fn check<P: Needed, C: Checked>(request: &HttpRequest) -> Result<Permitted<P, C>, Problem> {
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or_else(|| Problem::internal("the state is missing"))?;
    if C::OPENS && state.records == RecordsAccess::Open {
        return Ok(Permitted {
            permissions: None,
            needed: PhantomData,
        });
    }
    let scope = P::PERMISSION.as_str();
    let token = bearer(request).ok_or_else(|| challenge(StatusCode::UNAUTHORIZED, None, Some(scope)))?;
    let permissions = state.permissions_of(token).await.map_err(|error| {
        tracing::debug!(%error, "a token was refused");
        challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"), Some(scope))
    })?;
    if permissions.iter().any(|permission| permission == scope) {
        return Ok(Permitted {
            permissions: Some(permissions),
            needed: PhantomData,
        });
    }
    Err(challenge(
        StatusCode::FORBIDDEN,
        Some("insufficient_scope"),
        Some(scope),
    ))
}

impl<P, C> Permitted<P, C> {
    /// Refuses to hand on what the caller has not: nobody makes themselves mightier.
    ///
    /// # Errors
    /// 403.
    pub fn may_grant(&self, granted: Option<&[Permission]>) -> Result<(), Problem> {
        let names: Vec<String> = granted
            .unwrap_or_default()
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect();
        self.may_change(&names)
    }

    /// Refuses to change somebody who may more than the caller: with their password the caller would
    /// be them.
    ///
    /// # Errors
    /// 403.
    pub fn may_change(&self, theirs: &[String]) -> Result<(), Problem> {
        let Some(own) = &self.permissions else {
            return Ok(());
        };
        if theirs.iter().all(|permission| own.contains(permission)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "That would be more than the caller's own permissions.",
        )
        .of_kind("more-than-own"))
    }
}

/// 401, for a token that is missing or, with `error`, not valid.
#[must_use]
pub fn invalid_token(error: Option<&'static str>) -> Problem {
    challenge(StatusCode::UNAUTHORIZED, error, None)
}

/// RFC 6750, 3: what is wrong, and what would be needed.
fn challenge(status: StatusCode, error: Option<&str>, scope: Option<&str>) -> Problem {
    let detail = match error {
        None => "A bearer token is needed.",
        Some("insufficient_scope") => "The token does not permit this.",
        Some(_) => "The token is not valid.",
    };
    let mut challenge = "Bearer realm=\"ident\"".to_owned();
    for (name, value) in [("error", error), ("scope", scope)] {
        if let Some(value) = value {
            challenge.extend([", ", name, "=\"", value, "\""]);
        }
    }
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => Problem::new(status, detail).with_header(WWW_AUTHENTICATE, challenge),
        Err(error) => Problem::internal(error),
    }
}
