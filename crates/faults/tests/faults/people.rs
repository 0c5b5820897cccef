//! Load on ident's records, and the comparison of what its clients know with the database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use faults::{
    Answer, Instance, Ledger, Load, Pace, Postgres, Running, Tally, client, free_port, random_below,
};
use identity_testkit::{TestDatabase, eventually};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::work::{Work, excused, with};

/// A record as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    name: String,
    /// The linked account, and whether its access token is stored.
    account: Option<(String, bool)>,
}

/// The people that the clients of a test write, at one or several instances.
#[derive(Debug)]
pub struct People {
    urls: Vec<String>,
    http: Client,
    /// By email address.
    pub ledger: Ledger<Person>,
    pace: Pace,
}

/// ident on `database`, whose records are open. Nobody takes its notifications, so that all of them stay.
pub fn settings(database: &str) -> Vec<String> {
    let nobody = format!("notifications.url=http://127.0.0.1:{}/{{user_id}}", free_port());
    [
        format!("database.postgres.url={database}").as_str(),
        "database.encryption_key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "auth.records=open",
        "outgoing.allow_private=true",
        "notifications.secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        &nobody,
    ]
    .map(str::to_owned)
    .to_vec()
}

impl People {
    /// Nobody yet, to be written at any of `urls`.
    pub fn at(urls: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            http: client(),
            ledger: Ledger::default(),
            pace: Pace::default(),
        })
    }

    fn url(&self, path: &str) -> String {
        let any = random_below(self.urls.len().try_into().unwrap());
        format!("{}{path}", self.urls[usize::try_from(any).unwrap()])
    }

    /// Asks that the record of `email` become `next`.
    pub async fn change(&self, email: &str, next: Option<Person>, request: RequestBuilder) -> Option<Answer> {
        self.ledger.asks(email, next);
        let answer = self.pace.ask(request).await;
        self.ledger.learns(email, &answer);
        answer.is_success().then_some(answer)
    }

    /// Reads the record, which must be as it was last answered, unless it cannot be had now.
    async fn look(&self, id: i64, email: &str) -> Option<()> {
        let answer = self.pace.ask(self.http.get(self.url(&format!("/{id}")))).await;
        if answer.is_worth_repeating() {
            return None;
        }
        let known = self.ledger.sure(email).unwrap();
        assert_eq!(answer.body["name"], known.name, "{email}: {answer:?}");
        let account = known.account.map(|(id, _)| id);
        assert_eq!(
            answer.body["services"]["github"]["id"].as_str(),
            account.as_deref()
        );
        Some(())
    }

    /// Makes a record and gives its id, if the client learns it.
    pub async fn make(&self, email: &str, account: Option<(String, bool)>) -> Option<i64> {
        let person = Person {
            name: format!("New {email}"),
            account,
        };
        let mut document = json!({"name": person.name, "email": email});
        if let Some(account) = &person.account {
            document["services"] = json!({"github": linked(account)});
        }
        let request = self.http.post(self.url("/")).json(&document);
        let made = self.change(email, Some(person), request).await?;
        made.body["id"].as_i64()
    }

    /// Changes the name, and nothing else or the linked account too; says whether that is known to be done.
    pub async fn patch(&self, id: i64, email: &str, name: String, account: Option<(String, bool)>) -> bool {
        let mut person = self.ledger.sure(email).unwrap();
        let mut document = json!({"name": name});
        person.name = name;
        if let Some(account) = account {
            document["services"] = json!({"github": linked(&account)});
            person.account = Some(account);
        }
        self.merge(id, email, person, &document).await
    }

    /// Removes the linked account.
    async fn unlink(&self, id: i64, email: &str, name: String) -> bool {
        let document = json!({"name": name, "services": {"github": null}});
        let person = Person { name, account: None };
        self.merge(id, email, person, &document).await
    }

    async fn merge(&self, id: i64, email: &str, person: Person, document: &Value) -> bool {
        let request = self
            .http
            .patch(self.url(&format!("/{id}")))
            .header("content-type", "application/merge-patch+json")
            .body(document.to_string());
        self.change(email, Some(person), request).await.is_some()
    }

    /// Deletes the record.
    pub async fn delete(&self, id: i64, email: &str) {
        let request = self.http.delete(self.url(&format!("/{id}")));
        self.change(email, None, request).await;
    }

    /// Compares the ledger with the records; gives how many changes were made, and what the test has to tell.
    pub async fn records_agree(&self, client: &tokio_postgres::Client) -> (usize, String) {
        quiet(client).await;
        let tally = self.ledger.tally();
        excused(&tally);
        let rows = client.query(RECORDS, &[]).await.unwrap();
        let stored = rows.iter().map(|row| {
            let account = row.get::<_, Option<String>>(2).map(|id| (id, row.get(3)));
            let name = row.get(1);
            (row.get(0), Person { name, account })
        });
        let (done, not_done) = self.ledger.agree(&stored.collect());
        let told = format!("{tally}; of those not known {done} were done and {not_done} were not");
        (tally.done + done, told)
    }
}

impl Work for People {
    const SERVICE: &'static str = "ident";

    async fn start(database: &str, more: &[&str]) -> (Instance, Arc<Self>) {
        let ident = Instance::start("ident", &with(settings(database), more)).await;
        let people = Self::at(&[&ident.url]);
        (ident, people)
    }

    fn busy(self: &Arc<Self>, count: usize) -> Load {
        Load::start(count, |number, running| write(self.clone(), number, running))
    }

    fn tally(&self) -> Tally {
        self.ledger.tally()
    }

