//! Load on eida-auth: logins given for signed tokens, and the comparison of what its clients were given with the
//! database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{Instance, Load, Pace, Postgres, Running, Tally, client};
use md5::{Digest, Md5};
use reqwest::Client;

use crate::eida::Signer;
use crate::people::quiet;
use crate::work::{Work, excused, with};

/// The clients' memory. Each token is used once, so that a login that nobody was told of is the only one of its token.
pub struct Logins {
    url: String,
    http: Client,
    signer: Signer,
    pace: Pace,
    tally: Mutex<Tally>,
    /// Logins that were given, and their passwords.
    given: Mutex<BTreeMap<String, String>>,
}

/// All accounts: the login, its digest, how many networks it may see, and for how many tokens it was given.
const ACCOUNTS: &str = "SELECT u.login, c.digest,
        (SELECT count(*) FROM eida_temp_users p WHERE p.name = u.login),
        (SELECT count(*) FROM issued_logins i WHERE i.login = u.login)
    FROM users u LEFT JOIN credentials c USING (user_index)";

/// What belongs to no account, and tokens that have two.
const WRONG: &str = "SELECT
    (SELECT count(*) FROM (SELECT name FROM eida_temp_users UNION SELECT login FROM issued_logins) o (login)
     WHERE NOT EXISTS (SELECT FROM users u WHERE u.login = o.login)),
    (SELECT count(*) - count(DISTINCT token_digest) FROM issued_logins)";

impl Logins {
    /// Asks for a login for a token of its own.
    async fn ask(&self, note: &str) {
        let asked = self.http.post(format!("{}/", self.url));
        let answer = self.pace.ask(asked.body(self.signer.token(note))).await;
        if answer.is_success()
            && let Some((login, password)) = answer.text.trim().split_once(':')
        {
            let before = (self.given.lock().unwrap()).insert(login.to_owned(), password.to_owned());
            assert_eq!(before, None, "{login} was given twice");
        }
        self.tally.lock().unwrap().count(&answer);
    }
}

impl Work for Logins {
    const SERVICE: &'static str = "eida-auth";
    // A login is one statement; this is of the address that it gives to the account.
    const DECISION: &'static [u8] = b"@eida";

    async fn start(database: &str, more: &[&str]) -> (Instance, Arc<Self>) {
        let signer = Signer::new();
        let settings = vec![format!("database.postgres.url={database}"), signer.setting()];
        let eida = Instance::start("eida-auth", &with(settings, more)).await;
        signer.map(&Postgres::connect(database, "eida_auth").await).await;
        let logins = Self {
            url: eida.url.clone(),
            http: client(),
            signer,
            pace: Pace::default(),
            tally: Mutex::default(),
            given: Mutex::default(),
        };
        (eida, Arc::new(logins))
    }

    fn busy(self: &Arc<Self>, count: usize) -> Load {
        Load::start(count, |number, running| write(self.clone(), number, running))
    }

    fn tally(&self) -> Tally {
        *self.tally.lock().unwrap()
    }

    fn slowest(&self) -> Duration {
        self.pace.slowest()
    }

    async fn is_good(&self, _: &Instance) -> String {
        String::new()
    }

    async fn agree(&self, database: &str) -> (usize, String) {
        let client = Postgres::connect(database, "eida_auth").await;
        quiet(&client).await;
        let tally = self.tally();
        excused(&tally);
        let mut stored = BTreeMap::new();
        for row in client.query(ACCOUNTS, &[]).await.unwrap() {
            let login: String = row.get(0);
            let (seen, tokens): (i64, i64) = (row.get(2), row.get(3));
            assert_eq!((seen, tokens), (1, 1), "{login} is half there");
            stored.insert(login, row.get::<_, Option<String>>(1).unwrap());
        }
        let wrong = client.query_one(WRONG, &[]).await.unwrap();
        assert_eq!(
            (wrong.get(0), wrong.get(1)),
            (0_i64, 0_i64),
            "orphans, and doubles"
        );
        let given = self.given.lock().unwrap();
        for (login, password) in &*given {
            let digest = Md5::digest(format!("{login}:FDSN:{password}"));
            let digest = data_encoding::HEXLOWER.encode(&digest);
            assert_eq!(stored.get(login), Some(&digest), "{login} was given");
        }
        let done = stored.len() - given.len();
        let unknown = tally.put_off + tally.broken + (tally.done - given.len());
        assert!(
            done <= unknown,
            "{done} logins of which nobody can have asked: {tally}"
        );
        let told = format!(
            "{tally}; of those not known {done} were done and {} were not; each with its digest and what it may see",
            unknown - done
        );
        (stored.len(), told)
    }
}

/// One client, each of whose requests has a token of its own.
async fn write(logins: Arc<Logins>, client: usize, running: Running) {
    let mut number = 0;
    while running.goes_on() {
        number += 1;
        logins.ask(&format!("{client}.{number}")).await;
    }
}
