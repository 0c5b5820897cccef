//! The requests that are profiled.

use std::ffi::OsString;
use std::time::Duration;

use identity_core::crypto::jwt::Algorithm;
use identity_core::failure::Failure;
use identity_testkit::Provider;

use crate::load::Script;
use crate::stage::{Running, Stage};
use crate::{eida_auth, ident, tokenstore};

/// A kind of request.
pub struct Case {
    /// As the row.
    pub name: &'static str,
    /// Which service answers it.
    pub service: &'static str,
    /// Over how many connections it is asked.
    pub connections: u32,
    kind: Kind,
}

enum Kind {
    Record,
    Login,
    Token(Algorithm),
    FreshToken,
    Credentials,
}

/// A process that answers a kind of request.
pub struct Started {
    /// The process.
    pub running: Running,
    /// What it is asked.
    pub script: Script,
    /// What must last as long.
    _beside: Beside,
}

/// What a process needs beside it.
#[expect(dead_code, reason = "they are only kept")]
enum Beside {
    Nothing,
    Provider(Provider),
    Keys(eida_auth::Tokens),
}

impl Case {
    /// All of them.
    pub fn all() -> [Self; 6] {
        let case = |name, service, kind| Self {
            name,
            service,
            // Valgrind is too slow for more than a few hashes at a time.
            connections: if matches!(kind, Kind::Login) { 4 } else { 32 },
            kind,
        };
        [
            case("ident GET /{id}", "ident", Kind::Record),
            case("ident POST /auth/login", "ident", Kind::Login),
            case(
                "ident POST /auth/token, Ed25519",
                "ident",
                Kind::Token(Algorithm::EdDSA),
            ),
            case(
                "ident POST /auth/token, RSA-2048",
                "ident",
                Kind::Token(Algorithm::RS256),
            ),
            case(
                "tokenstore GET token, still fresh",
                "tokenstore",
                Kind::FreshToken,
            ),
            case("eida-auth POST /", "eida-auth", Kind::Credentials),
        ]
    }

    /// Starts the service by `program`, its last part the binary.
    pub async fn start(&self, stage: &Stage, program: &[OsString]) -> Result<Started, Failure> {
        match self.kind {
            Kind::Record => {
                let running = ident_by(stage, program, &["auth.records=open"]).await?;
                Ok(Started::alone(running, ident::records::get_script(None)))
            }
            Kind::Login => {
                let running = ident_by(stage, program, &[]).await?;
                Ok(Started::alone(running, ident::logins::login_script()))
            }
            Kind::Token(algorithm) => {
                let running = ident_by(stage, program, &[]).await?;
                let admin = ident::sign_in(stage, &running).await?;
                ident::tokens::sign_with(stage, &running, &admin, algorithm).await?;
                let script = ident::tokens::token_script(stage, &running, &admin).await?;
                // Once, so that its secret is remembered.
                script.try_all(&running.url, 1, Duration::from_secs(1)).await?;
                Ok(Started::alone(running, script))
            }
            Kind::FreshToken => {
                let provider = Provider::start();
                let settings = tokenstore::linking::settings(&provider);
                stage.database("tokenstore_profile").await?;
                let started = stage.start_by(program, "tokenstore_profile", &settings).await?;
                let script = tokenstore::linking::fresh_script(&started).await?;
                Ok(Started {
                    running: started,
                    script,
                    _beside: Beside::Provider(provider),
                })
            }
            Kind::Credentials => {
                let tokens = eida_auth::Tokens::make()?;
                let database = "eida_auth_profile";
                let running = eida_auth::start_by(stage, program, database, tokens.dir(), &[]).await?;
                Ok(Started {
                    running,
                    script: tokens.script(),
                    _beside: Beside::Keys(tokens),
                })
            }
        }
    }
}

impl Started {
    fn alone(running: Running, script: Script) -> Self {
        Self {
            running,
            script,
            _beside: Beside::Nothing,
        }
    }
}

async fn ident_by(stage: &Stage, program: &[OsString], more: &[&str]) -> Result<Running, Failure> {
    ident::prepare(stage).await?;
    stage
        .start_by(program, ident::DATABASE, &ident::settings(more))
        .await
}
