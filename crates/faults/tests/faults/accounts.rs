//! Load on tokenstore: accounts linked at a provider, refreshed and revoked, API keys made and revoked; and the comparison
//! of what its clients know with the database, the audit log and the provider.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{
    Answer, Instance, Ledger, Load, Pace, Postgres, Running, Tally, begin_link, choose_account, client,
    end_link, linking_settings, random_below,
};
use identity_testkit::{Account, Provider, TestDatabase};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::people::quiet;
use crate::work::{Work, excused, with};

/// The people of a test, whose accounts are at a provider that takes each refresh token once.
pub struct Accounts {
    url: String,
    login: Provider,
    idp: Provider,
    http: Client,
    pace: Pace,
    /// How links went that came to nothing before there was anything to remember.
    not_begun: Mutex<Tally>,
    /// By person: how often tokens of theirs were stored.
    links: Ledger<i64>,
    /// By name.
    keys: Ledger<()>,
    /// What was shown of each key once: its id, and the key itself.
    shown: Mutex<BTreeMap<String, (String, String)>>,
}

/// What stands in the audit log of links and keys but was not done, or was done and does not stand there.
const HALF_DONE: &str = "
    WITH told AS (
        SELECT subject, detail AS key, count(*) FILTER (WHERE action IN ('linked', 'key_made')) AS made,
               count(*) FILTER (WHERE action IN ('revoked', 'key_revoked')) AS revoked,
               count(*) FILTER (WHERE action = 'broken') AS broken
        FROM audit WHERE action <> 'used' GROUP BY subject, detail
    ), there AS (
        SELECT subject, NULL AS key FROM links UNION ALL SELECT subject, id::text FROM api_keys
    )
    SELECT format('%s %s, of which was told: %s', coalesce(there.subject, told.subject), there.key, told)
    FROM told FULL JOIN there ON there.subject = told.subject AND coalesce(there.key, '') = coalesce(told.key, '')
    WHERE (told.made = 1 AND told.broken = 0
           AND told.revoked = CASE WHEN there.subject IS NULL THEN 1 ELSE 0 END) IS NOT TRUE
    LIMIT 10";

impl Accounts {
    fn asks(&self, person: &str, method: Method, path: &str) -> RequestBuilder {
        let bearer = self.login.sign(&json!({"sub": person}));
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(bearer)
    }

    /// Links the person's account; says whether that is known to be done.
    async fn link(&self, person: &str) -> bool {
        let account = Account {
            subject: person.to_owned(),
            name: person.to_uppercase(),
            email: format!("{person}@example.org"),
        };
        self.idp.change(|ways| ways.accounts.push(account));
        let bearer = self.login.sign(&json!({"sub": person}));
        let begun = self.pace.ask(begin_link(&self.http, &self.url, &bearer)).await;
        let Some(back) = choose_account(&self.http, &begun, person).await else {
            self.not_begun.lock().unwrap().count(&begun);
            return false;
        };
        self.links.asks(person, Some(1));
        let answer = end_link(&self.http, &self.url, &bearer, &back).await;
        self.links.learns(person, &answer) && answer.is_success()
    }

    /// Asks for a token that lasts, for which the provider has to be asked; sees that it is the person's own.
    async fn refresh(&self, person: &str) -> bool {
        let stored = self.links.sure(person).unwrap();
        self.links.asks(person, Some(stored + 1));
        let fresh = self.asks(person, Method::GET, "/api/v1.0/idp1/token?min_ttl=7200");
        let answer = self.pace.ask(fresh).await;
        if answer.is_success() {
            self.belongs_to(person, &answer).await;
        }
        self.links.learns(person, &answer) && answer.is_success()
    }

    /// Asks the provider whose token was answered.
    async fn belongs_to(&self, person: &str, answer: &Answer) {
        let token = answer.body["access_token"].as_str().unwrap();
        let asked = self.http.get(format!("{}/userinfo", self.idp.url));
        let known = asked.bearer_auth(token).send().await.unwrap();
        assert_eq!(
            known.status(),
            StatusCode::OK,
            "{person}: the provider knows the token"
        );
        let about: Value = known.json().await.unwrap();
        assert_eq!(about["sub"], person, "a token is answered to its owner");
    }