    fn slowest(&self) -> Duration {
        self.pace.slowest()
    }

    /// Clients have read all that they wrote at once.
    async fn is_good(&self, _: &Instance) -> String {
        String::new()
    }

    async fn agree(&self, database: &str) -> (usize, String) {
        let client = Postgres::connect(database, "ident").await;
        let (changes, told) = self.records_agree(&client).await;
        let wrong = half_done(&client).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let events = client.query_one("SELECT count(*) FROM user_events", &[]).await;
        let events: i64 = events.unwrap().get(0);
        assert_eq!(usize::try_from(events), Ok(changes), "an event for each change");
        (changes, format!("{told}; as many events as changes"))
    }
}

const RECORDS: &str = "SELECT u.email, u.name, a.account_id, a.access_token IS NOT NULL
    FROM users u LEFT JOIN linked_accounts a ON a.user_id = u.id AND a.service = 'github'";

/// What is wrong between records and events, of which there must be one for each change, and nothing of it half done.
const HALF_DONE: &str = "WITH told AS (
        SELECT user_id, count(*) FILTER (WHERE type = 'urn:glotpod:user:new') AS made,
               count(*) FILTER (WHERE type = 'urn:glotpod:user:patch') AS changed,
               count(*) FILTER (WHERE type = 'urn:glotpod:user:delete') AS deleted,
               (array_agg(type ORDER BY id))[1] AS first, (array_agg(type ORDER BY id DESC))[1] AS last,
               (array_agg(payload ->> 'name' ORDER BY id DESC))[1] AS name
        FROM user_events GROUP BY user_id)
    SELECT format('record %s (version %s), of which was told: %s', coalesce(u.id, t.user_id), u.version, t)
    FROM told t FULL JOIN users u ON u.id = t.user_id
    WHERE (t.made = 1 AND t.first = 'urn:glotpod:user:new' AND CASE WHEN u.id IS NULL
               THEN t.deleted = 1 AND t.last = 'urn:glotpod:user:delete'
                    AND EXISTS (SELECT FROM revoked_subjects s WHERE s.subject = 'user:' || t.user_id)
               ELSE t.deleted = 0 AND t.changed = u.version - 1 AND t.name = u.name END) IS NOT TRUE
    LIMIT 10";

async fn half_done(client: &tokio_postgres::Client) -> Vec<String> {
    let wrong = client.query(HALF_DONE, &[]).await.unwrap();
    wrong.iter().map(|row| row.get(0)).collect()
}

/// Waits until nobody else is connected: a killed client's last statement may still be at work.
pub async fn quiet(client: &tokio_postgres::Client) {
    eventually("nobody else is connected", async || {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let count: i64 = client.query_one(others, &[]).await.unwrap().get(0);
        (count == 0).then_some(())
    })
    .await;
}

fn linked((id, has_token): &(String, bool)) -> Value {
    if *has_token {
        json!({"id": id, "access_token": format!("token of {id}")})
    } else {
        json!({"id": id, "access_token": null})
    }
}

/// One client: the lives of people, one after the other, each left alone as soon as the client does not know.
async fn write(people: Arc<People>, client: usize, running: Running) {
    let mut life = 0;
    while running.goes_on() {
        life += 1;
        live(&people, &format!("p{life}@c{client}"), &running).await;
    }
}

async fn live(people: &People, email: &str, running: &Running) -> Option<()> {
    let account = |change: u64| Some((format!("{email} {change}"), change.is_multiple_of(2)));
    let first = random_below(3);
    let id = people.make(email, account(first).filter(|_| first > 0)).await?;
    for change in 10..10 + random_below(8) {
        if !running.goes_on() {
            return None;
        }
        let name = format!("Change {change} {email}");
        let known = match random_below(4) {
            0 => people.unlink(id, email, name).await,
            1 => people.patch(id, email, name, account(change)).await,
            _ => people.patch(id, email, name, None).await,
        };
        known.then_some(())?;
        people.look(id, email).await?;
    }
    if random_below(2) == 0 {
        people.delete(id, email).await;
    }
    Some(())
}

#[tokio::test]
async fn a_change_without_its_event_and_an_event_without_its_change_are_noticed() {
    let database = TestDatabase::empty().await;
    let mut ident = Instance::start("ident", &settings(&database.url())).await;
    let people = People::at(&[&ident.url]);
    let [kept, gone] = ["robb@north", "jon@wall"];
    let id = people.make(kept, None).await.unwrap();
    assert!(people.patch(id, kept, format!("Change 1 {kept}"), None).await);
    let id = people.make(gone, None).await.unwrap();
    people.delete(id, gone).await;
    ident.kill();
    people.agree(&database.url()).await;
    let client = database.connect("ident").await;
    for wrong in [
        "DELETE FROM user_events WHERE type LIKE '%:new'",
        "DELETE FROM user_events WHERE type LIKE '%:patch'",
        "DELETE FROM user_events WHERE type LIKE '%:delete'",
        "DELETE FROM user_events",
        "DELETE FROM users",
        "DELETE FROM revoked_subjects",
        "UPDATE users SET version = version + 1",
        "UPDATE users SET name = 'Change 2'",
        "INSERT INTO user_events (user_id, webhook_id, type, payload, created_at, next_attempt_at)
             SELECT 99, gen_random_uuid(), type, payload, now(), now() FROM user_events WHERE type LIKE '%:new'",
    ] {
        client.batch_execute(&format!("BEGIN; {wrong}")).await.unwrap();
        assert!(!half_done(&client).await.is_empty(), "{wrong}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
