//! Databases that fail before, between and after the commits: nothing half-done is left, and whatever
//! was answered is there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::db::tokio_postgres::Client;
use identity_testkit::{Process, Proxy, TestService, eventually};
use reqwest::StatusCode;

use crate::EIDA;
use crate::centre::Centre;
use crate::processes::eida_at;
use crate::signer::{PATH, Signer, answer, count, login};

/// The number of the lock that holds commits up.
const HOLD: i64 = 4711;

/// A data centre behind two networks that can be cut.
struct Scene {
    centre: Centre,
    eida: TestService,
    signer: Signer,
    networks: [Proxy; 2],
    auth: Client,
    inventory: Client,
}

const QUICK: [&str; 4] = [
    "database.postgres.outage_exit=never",
    "database.postgres.connect_timeout=2s",
    "database.postgres.statement_timeout=5s",
    "cleanup.interval=1000h",
];

impl Scene {
    async fn new() -> Self {
        let centre = Centre::new().await;
        let (networks, settings) = centre.behind_proxies();
        let signer = Signer::new();
        let eida = centre.start_with(&signer, &settings, &QUICK).await;
        let (auth, inventory) = (centre.auth().await, centre.inventory().await);
        let scene = Self {
            centre,
            eida,
            signer,
            networks,
            auth,
            inventory,
        };
        // Connections are there.
        scene.give("first").await;
        scene
    }

    async fn give(&self, note: &str) -> String {
        login(&self.eida, self.signer.token(&self.eida, PATH, 86400, note))
            .await
            .0
    }

    fn asking(&self, note: &str) -> tokio::task::JoinHandle<(StatusCode, Option<String>, String)> {
        let request = self
            .eida
            .post("/")
            .body(self.signer.token(&self.eida, PATH, 86400, note));
        tokio::spawn(async move {
            let answer = request.send().await.unwrap();
            let later = answer
                .headers()
                .get("retry-after")
                .map(|value| value.to_str().unwrap().to_owned());
            (answer.status(), later, answer.text().await.unwrap())
        })
    }

    /// Temporary accounts, and logins with privileges; the original's resident is neither.
    async fn state(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let logins =
            |rows: Vec<identity_core::db::tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect();
        let accounts = self
            .auth
            .query("SELECT login FROM users WHERE expires_at IS NOT NULL", &[])
            .await
            .unwrap();
        let privileges = self
            .inventory
            .query("SELECT name FROM eida_temp_users WHERE name <> 'resident'", &[])
            .await
            .unwrap();
        (logins(accounts), logins(privileges))
    }

    /// What holds always: no privileges without an account, no credentials without one.
    async fn whole(&self) {
        let (accounts, privileges) = self.state().await;
        assert!(privileges.is_subset(&accounts), "{privileges:?} {accounts:?}");
        assert_eq!(
            count(&self.auth, "users").await,
            count(&self.auth, "credentials").await
        );
    }

    /// Exactly `given` are there, in both databases, with their own ends.
    async fn exactly(&self, given: &[&String]) {
        let given: BTreeSet<String> = given.iter().map(|&login| login.clone()).collect();
        eventually("exactly what was given is there", async || {
            let (accounts, privileges) = self.state().await;
            (accounts == given && privileges == given).then_some(())
        })
        .await;
        assert_eq!(
            count(&self.auth, "users").await,
            count(&self.auth, "credentials").await
        );
        let soon = "users WHERE expires_at < now() + interval '3 hours'";
        assert_eq!(count(&self.auth, soon).await, 0);
    }

    async fn mend(&self) {
        for network in &self.networks {
            network.mend();
        }
        eventually("it is ready", async || {
            let ready = self.eida.get("/readyz").send().await.unwrap();
            ready.status().is_success().then_some(())
        })
        .await;
    }

