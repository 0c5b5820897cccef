//! Families of tokens, refreshed while ident is killed: whoever repeats a refresh whose answer was lost gets the
//! successor, and every token that was ever handed out is one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{
    Answer, Instance, Load, Running, ask, client, random_below, short_or_full, some_moment_after, tell,
};
use identity_testkit::TestDatabase;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::people::{quiet, settings};

const PASSWORD: &str = "winter-is-coming";

/// How often a client refreshes before it signs in anew.
const REFRESHES: usize = 20;

/// The clients' memory.
#[derive(Debug)]
struct Tokens {
    url: String,
    http: Client,
    /// All that were handed out, each family in order.
    families: Mutex<Vec<Vec<String>>>,
    handed_out: AtomicUsize,
    /// How many requests were not answered, and repeated.
    repeated: AtomicUsize,
}

impl Tokens {
    /// Asks until there is an answer.
    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Answer {
        loop {
            let answer = ask(request()).await;
            if !answer.is_worth_repeating() {
                self.handed_out.fetch_add(1, Ordering::Relaxed);
                return answer;
            }
            assert!(
                answer
                    .status
                    .is_none_or(|status| status == StatusCode::SERVICE_UNAVAILABLE),
                "{answer:?}"
            );
            self.repeated
                .fetch_add(usize::from(answer.is_sent), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn sign_in(&self, username: &str) -> String {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self
            .ask(|| self.http.post(format!("{}/auth/login", self.url)).json(&body))
            .await;
        token_of(&answer)
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.ask(|| {
            self.http
                .post(format!("{}/auth/refresh", self.url))
                .bearer_auth(token)
        })
        .await
    }
}

fn token_of(answer: &Answer) -> String {
    assert!(answer.is_success(), "no family is lost to a kill: {answer:?}");
    answer.body["token"].as_str().unwrap().to_owned()
}

/// One client: families, each refreshed again and again.
async fn live(tokens: Arc<Tokens>, number: usize, running: Running) {
    while running.goes_on() {
        let mut family = vec![tokens.sign_in(&format!("user{number}")).await];
        while running.goes_on() && family.len() <= REFRESHES {
            let last = family.last().unwrap();
            let successor = token_of(&tokens.refresh(last).await);
            if random_below(4) == 0 {
                // An answer that was lost is asked for again, and is the same.
                assert_eq!(token_of(&tokens.refresh(last).await), successor);
            }
            family.push(successor);
        }
        tokens.families.lock().unwrap().push(family);
    }
}

/// The family and the generation that a token tells.
fn link_of(token: &str) -> (String, i32) {
    let payload = token.split('.').nth(1).unwrap();
    let claims = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let jti = claims["jti"].as_str().unwrap();
    let (family, generation) = jti.rsplit_once('.').unwrap();
    (family.to_owned(), generation.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_family_is_lost_when_ident_is_killed_and_every_token_that_was_handed_out_verifies() {
    let kills = short_or_full(4, 50);
    let database = TestDatabase::empty().await;
    let mut settings = settings(&database.url());
    settings.push("auth.records=token".to_owned());
    let mut ident = Instance::start("ident", &settings).await;
    let mut password = NamedTempFile::new().unwrap();
    password.write_all(PASSWORD.as_bytes()).unwrap();
    let file = password.path().to_str().unwrap();
    for number in 0..4 {
        let (username, email) = (format!("user{number}"), format!("user{number}@example.org"));
        let made = ident
            .run(&[
                "users",
                "create",
                "--username",
                &username,
                "--name",
                &username,
                "--email",
                &email,
                "--password-file",
                file,
                "--permission",
                "users:read",
            ])
            .await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let tokens = Arc::new(Tokens {
        url: ident.url.clone(),
        http: client(),
        families: Mutex::default(),
        handed_out: AtomicUsize::default(),
        repeated: AtomicUsize::default(),
    });
    let load = Load::start(4, |number, running| live(tokens.clone(), number, running));
    for _ in 0..kills {
        some_moment_after(20, || tokens.handed_out.load(Ordering::Relaxed)).await;
        ident.kill();
        ident.start_again().await;
    }
    load.stop().await;
    let families = std::mem::take(&mut *tokens.families.lock().unwrap());
    let handed_out: Vec<&String> = families.iter().flatten().collect();
    for token in &handed_out {
        let seen = ask(tokens.http.get(format!("{}/", tokens.url)).bearer_auth(token)).await;
        assert!(seen.is_success(), "{seen:?}");
    }
    ident.kill();
    let client = database.connect("ident").await;
    quiet(&client).await;
    let rows = client
        .query("SELECT id::text, generation FROM token_families", &[])
        .await
        .unwrap();
    let stored: BTreeMap<String, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known: BTreeMap<String, i32> = families
        .iter()
        .filter(|family| family.len() > 1)
        .map(|family| link_of(family.last().unwrap()))
        .collect();
    assert_eq!(stored, known, "every family is as far as its client");
    let repeated = tokens.repeated.load(Ordering::Relaxed);
    assert!(
        repeated >= kills,
        "every kill meets requests under way: {repeated}"
    );
    tell(
        "ident killed while tokens are refreshed",
        &format!(
            "{kills} kills, {} families, {} tokens, all of which verify; {repeated} requests without an answer, repeated",
            families.len(),
            handed_out.len()
        ),
    );
}
