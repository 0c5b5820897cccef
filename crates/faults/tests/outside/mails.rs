//! Mails with a link for a new password, while idm-users is killed and the mail server fails: whoever was told that
//! one is on its way gets it, and it works.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faults::{
    Instance, Ledger, Load, Postgres, Running, ask, client, is_full, random_below, short_or_full, tell,
};
use identity_testkit::TestDatabase;
use mailbox::{Mail, Mailbox, Mood};
use reqwest::{Client, StatusCode};
use serde_json::json;

/// How long a claim of a mail lasts whose sender has died, and somewhat longer.
const LEASE: Duration = Duration::from_secs(125);

struct Office {
    database: TestDatabase,
    mailbox: Mailbox,
    idm: Instance,
    users: usize,
    http: Client,
    /// By address; each asks once.
    ledger: Arc<Ledger<()>>,
}

fn address(number: usize) -> String {
    format!("u{number}@example.org")
}

impl Office {
    async fn new(users: usize) -> Self {
        let database = TestDatabase::empty().await;
        let mailbox = Mailbox::serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let settings = [
            format!("database.postgres.url={}", database.url()),
            "jwt.secret=a secret of a test, of thirty-two bytes or more".to_owned(),
            "mail.transport=smtp".to_owned(),
            "mail.server=127.0.0.1".to_owned(),
            format!("mail.port={}", mailbox.address.port()),
            "mail.encryption=none".to_owned(),
            "mail.retry_interval=200ms".to_owned(),
        ];
        let idm = Instance::start("idm-users", &settings).await;
        let made = "INSERT INTO users (username, username_key, password_hash, admin, created, changed)
                    SELECT name, name, 'none yet', false, now(), now()
                    FROM (SELECT 'u' || n || '@example.org' AS name FROM generate_series(0, $1 - 1) n) AS names";
        let users_there = i32::try_from(users).unwrap();
        let beside = Postgres::connect(&database.url(), "idm_users").await;
        beside.execute(made, &[&users_there]).await.unwrap();
        Self {
            database,
            mailbox,
            idm,
            users,
            http: client(),
            ledger: Arc::default(),
        }
    }

    /// Clients who ask for a new password for each user, one after the other.
    fn asking(&self, clients: usize) -> Load {
        Load::start(clients, |client, running: Running| {
            let (http, ledger) = (self.http.clone(), self.ledger.clone());
            let (url, users) = (format!("{}/iforgot", self.idm.url), self.users);
            async move {
                for number in (client..users).step_by(clients) {
                    if !running.goes_on() {
                        return;
                    }
                    let name = address(number);
                    loop {
                        ledger.asks(&name, Some(()));
                        let answer = ask(http.post(&url).form(&[("username", &name)])).await;
                        ledger.learns(&name, &answer);
                        if answer.is_sent {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(random_below(60))).await;
                }
            }
        })
    }

    fn mails(&self) -> Vec<Mail> {
        self.mailbox.mails()
    }

    /// Waits until nothing is left to be sent. What a killed process had in its hands comes up again when its claim is
    /// over: in a full run that is waited for, in a short one the time is taken off.
    async fn sent(&self) {
        let beside = Postgres::connect(&self.database.url(), "idm_users").await;
        let began = Instant::now();
        loop {
            if !is_full() {
                let later = "UPDATE mails SET next_attempt_at = now() WHERE next_attempt_at > now() + interval '10 s'";
                beside.execute(later, &[]).await.unwrap();
            }
            let sql = "SELECT (SELECT count(*) FROM reset_requests), (SELECT count(*) FROM mails),
                              (SELECT count(*) FROM mails WHERE dead_at IS NOT NULL)";
            let row = beside.query_one(sql, &[]).await.unwrap();
            let (requests, mails, dead): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(dead, 0, "none is given up");
            if requests + mails == 0 {
                return;
            }
            assert!(
                began.elapsed() < LEASE + Duration::from_mins(1),
                "{requests} requests and {mails} mails are left"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Compares what was answered with what was mailed, and uses the links. Gives what the test has to tell.
    async fn agree(&self) -> String {
        let mails = self.mails();
        let mut links: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for mail in &mails {
            assert_eq!(mail.subject(), "Set a new password");
            let link = mail.link().unwrap();
            links.entry(mail.to.concat()).or_default().insert(link);
        }
        let mailed = links.keys().map(|name| (name.clone(), ())).collect();
        let (done, not_done) = self.ledger.agree(&mailed);
        for (name, links) in &links {
            // Of two, the newer would have ended the older.
            assert_eq!(links.len(), 1, "{name} got mails with different links: {links:?}");
        }
        let ids: BTreeSet<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
        assert_eq!(ids.len(), links.len(), "what is sent again is the same mail");
        let works =
            futures_util::future::join_all(links.values().flatten().map(|link| self.http.get(link).send()));
        for shown in works.await {
            assert_eq!(shown.unwrap().status(), StatusCode::OK, "the link works");
        }
        for (name, links) in links.iter().take(5) {
            self.use_up(name, links.first().unwrap()).await;
        }
        let again = mails.len() - links.len();
        format!(
            "{}; {} mailed and all links good, {again} mails twice; of those not known {done} were mailed and {not_done} were not",
            self.ledger.tally(),
            links.len()
        )
    }

    /// Sets a password by a link, and signs in with it.
    async fn use_up(&self, name: &str, link: &str) {
        let (_, key) = link.split_once("?k=").unwrap();
        let password = "a password of a fault";
        let fields = [("key", key), ("pass1", password), ("pass2", password)];
        let set = self.http.post(format!("{}/reset", self.idm.url)).form(&fields);
        assert_eq!(set.send().await.unwrap().status(), StatusCode::OK);
        let who = json!({"username": name, "password": password});
        let signed_in = self.http.post(format!("{}/auth", self.idm.url)).json(&who);
        assert_eq!(signed_in.send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idm_users_that_is_killed_while_it_sends_mails_loses_none() {
    let (kills, users) = short_or_full((5, 100), (50, 700));
    let mut office = Office::new(users).await;
    office.mailbox.set_thought(Duration::from_millis(15));
    let load = office.asking(3);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(150 + random_below(400))).await;
        office.idm.kill();
        office.idm.start_again().await;
    }
    load.finish().await;
    office.sent().await;
    let agreed = office.agree().await;
    tell(
        "idm-users killed while it sends mails",
        &format!("{kills} kills; {agreed}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_fails_half_the_time_gets_every_mail() {
    let office = Office::new(short_or_full(60, 600)).await;
    office.mailbox.set_mood(Mood::Fickle);
    office.asking(3).finish().await;
    office.sent().await;
    let agreed = office.agree().await;
    let twice = office.mails().len() - office.users;
    assert!(twice >= office.users / 5, "it did fail: {twice}");
    assert_eq!(office.ledger.tally().done, office.users, "no request is held up");
    tell("a mail server that fails half the time", &agreed);
}
