//! eida-auth as its users meet it: over HTTP, against a real Postgres, with messages that the real gpg
//! made. A file for each thing it does.

mod attacks;
mod centre;
mod cleanup;
mod commands;
mod eas;
mod faults;
mod limits;
mod processes;
mod requests;
mod settings;
mod signer;
mod together;
mod tokens;

use eida_auth::config::{Config, SCHEMA};
use identity_testkit::Service;

/// eida-auth as most tests need it, with the keys that gpg made.
pub static EIDA: Service = Service {
    schema: &SCHEMA,
    settings: &[
        concat!(
            "keyring=",
            env!("CARGO_MANIFEST_DIR"),
            "/tests/messages/made/keys"
        ),
        "contact_email=eida@example.org",
        "outgoing.allow_private=true",
    ],
    run: |settings, runtime| Box::pin(async move { eida_auth::run(Config::read(&settings)?, runtime).await }),
};