    /// Some minutes later, by a cleanup.
    async fn clean(&self) {
        self.eida.clock.advance(Duration::from_mins(3));
        // A connection that was cut while nobody looked is found out by being used.
        eventually("a cleanup is answered", async || {
            let answer = self.eida.get("/cleanup").send().await.unwrap();
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    fn client(&self, database: usize) -> &Client {
        if database == 0 {
            &self.auth
        } else {
            &self.inventory
        }
    }

    /// Lets commits that inserted into `table` do `what` first.
    async fn at_commit(&self, database: usize, table: &str, what: &str) {
        let sql = format!(
            "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what} RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION at_commit()"
        );
        self.client(database).batch_execute(&sql).await.unwrap();
    }

    async fn as_before(&self, database: usize) {
        self.client(database)
            .batch_execute("DROP FUNCTION at_commit CASCADE")
            .await
            .unwrap();
    }

    /// A session that holds commits up.
    async fn hold(&self, database: usize) -> Client {
        let holding = self.centre.database(database).connect("public").await;
        holding
            .execute("SELECT pg_advisory_lock($1)", &[&HOLD])
            .await
            .unwrap();
        holding
    }

    /// Returns when a commit is held up.
    async fn held_up(&self, database: usize) {
        eventually("a commit is held up", async || {
            let sql =
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            let waiting: i64 = self.client(database).query_one(sql, &[]).await.unwrap().get(0);
            (waiting > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_database_that_is_gone_before_is_answered_503_and_nothing_is_written() {
    for database in [0, 1] {
        let scene = Scene::new().await;
        let (before, _) = scene.state().await;
        scene.networks[database].cut();
        for note in ["a", "b", "c"] {
            let (status, later, text) = scene.asking(note).await.unwrap();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
            assert!(later.unwrap().parse::<u32>().unwrap() > 0);
        }
        scene.whole().await;
        assert_eq!(scene.state().await.0, before);
        // A token that is not good needs no database to be told so.
        assert_eq!(
            answer(&scene.eida, "nonsense").await.0,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        let lines = scene.eida.get("/readyz").send().await.unwrap();
        let name = ["authdb", "privilegedb"][database];
        eventually("readiness names it", async || {
            let ready = scene.eida.get("/readyz").send().await.unwrap();
            let status = ready.status();
            let lines = ready.text().await.unwrap();
            (status == 503 && lines.contains(&format!("{name}: out of reach"))).then_some(())
        })
        .await;
        drop(lines);
        scene.mend().await;
        let own = scene.eida.database.connect("eida_auth").await;
        assert_eq!(count(&own, "issued_logins").await, 1, "places are given back");
        let login = scene.give("d").await;
        let first = before.first().unwrap();
        scene.exactly(&[first, &login]).await;
    }
}

#[tokio::test]
async fn our_own_database_that_is_gone_is_answered_503() {
    let centre = Centre::new().await;
    let signer = Signer::new();
    let own = Arc::new(identity_testkit::TestDatabase::empty().await);
    let (network, url) = own.behind_proxy();
    let url = format!("database.postgres.url={url}");
    let keyring = signer.setting();
    let databases = centre.settings();
    let settings: Vec<&str> = databases
        .iter()
        .map(String::as_str)
        .chain([url.as_str(), &keyring])
        .chain(QUICK)
        .collect();
    let eida = EIDA.start_on(own, &Clock::system(), &settings).await;
    login(&eida, signer.token(&eida, PATH, 86400, "first")).await;
    network.cut();
    for note in ["a", "b"] {
        let (status, text) = answer(&eida, signer.token(&eida, PATH, 86400, note)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    }
    assert_eq!(count(&centre.auth().await, "users").await, 2);
    assert_eq!(count(&centre.inventory().await, "eida_temp_users").await, 2);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing() {
    for (database, table) in [(0, "users"), (1, "eida_temp_users")] {
        let scene = Scene::new().await;
        let (before, _) = scene.state().await;
        scene.at_commit(database, table, "RAISE EXCEPTION 'no';").await;
        let (status, _, text) = scene.asking("a").await.unwrap();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        assert!(!text.contains("no"), "only the log tells: {text}");
        let first = before.first().unwrap();
        scene.exactly(&[first]).await;
        let own = scene.eida.database.connect("eida_auth").await;
        assert_eq!(count(&own, "issued_logins").await, 1);
        scene.as_before(database).await;
        let login = scene.give("b").await;
        scene.exactly(&[first, &login]).await;
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_leaves_what_the_next_cleanup_removes() {
    for (database, table) in [(0, "users"), (1, "eida_temp_users")] {
        for ended_by_postgres in [false, true] {
            let scene = Scene::new().await;
            let (before, _) = scene.state().await;
            let first = before.first().unwrap().clone();
            scene
                .at_commit(database, table, "PERFORM pg_advisory_xact_lock(4711);")
                .await;
            let holding = scene.hold(database).await;
            let asking = scene.asking("a");
            scene.held_up(database).await;
            if ended_by_postgres {
                // Postgres breaks the commit off and with it the connection.
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks
                           WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
                               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
                scene.client(database).query(sql, &[]).await.unwrap();
                let (status, _, text) = asking.await.unwrap();
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
                drop(holding);
                // Taken back at once.
                scene.exactly(&[&first]).await;
                continue;
            }
            scene.networks[database].cut();
            let (status, later, text) = asking.await.unwrap();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
            assert!(later.is_some());
            // The server goes on with what it was told, and nobody hears of it.
            drop(holding);
            eventually("the commit is done", async || {
                let (accounts, privileges) = scene.state().await;
                (accounts.len() + privileges.len() > 2).then_some(())
            })
            .await;
            scene.whole().await;
            scene.mend().await;
            scene.clean().await;
            scene.exactly(&[&first]).await;
        }
    }
}

#[tokio::test]
async fn an_account_whose_end_cannot_be_set_is_not_answered_and_goes() {
    let scene = Scene::new().await;
    let (before, _) = scene.state().await;
    let first = before.first().unwrap().clone();
    let sql = "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
               CREATE TRIGGER at_end BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION at_commit()";
    scene.auth.batch_execute(sql).await.unwrap();
    let holding = scene.hold(0).await;
    let asking = scene.asking("a");
    scene.held_up(0).await;
    scene.whole().await;
    assert_eq!(scene.state().await.1.len(), 2, "both are committed");
    scene.networks[0].cut();
    let (status, _, text) = asking.await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    scene.whole().await;
    drop(holding);
    scene.as_before(0).await;
    scene.mend().await;
    scene.whole().await;
    // Its own end may be set or not: it goes with the next cleanup or by the next day, and is whole until then.
    scene.clean().await;
    let (accounts, privileges) = scene.state().await;
    assert_eq!(accounts, privileges);
    assert!(accounts.contains(&first));
    scene.eida.clock.advance(Duration::from_hours(25));
    scene.clean().await;
    let (accounts, privileges) = scene.state().await;
    assert!(
        accounts.is_empty() && privileges.is_empty(),
        "{accounts:?} {privileges:?} {first}"
    );
}

#[tokio::test]
async fn a_process_that_is_killed_between_the_commits_leaves_what_the_next_cleanup_removes() {
    let scene = Scene::new().await;
    let (before, _) = scene.state().await;
    let first = before.first().unwrap().clone();
    let mut settings = scene.centre.settings();
    settings.push(scene.signer.setting());
    let arguments: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["--set", setting.as_str()])
        .collect();
    let mut process = Process::start(eida_at(&scene.eida.database.url(), &arguments));
    let url = format!("http://{}/", process.address().await);
    for (database, table) in [(0, "users"), (1, "eida_temp_users")] {
        scene
            .at_commit(database, table, "PERFORM pg_advisory_xact_lock(4711);")
            .await;
        let holding = scene.hold(database).await;
        let token = scene.signer.token(&scene.eida, PATH, 86400, table);
        let asking = tokio::spawn(reqwest::Client::new().post(&url).body(token).send());
        scene.held_up(database).await;
        if database == 1 {
            process.kill();
            assert!(asking.await.unwrap().is_err());
            drop(holding);
            eventually("the privileges are committed", async || {
                (scene.state().await.1.len() > 2).then_some(())
            })
            .await;
        } else {
            // Here it only is slow.
            drop(holding);
            assert_eq!(asking.await.unwrap().unwrap().status(), StatusCode::OK);
        }
        scene.whole().await;
        scene.as_before(database).await;
    }
    assert_eq!(scene.state().await.0.len(), 3);
    scene.clean().await;
    let (accounts, privileges) = scene.state().await;
    assert_eq!(accounts, privileges);
    assert!(accounts.contains(&first) && accounts.len() == 2, "{accounts:?}");
}

#[tokio::test]
async fn whatever_fails_meanwhile_answers_and_databases_agree_in_the_end() {
    let scene = Scene::new().await;
    let (before, _) = scene.state().await;
    let mut given: Vec<String> = before.into_iter().collect();
    for round in 0..6 {
        let asked: Vec<_> = (0..12)
            .map(|number| scene.asking(&format!("{round} {number}")))
            .collect();
        // Now this one, now that one, at another moment each time.
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        scene.networks[usize::try_from(round % 2).unwrap()].cut();
        for asked in asked {
            let (status, _, text) = asked.await.unwrap();
            if status == StatusCode::OK {
                given.push(text.split_once(':').unwrap().0.to_owned());
            } else {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
            }
        }
        scene.whole().await;
        scene.mend().await;
    }
    scene.clean().await;
    let (accounts, privileges) = scene.state().await;
    let given: BTreeSet<String> = given.into_iter().collect();
    assert!(given.is_subset(&accounts), "what was answered is there");
    assert_eq!(accounts, privileges);
}

#[tokio::test]
async fn one_database_that_is_cut_at_any_moment_holds_all_or_nothing_of_a_login() {
    let database = Arc::new(identity_testkit::TestDatabase::empty().await);
    let (network, url) = database.behind_proxy();
    let signer = Signer::new();
    let (url, keyring) = (format!("database.postgres.url={url}"), signer.setting());
    let settings: Vec<&str> = [url.as_str(), &keyring].into_iter().chain(QUICK).collect();
    let eida = EIDA.start_on(database.clone(), &Clock::system(), &settings).await;
    let client = database.connect("eida_auth").await;
    crate::signer::map(&client, PATH, "Z3", 2015, 2022).await;
    let mut given = BTreeSet::new();
    for round in 0..6 {
        let asked = (0..12).map(|number| {
            let request = eida
                .post("/")
                .body(signer.token(&eida, PATH, 86400, &format!("{round} {number}")));
            tokio::spawn(async move {
                let answer = request.send().await.unwrap();
                (answer.status(), answer.text().await.unwrap())
            })
        });
        let asked: Vec<_> = asked.collect();
        tokio::time::sleep(Duration::from_millis(2 * round)).await;
        network.cut();
        for asked in asked {
            let (status, text) = asked.await.unwrap();
            if status == StatusCode::OK {
                given.insert(text.split_once(':').unwrap().0.to_owned());
            } else {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
            }
        }
        network.mend();
        eventually("it is ready", async || {
            eida.get("/readyz")
                .send()
                .await
                .unwrap()
                .status()
                .is_success()
                .then_some(())
        })
        .await;
    }
    // As of one moment: a statement whose asker was cut off may be committed only now.
    let moment = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    client.batch_execute(moment).await.unwrap();
    let logins = async |sql: &str| -> BTreeSet<String> {
        client
            .query(sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let accounts = logins("SELECT login FROM users").await;
    assert_eq!(
        accounts,
        logins("SELECT login FROM users JOIN credentials USING (user_index)").await
    );
    assert_eq!(accounts, logins("SELECT name FROM eida_temp_users").await);
    assert_eq!(accounts, logins("SELECT login FROM issued_logins").await);
    assert!(given.is_subset(&accounts));
}
