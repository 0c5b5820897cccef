//! The services that the launcher knows: the one table in which a service is entered.

use crate::service::Service;
use crate::{eida_auth, ident, idm_users, tokenstore};

/// All of them, in the order of their ports from `--port-base` on.
pub static SERVICES: &[Service] = &[
    ident::SERVICE,
    tokenstore::SERVICE,
    idm_users::SERVICE,
    eida_auth::SERVICE,
];
