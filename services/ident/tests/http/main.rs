//! ident as its users meet it: over HTTP, against a real Postgres. A file for each thing it does.

mod access;
mod access_tokens;
mod account_attacks;
mod callers;
mod clients;
mod configuration;
mod conflicts;
mod durations;
mod failing_receivers;
mod foreign_tokens;
mod forged_tokens;
mod guessing;
mod imports;
mod invalid_records;
mod keys;
mod lists;
mod media_types;
mod notifications;
mod oauth;
mod operation;
mod originals;
mod outages;
mod pages;
mod patch_safety;
mod patched_tokens;
mod patches;
mod people;
mod processes;
mod records;
mod refused_patches;
mod refused_settings;
mod requests;
mod starts;
mod token_attacks;
mod tokens;
mod traces;
mod users;

use ident::config::{Config, SCHEMA};
use identity_testkit::Service;

/// ident with open records and a key, as most tests need it.
pub static IDENT: Service = Service {
    schema: &SCHEMA,
    settings: &[
        "auth.records=open",
        "database.encryption_key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "outgoing.allow_private=true",
    ],
    run: |settings, runtime| Box::pin(async move { ident::run(Config::read(&settings)?, runtime).await }),
};
