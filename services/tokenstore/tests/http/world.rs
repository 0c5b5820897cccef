//! What the tests share: the service between a login provider and one whose accounts are linked.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_testkit::{Provider, Service, TestService};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokenstore::config::{Config, SCHEMA};

use crate::visitor::Visitor;

/// tokenstore with a key; where nobody signs in, the login provider does not matter.
pub static TOKENSTORE: Service = Service {
    schema: &SCHEMA,
    settings: &[
        "crypto_keys=0123456789abcdef0123456789abcdef",
        "outgoing.allow_private=true",
        "oidc.discovery_url=http://127.0.0.1:9",
        "oidc.client_id=tokenstore",
        "oidc.client_secret=a secret/of+ours",
    ],
    run: |settings, runtime| {
        Box::pin(async move { tokenstore::run(Config::read(&settings)?, runtime).await })
    },
};

/// The service, the provider at which people sign in, and `idp1`, whose accounts they link.
pub struct World {
    pub login: Provider,
    pub idp: Provider,
    pub tokenstore: TestService,
    pub settings: Vec<String>,
}

impl World {
    /// Starts all three, with `settings` over the usual ones; `IDP` in them is the address of `idp1`.
    pub async fn start(settings: &[&str]) -> Self {
        let (login, idp) = (Provider::start(), Provider::start());
        let mut all = vec![
            format!("oidc.discovery_url={}", login.discovery_url()),
            format!("providers.idp1.discovery_url={}", idp.discovery_url()),
            "providers.idp1.client_id=tokenstore".to_owned(),
            "providers.idp1.client_secret=a secret/of+ours".to_owned(),
            "providers.idp1.metadata.name=Example One".to_owned(),
        ];
        all.extend(settings.iter().map(|setting| setting.replace("IDP", &idp.url)));
        let given: Vec<&str> = all.iter().map(String::as_str).collect();
        let tokenstore = TOKENSTORE.start(&given).await;
        login.follow(&tokenstore.clock);
        idp.follow(&tokenstore.clock);
        Self {
            login,
            idp,
            tokenstore,
            settings: all,
        }
    }

    /// One more instance on the same database.
    pub async fn another(&self) -> TestService {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        TOKENSTORE
            .start_on(
                self.tokenstore.database.clone(),
                &self.tokenstore.clock,
                &settings,
            )
            .await
    }

    /// A browser that knows nothing yet.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.tokenstore.url)
    }

    /// A browser in which `subject` is signed in.
    pub async fn signed_in(&self, subject: &str) -> Visitor {
        let visitor = self.visitor();
        self.login
            .change(|ways| ways.accounts.sort_by_key(|account| account.subject != subject));
        let answer = visitor.walk("/api/oidc/login?return_url=/api/whoami").await;
        let who = expect(answer, StatusCode::OK).await;
        assert_eq!(who["id"], subject);
        visitor
    }

    /// A browser in which Ada is signed in, who has linked her account at `idp1`.
    pub async fn linked(&self) -> Visitor {
        let ada = self.signed_in("ada").await;
        ada.link("idp1").await;
        ada
    }

    /// A bearer token of the login provider for `subject`.
    pub fn bearer(&self, subject: &str) -> String {
        self.login.sign(&serde_json::json!({"sub": subject}))
    }

    /// Turns the clock.
    pub fn advance(&self, seconds: u64) {
        self.tokenstore.clock.advance(Duration::from_secs(seconds));
    }

    /// All lines of the audit log: who, what, where, by what.
    pub async fn audit(&self) -> Vec<(String, String, Option<String>, String)> {
        let client = self.tokenstore.database.connect("tokenstore").await;
        let sql = "SELECT subject, action, provider, by FROM audit ORDER BY at, action";
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
            .collect()
    }
}

/// The JSON of an answer of this status.
pub async fn expect(answer: Response, status: StatusCode) -> Value {
    let (found, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The last part of a problem's type.
pub async fn kind(answer: Response, status: StatusCode) -> String {
    let problem = expect(answer, status).await;
    let of = problem["type"].as_str().unwrap_or_default();
    of.rsplit(':').next().unwrap().to_owned()
}
