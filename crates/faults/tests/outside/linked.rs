//! Two processes of tokenstore, a provider, and people whose accounts are linked there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use faults::{
    Answer, Instance, Running, ask, begin_link, choose_account, client, end_link, linking_settings,
    random_below,
};
use identity_testkit::{Account, Provider, TestDatabase};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The processes on one database, and the two providers.
pub struct House {
    pub login: Provider,
    pub idp: Provider,
    pub people: Vec<String>,
    instances: Vec<Mutex<Instance>>,
    urls: Vec<String>,
    http: Client,
    database: TestDatabase,
}

/// What a request for a token came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A token, and it is this person's.
    Theirs,
    /// Nothing, or that it cannot be said now.
    Nothing,
    /// That the account has to be linked anew.
    LinkAnew,
    /// That no account is linked.
    NotLinked,
}

impl House {
    pub async fn new(people: usize) -> Arc<Self> {
        let (login, idp, database) = (Provider::start(), Provider::start(), TestDatabase::empty().await);
        let people: Vec<String> = (0..people).map(|number| format!("person{number}")).collect();
        let account = |subject: &String| Account {
            subject: subject.clone(),
            name: subject.to_uppercase(),
            email: format!("{subject}@example.org"),
        };
        idp.change(|ways| {
            ways.accounts = people.iter().map(account).collect();
            ways.asks = true;
        });
        let settings = linking_settings(&database.url(), &login, &idp);
        let first = Instance::start("tokenstore", &settings).await;
        let second = Instance::start("tokenstore", &settings).await;
        Arc::new(Self {
            login,
            idp,
            people,
            urls: vec![first.url.clone(), second.url.clone()],
            instances: vec![Mutex::new(first), Mutex::new(second)],
            http: client(),
            database,
        })
    }

    /// Kills one of the processes, and starts it again.
    pub async fn kill_one(&self) {
        let any = usize::try_from(random_below(2)).unwrap();
        let mut instance = self.instances[any].lock().await;
        instance.kill();
        instance.start_again().await;
    }

    fn any_url(&self) -> &str {
        &self.urls[usize::try_from(random_below(2)).unwrap()]
    }

    fn bearer(&self, person: &str) -> String {
        self.login.sign(&json!({"sub": person}))
    }

    /// Asks for a token that lasts, which makes a refresh; sees whose token comes.
    ///
    /// # Panics
    /// When it is somebody else's.
    pub async fn fresh(&self, person: &str) -> Told {
        self.asked(person, "?min_ttl=7200").await
    }

    /// Asks for the token that is there.
    pub async fn token(&self, person: &str) -> Told {
        self.asked(person, "").await
    }

    async fn asked(&self, person: &str, query: &str) -> Told {
        let url = format!("{}/api/v1.0/idp1/token{query}", self.any_url());
        let Answer { status, body, .. } = ask(self.http.get(url).bearer_auth(self.bearer(person))).await;
        match status {
            Some(StatusCode::OK) => {
                let whose = self.whose(body["access_token"].as_str().unwrap()).await;
                assert_eq!(whose, person, "a token is answered to its owner");
                Told::Theirs
            }
            Some(StatusCode::CONFLICT) => {
                let kind = body["type"].as_str().unwrap();
                assert!(kind.ends_with("reauthorization_required"), "{body}");
                Told::LinkAnew
            }
            Some(StatusCode::BAD_REQUEST) => {
                assert!(body["type"].as_str().unwrap().ends_with("not_linked"), "{body}");
                Told::NotLinked
            }
            None => Told::Nothing,
            Some(status) => {
                assert!(
                    matches!(status.as_u16(), 502..=504),
                    "{status}: what a fault is no reason for: {body}"
                );
                Told::Nothing
            }
        }
    }

    /// Asks the provider.
    async fn whose(&self, token: &str) -> String {
        let asked = self
            .http
            .get(format!("{}/userinfo", self.idp.url))
            .bearer_auth(token);
        let known = asked.send().await.unwrap();
        assert_eq!(known.status(), StatusCode::OK, "the provider knows the token");
        let about: Value = known.json().await.unwrap();
        about["sub"].as_str().unwrap().to_owned()
    }

    /// Links the person's account as a program does. Says whether the service said that it is done; what was not
    /// answered may be done or not.
    pub async fn link(&self, person: &str) -> bool {
        let bearer = self.bearer(person);
        let begun = ask(begin_link(&self.http, self.any_url(), &bearer)).await;
        let Some(back) = choose_account(&self.http, &begun, person).await else {
            return false;
        };
        // Whichever process is asked: the state is in Postgres.
        let ended = end_link(&self.http, self.any_url(), &bearer, &back).await;
        ended.is_success()
    }

    /// How many links there are.
    pub async fn links(&self) -> i64 {
        let client = self.database.connect("tokenstore").await;
        client
            .query_one("SELECT count(*) FROM links", &[])
            .await
            .unwrap()
            .get(0)
    }
}

/// The people of client `number` of `clients`, for as long as it runs.
pub fn turns(
    house: &House,
    number: usize,
    clients: usize,
    running: &Running,
) -> impl Iterator<Item = String> {
    let running = running.clone();
    let own: Vec<String> = house
        .people
        .iter()
        .skip(number)
        .step_by(clients)
        .cloned()
        .collect();
    own.into_iter().cycle().take_while(move |_| running.goes_on())
}