    async fn unlink(&self, person: &str) -> bool {
        self.links.asks(person, None);
        let revoke = self.asks(person, Method::POST, "/api/v1.0/idp1/revoke");
        let answer = self.pace.ask(revoke).await;
        self.links.learns(person, &answer) && answer.is_success()
    }

    async fn make_key(&self, person: &str, name: &str) -> bool {
        self.keys.asks(name, Some(()));
        let make = self.asks(person, Method::POST, "/api/v1.0/keys");
        let answer = self.pace.ask(make.json(&json!({"name": name}))).await;
        if answer.is_success() {
            let text = |member: &str| answer.body[member].as_str().map(str::to_owned);
            // The body may have broken off; then the key is there, and nobody has it.
            if let Some(shown) = text("id").zip(text("key")) {
                self.shown.lock().unwrap().insert(name.to_owned(), shown);
            }
        }
        self.keys.learns(name, &answer) && answer.is_success()
    }

    async fn revoke_key(&self, person: &str, name: &str) -> bool {
        let Some((id, _)) = self.shown.lock().unwrap().get(name).cloned() else {
            return false;
        };
        self.keys.asks(name, None);
        let revoke = self.asks(person, Method::DELETE, &format!("/api/v1.0/keys/{id}"));
        let answer = self.pace.ask(revoke).await;
        self.keys.learns(name, &answer) && answer.is_success()
    }

    /// One person's time, until they do not know what became of a request.
    async fn live(&self, person: &str, running: &Running) -> Option<()> {
        let key = |number: u64| format!("{person} {number}");
        self.link(person).await.then_some(())?;
        self.make_key(person, &key(0)).await.then_some(())?;
        for number in 1..=random_below(6) {
            if !running.goes_on() {
                return None;
            }
            let known = match random_below(3) {
                0 => self.make_key(person, &key(number)).await,
                _ => self.refresh(person).await,
            };
            known.then_some(())?;
        }
        match random_below(3) {
            0 => self.unlink(person).await,
            1 => self.revoke_key(person, &key(0)).await,
            _ => true,
        }
        .then_some(())
    }

    /// Each link that was ended is ended at the provider too, or waits for it, and no other is.
    async fn revocations_agree(&self, client: &tokio_postgres::Client) -> usize {
        let count =
            "SELECT (SELECT count(*) FROM audit WHERE action = 'revoked'), (SELECT count(*) FROM outbox)";
        let row = client.query_one(count, &[]).await.unwrap();
        let [ended, waiting] =
            [row.get::<_, i64>(0), row.get(1)].map(|number| usize::try_from(number).unwrap());
        let revoked: BTreeSet<String> = self.idp.revoked().into_iter().collect();
        let range = ended.saturating_sub(waiting)..=ended;
        assert!(
            range.contains(&revoked.len()),
            "{ended} ended, {waiting} wait, {} revoked",
            revoked.len()
        );
        ended
    }
}

async fn half_done(client: &tokio_postgres::Client) -> Vec<String> {
    let wrong = client.query(HALF_DONE, &[]).await.unwrap();
    wrong.iter().map(|row| row.get(0)).collect()
}

impl Work for Accounts {
    const SERVICE: &'static str = "tokenstore";

    async fn start(database: &str, more: &[&str]) -> (Instance, Arc<Self>) {
        let (login, idp) = (Provider::start(), Provider::start());
        idp.change(|ways| ways.asks = true);
        let settings = with(linking_settings(database, &login, &idp), more);
        let tokenstore = Instance::start("tokenstore", &settings).await;
        let accounts = Self {
            url: tokenstore.url.clone(),
            login,
            idp,
            http: client(),
            pace: Pace::default(),
            not_begun: Mutex::default(),
            links: Ledger::default(),
            keys: Ledger::default(),
            shown: Mutex::default(),
        };
        (tokenstore, Arc::new(accounts))
    }

