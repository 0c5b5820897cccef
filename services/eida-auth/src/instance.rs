//! One instance of eida-auth: put together from its configuration, for serving and for commands.

use std::sync::Arc;

use actix_web::web;
use identity_core::clock::Clock;
use identity_core::config::Base;
use identity_core::crypto::issuer::Issuers;
use identity_core::failure::Failure;
use identity_core::http::problem;
use identity_core::http::server::{self, Service};
use identity_core::metrics::Metrics;
use identity_core::outgoing::Outgoing;
use identity_core::runtime::Runtime;

use crate::cleanup::{self, Cleaner};
use crate::config::{Config, RunMode};
use crate::credentials::{self, Ledger, Maker, Writer};
use crate::databases::Databases;
use crate::openpgp::Keyring;
use crate::state::Shared;
use crate::tokens::{Acceptor, Counts};
use crate::{about, openapi};

/// What one instance works with.
#[derive(Debug)]
pub struct Instance {
    base: Base,
    metrics: Metrics,
    /// What handlers and commands share.
    pub shared: Shared,
}

/// Puts together what tells good tokens from bad, without any database.
///
/// # Errors
/// [`Failure`] when the keyring cannot be read, or has in production no usable key.
pub async fn acceptor(config: &Config, clock: &Clock, metrics: &Metrics) -> Result<Acceptor, Failure> {
    let keyring = Keyring::open(config.key_sources.clone(), config.policy, clock.clone()).await?;
    if !keyring.keys().any_usable(clock.now().as_second()) {
        let message = "keyring: expected at least one key that may sign tokens now, in a file, a directory or gnupg_home";
        if config.run_mode == RunMode::Production {
            return Err(Failure::configuration(message));
        }
        tracing::warn!("no token will be accepted: {message}");
    }
    if config.policy.accept_sha1 {
        tracing::warn!(
            "accept_sha1: signatures over SHA-1 digests are accepted, which can be forged with effort"
        );
    }
    let outgoing = Outgoing::new(&config.base.outgoing)?;
    let eas = config.eas.as_ref();
    Ok(Acceptor {
        keyring,
        issuers: Issuers::new(eas.map(|eas| eas.issuer.clone()).into_iter().collect(), &outgoing),
        memberships_claim: eas.map(|eas| eas.memberships_claim.clone()).unwrap_or_default(),
        clock: clock.clone(),
        counts: Counts::new(metrics),
    })
}

impl Instance {
    /// Opens the databases and puts everything together.
    ///
    /// # Errors
    /// [`Failure`] when a database cannot be used or the configuration cannot work.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, Failure> {
        let metrics = Metrics::new("eida-auth");
        let acceptor = acceptor(&config, &clock, &metrics).await?;
        let databases = Databases::open(&config).await?;
        databases.by_name().0.measure(&metrics);
        if databases.own.is_none() {
            tracing::warn!(
                "there is no database of our own: credentials.max_per_token holds for each instance by itself, and no \
                 token can be blocked"
            );
        }
        let ledger = Ledger::new(databases.own.as_ref());
        let cleaner = Cleaner {
            databases: databases.clone(),
            ledger: ledger.clone(),
            clock: clock.clone(),
            interval: config.cleanup.interval.0,
            removed: metrics.counter("accounts_removed", "Temporary accounts that were removed"),
            turn: Arc::default(),
        };
        let writer = Writer {
            databases,
            ledger,
            maker: Maker::new(&config.credentials),
            max_per_token: config.credentials.max_per_token.into(),
            clock,
            issued: metrics.counter("logins_issued", "Temporary logins that were given"),
        };
        let shared = Shared {
            acceptor,
            writer,
            cleaner,
            cleanup: Arc::new(config.cleanup),
            run_mode: config.run_mode,
            contact_email: config.contact_email.map(Into::into),
            token_url: config.token_url.map(Arc::new),
            public_url: public_url(&config.base).into(),
            knows_eas: config.eas.is_some(),
        };
        Ok(Self {
            base: config.base,
            metrics,
            shared,
        })
    }

    /// Serves until the word to stop.
    ///
    /// # Errors
    /// [`Failure`] when it cannot start or go on.
    pub async fn serve(self, runtime: Runtime) -> Result<(), Failure> {
        let Self {
            base,
            metrics,
            shared,
        } = self;
        let stop = runtime.stop.clone();
        let (database, others) = shared.writer.databases.by_name();
        let service = Service {
            form: problem::plain_text,
            openapi: openapi::document(),
            database,
            metrics,
            hasher: None,
        };
        let (keyring, cleaner) = (shared.acceptor.keyring.clone(), shared.cleaner.clone());
        let working = async move {
            tokio::join!(keyring.keep_up_to_date(&stop), cleaner.run(&stop));
            Ok(())
        };
        let serving = server::serve_with(&base, service, others, runtime, move |config| {
            config.app_data(web::Data::new(shared.clone()));
            credentials::api::routes(config, &shared);
            about::api::routes(config);
            cleanup::api::routes(config);
        });
        tokio::try_join!(serving, working).map(|_| ())
    }
}

/// Under which the service is reached, without a slash at the end.
fn public_url(base: &Base) -> String {
    if let Some(url) = &base.server.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let tls = base.server.tls_cert.is_some();
    format!("http{}://{}", if tls { "s" } else { "" }, base.server.bind.0)
}
