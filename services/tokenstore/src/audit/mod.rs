//! Who linked, used and revoked what, when, from where. No secrets.
//!
//! Changes are noted in their own transaction. Uses of tokens, which are many, are counted in memory and
//! written together every second (decision 0032).

mod recorder;
pub mod store;

pub use recorder::Recorder;

use std::net::IpAddr;

use jiff::Timestamp;

use crate::access::{Caller, Person};
use crate::links::LinkKey;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    SignedIn,
    SignedOut,
    Linked,
    Used,
    Broken,
    Revoked,
    KeyMade,
    KeyRevoked,
}

impl Action {
    /// Its name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::SignedOut => "signed_out",
            Self::Linked => "linked",
            Self::Used => "used",
            Self::Broken => "broken",
            Self::Revoked => "revoked",
            Self::KeyMade => "key_made",
            Self::KeyRevoked => "key_revoked",
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Timestamp,
    pub person: Person,
    pub action: Action,
    pub provider: Option<String>,
    pub by: &'static str,
    pub address: Option<IpAddr>,
    pub times: i32,
    pub detail: Option<String>,
}

impl Entry {
    /// What `caller` did.
    #[must_use]
    pub fn of(caller: &Caller, action: Action, provider: Option<&str>, at: Timestamp) -> Self {
        Self {
            at,
            person: caller.person.clone(),
            action,
            provider: provider.map(ToOwned::to_owned),
            by: caller.by.as_str(),
            address: caller.address,
            times: 1,
            detail: None,
        }
    }

    /// What the service did by itself.
    #[must_use]
    pub fn of_service(action: Action, key: &LinkKey, at: Timestamp) -> Self {
        Self {
            at,
            person: key.person.clone(),
            action,
            provider: Some(key.provider.clone()),
            by: "service",
            address: None,
            times: 1,
            detail: None,
        }
    }

    /// With more about it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
