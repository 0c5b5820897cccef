//! idm-users as its users meet it: over HTTP, against a real Postgres. A file for each thing it does.

mod attacks;
mod audit;
mod commands;
mod configuration;
mod enumeration;
mod errors;
mod establish;
mod foreign_tokens;
mod forgotten;
mod frontend;
mod imports;
mod links;
mod lists;
mod mails;
mod people;
mod races;
mod secret;
mod setup;
mod sign_in;
mod status;
mod subjects;
mod users;

use identity_testkit::Service;
use idm_users::config::{Config, SCHEMA};

/// idm-users as most tests need it: no mails.
pub static IDM: Service = Service {
    schema: &SCHEMA,
    settings: &[
        "jwt.secret=a secret of a test, of thirty-two bytes or more",
        "mail.transport=none",
        "outgoing.allow_private=true",
    ],
    run: |settings, runtime| Box::pin(async move { idm_users::run(Config::read(&settings)?, runtime).await }),
};
