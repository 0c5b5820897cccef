//! eida-auth, killed under load: every login that was given is there, with its digest and what it may see.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{Instance, Load, Running, client, short_or_full, some_moment_after, tell};
use identity_testkit::TestDatabase;
use md5::{Digest, Md5};
use reqwest::Client;

use crate::eida::Signer;
use crate::people::quiet;

/// The clients' memory.
struct Logins {
    url: String,
    http: Client,
    signer: Signer,
    /// Logins that were given, and their passwords.
    given: Mutex<BTreeMap<String, String>>,
}

impl Logins {
    fn count(&self) -> usize {
        self.given.lock().unwrap().len()
    }

    /// Asks for a login once; none when there was no answer.
    async fn ask(&self, note: &str) -> Option<()> {
        let asked = self
            .http
            .post(format!("{}/", self.url))
            .body(self.signer.token(note));
        let answer = asked.send().await.ok()?;
        assert_eq!(answer.status(), 200, "{note}");
        let text = answer.text().await.ok()?;
        let (login, password) = text.trim().split_once(':').unwrap();
        self.given
            .lock()
            .unwrap()
            .insert(login.to_owned(), password.to_owned());
        Some(())
    }
}

/// One client, each of whose requests has a token of its own.
async fn ask(logins: Arc<Logins>, client: usize, running: Running) {
    let mut number = 0;
    while running.goes_on() {
        number += 1;
        if logins.ask(&format!("{client}.{number}")).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// All accounts: the login, its digest, how many networks it may see, and for how many tokens it was given.
const ACCOUNTS: &str = "SELECT u.login, c.digest,
        (SELECT count(*) FROM eida_temp_users p WHERE p.name = u.login),
        (SELECT count(*) FROM issued_logins i WHERE i.login = u.login)
    FROM users u LEFT JOIN credentials c USING (user_index)";

/// What belongs to no account.
const ORPHANS: &str =
    "SELECT count(*) FROM (SELECT name FROM eida_temp_users UNION SELECT login FROM issued_logins) o (login)
    WHERE NOT EXISTS (SELECT FROM users u WHERE u.login = o.login)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eida_auth_that_is_killed_under_load_has_every_login_that_it_gave_and_none_by_half() {
    let kills = short_or_full(4, 50);
    let database = TestDatabase::empty().await;
    let signer = Signer::new();
    let settings = [
        format!("database.postgres.url={}", database.url()),
        signer.setting(),
    ];
    let mut eida = Instance::start("eida-auth", &settings).await;
    signer.map(&database).await;
    let logins = Arc::new(Logins {
        url: eida.url.clone(),
        http: client(),
        signer,
        given: Mutex::default(),
    });
    let load = Load::start(8, |number, running| ask(logins.clone(), number, running));
    for _ in 0..kills {
        some_moment_after(20, || logins.count()).await;
        eida.kill();
        eida.start_again().await;
    }
    load.stop().await;
    eida.kill();
    let client = database.connect("eida_auth").await;
    quiet(&client).await;
    let mut stored = BTreeMap::new();
    for row in client.query(ACCOUNTS, &[]).await.unwrap() {
        let login: String = row.get(0);
        let (seen, tokens): (i64, i64) = (row.get(2), row.get(3));
        assert_eq!((seen, tokens), (1, 1), "{login} is half there");
        stored.insert(login, row.get::<_, Option<String>>(1).unwrap());
    }
    let orphans: i64 = client.query_one(ORPHANS, &[]).await.unwrap().get(0);
    assert_eq!(orphans, 0);
    let given = logins.given.lock().unwrap().clone();
    for (login, password) in &given {
        let digest = Md5::digest(format!("{login}:FDSN:{password}"));
        assert_eq!(stored[login], data_encoding::HEXLOWER.encode(&digest), "{login}");
    }
    tell(
        "eida-auth killed",
        &format!(
            "{kills} kills, {} logins given, {} there; each with its digest and what it may see",
            given.len(),
            stored.len()
        ),
    );
}
