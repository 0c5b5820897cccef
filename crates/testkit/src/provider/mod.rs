//! A small OpenID provider: it signs people in, asks whether they allow it, and gives tokens. It can do what
//! real ones do: be slow, down, rotate refresh tokens, know none, answer nonsense; and it counts.
//!
//! The tests of services use it, and the launcher, where people click.

mod pages;
mod state;
mod tokens;

use std::net::TcpListener;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use identity_core::clock::Clock;
use serde_json::Value;

pub use state::{Account, Answer, Refreshing, Ways};
use state::{Inner, Shared};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Provider {
    /// Where it is reached, without a slash at the end; its issuer.
    pub url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

impl Provider {
    /// Starts one with the usual ways, which signs in `ada` without asking.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), Ways::default())
    }

    /// Starts one where somebody else has chosen the address.
    #[must_use]
    pub fn start_on(listener: TcpListener, ways: Ways) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::new(url.clone(), ways));
        let data = web::Data::from(shared.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let app = move || {
                App::new()
                    .app_data(data.clone())
                    .configure(pages::routes)
                    .configure(tokens::routes)
            };
            let server = HttpServer::new(app)
                .workers(1)
                .disable_signals()
                .shutdown_timeout(1);
            let server = server.listen(listener).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = server.run();
                sender.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            url,
            shared,
            server: receiver.recv().unwrap(),
        }
    }

    /// Its discovery document.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.url)
    }

    /// Changes its ways from now on.
    pub fn change(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.inner().ways);
    }

    /// Tells it the time of a service.
    pub fn follow(&self, clock: &Clock) {
        self.inner().clock = clock.clone();
    }

    /// How many refreshes were asked for.
    #[must_use]
    pub fn refreshes(&self) -> usize {
        self.requests()
            .iter()
            .filter(|form| form["grant_type"] == "refresh_token")
            .count()
    }

    /// All requests to the token endpoint so far, as their forms, with `authorization` for the header.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.inner().requests.clone()
    }

    /// How often its keys were fetched.
    #[must_use]
    pub fn key_fetches(&self) -> usize {
        self.inner().key_fetches
    }

    /// All tokens that were revoked.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        self.inner().revoked.clone()
    }

    /// Accepts a refresh token that it gave to `subject` long ago.
    pub fn remember(&self, refresh_token: &str, subject: &str) {
        let mut inner = self.inner();
        let account = inner
            .ways
            .accounts
            .iter()
            .find(|account| account.subject == subject);
        let grant = state::Grant {
            account: account.unwrap().clone(),
            scope: "openid email offline_access".to_owned(),
            nonce: None,
            redirect_uri: String::new(),
            challenge: None,
        };
        inner.refresh_tokens.insert(refresh_token.to_owned(), grant);
    }

    /// Refuses all refresh tokens that it gave, as if the person had taken them back.
    pub fn forget_grants(&self) {
        self.inner().refresh_tokens.clear();
    }

    /// A token signed with its key: `claims` over the usual ones; null takes one away.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.shared.sign(&self.inner(), claims)
    }

    /// Signs with a new key from now on.
    pub fn rotate_keys(&self) {
        self.inner().new_key();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; nobody needs to wait for its end.
        drop(self.server.stop(false));
    }
}

/// Waits as its ways say.
async fn delay(shared: &Shared) {
    let delay: Duration = shared.lock().ways.delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