    fn busy(self: &Arc<Self>, count: usize) -> Load {
        Load::start(count, |number, running| write(self.clone(), number, running))
    }

    fn tally(&self) -> Tally {
        self.links.tally() + self.keys.tally() + *self.not_begun.lock().unwrap()
    }

    fn slowest(&self) -> Duration {
        self.pace.slowest()
    }

    /// Each link gives its owner's token, from a refresh token that the provider takes; each key is its owner's.
    async fn is_good(&self, instance: &Instance) -> String {
        // Of the last fault the watch may learn only now.
        instance.steady().await;
        let (links, keys) = (self.links.known(), self.keys.known());
        for (person, _) in &links {
            assert!(self.refresh(person).await, "{person}: the link is good");
        }
        let shown = self.shown.lock().unwrap().clone();
        for (name, ()) in &keys {
            let Some((_, key)) = shown.get(name) else { continue };
            let asked = self.http.get(format!("{}/api/whoami", self.url)).bearer_auth(key);
            let answer = self.pace.ask(asked).await;
            let owner = name.split(' ').next();
            assert_eq!(answer.body["id"].as_str(), owner, "{name}: {answer:?}");
        }
        format!("; {} links and {} keys are good", links.len(), keys.len())
    }

    async fn agree(&self, database: &str) -> (usize, String) {
        let client = Postgres::connect(database, "tokenstore").await;
        quiet(&client).await;
        let tally = self.tally();
        excused(&tally);
        let rows = client
            .query("SELECT subject, generation, account_subject FROM links", &[])
            .await
            .unwrap();
        let mut links = BTreeMap::new();
        for row in rows {
            let (person, account): (String, Option<String>) = (row.get(0), row.get(2));
            assert_eq!(account.as_ref(), Some(&person), "the account is its owner's");
            links.insert(person, row.get(1));
        }
        let (done, not_done) = self.links.agree(&links);
        let keys = client.query("SELECT name FROM api_keys", &[]).await.unwrap();
        let (more, less) = self
            .keys
            .agree(&keys.iter().map(|row| (row.get(0), ())).collect());
        let wrong = half_done(&client).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let ended = self.revocations_agree(&client).await;
        let (done, not_done) = (done + more, not_done + less);
        let told = format!(
            "{tally}; of those not known {done} were done and {not_done} were not; the audit log tells of the same; \
             {ended} links ended, at the provider too"
        );
        (tally.done + done, told)
    }
}

/// One client: people, one after the other.
async fn write(accounts: Arc<Accounts>, client: usize, running: Running) {
    let mut count = 0;
    while running.goes_on() {
        count += 1;
        accounts.live(&format!("p{count}.c{client}"), &running).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_or_a_key_without_its_line_in_the_audit_log_is_noticed_and_so_is_a_line_without_either() {
    let database = TestDatabase::empty().await;
    let (mut tokenstore, accounts) = Accounts::start(&database.url(), &[]).await;
    for person in ["robb", "jon"] {
        assert!(accounts.link(person).await);
        assert!(accounts.refresh(person).await);
        for number in [1, 2] {
            assert!(accounts.make_key(person, &format!("{person} {number}")).await);
        }
        assert!(accounts.revoke_key(person, &format!("{person} 2")).await);
    }
    assert!(accounts.unlink("jon").await);
    accounts.is_good(&tokenstore).await;
    tokenstore.kill();
    accounts.agree(&database.url()).await;
    let client = database.connect("tokenstore").await;
    for wrong in [
        "DELETE FROM audit WHERE action = 'linked'",
        "DELETE FROM audit WHERE action = 'revoked'",
        "DELETE FROM audit WHERE action = 'key_made'",
        "DELETE FROM audit WHERE action = 'key_revoked'",
        "DELETE FROM links",
        "DELETE FROM api_keys",
        "UPDATE audit SET action = 'broken' WHERE action = 'revoked'",
        "UPDATE links SET subject = 'jon'",
    ] {
        client.batch_execute(&format!("BEGIN; {wrong}")).await.unwrap();
        assert!(!half_done(&client).await.is_empty(), "{wrong}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
