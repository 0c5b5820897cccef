//! Load on idm-users' subjects, and the comparison of what its clients know with the database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use faults::{Instance, Ledger, Load, Pace, Postgres, Running, Tally, ask, client, random_below};
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use crate::people::quiet;
use crate::work::{Work, excused, with};

const ADMIN: &str = "admin@example.org";
const PASSWORD: &str = "winter-is-coming";

/// A subject as its client knows it: two members that are always changed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    name: String,
    site: String,
}

/// The subjects that the clients of a test write, signed in as the administrator.
#[derive(Debug)]
pub struct Subjects {
    url: String,
    token: String,
    http: Client,
    pace: Pace,
    /// By SSSID.
    pub ledger: Ledger<Subject>,
}

/// idm-users on `database`, without mails.
pub fn settings(database: &str) -> Vec<String> {
    [
        format!("database.postgres.url={database}").as_str(),
        "jwt.secret=a secret of a test, of thirty-two bytes or more",
        "mail.transport=none",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl Subject {
    /// As it is after so many changes.
    pub fn numbered(number: u64) -> Self {
        Self {
            name: format!("Name {number}"),
            site: format!("Site {number}"),
        }
    }
}

impl Subjects {
    /// No subject yet, at the instance `url`, whose administrator is made here.
    pub async fn at(url: &str) -> Arc<Self> {
        let http = client();
        let form = [("username", ADMIN), ("pass1", PASSWORD), ("pass2", PASSWORD)];
        let made = http.post(format!("{url}/init")).form(&form).send().await.unwrap();
        assert_eq!(made.status(), 200);
        let login = json!({"username": ADMIN, "password": PASSWORD});
        let signed_in = ask(http.post(format!("{url}/auth")).json(&login)).await;
        Arc::new(Self {
            url: url.to_owned(),
            token: signed_in.body["access_token"].as_str().unwrap().to_owned(),
            http,
            pace: Pace::default(),
            ledger: Ledger::default(),
        })
    }

    /// A request that makes a subject, or changes it.
    pub fn request(&self, sssid: &str, subject: &Subject, is_new: bool) -> RequestBuilder {
        let mut document = json!({"sssid": sssid, "name": subject.name, "site": subject.site});
        let request = if is_new {
            document["bday"] = json!("1976-04-12");
            self.http.post(format!("{}/subject", self.url))
        } else {
            self.http.put(format!("{}/subject/{sssid}", self.url))
        };
        request
            .header("Authorization", format!("JWT {}", self.token))
            .json(&document)
    }

    /// Writes a subject; says whether that is known to be done.
    async fn set(&self, sssid: &str, number: u64) -> bool {
        let subject = Subject::numbered(number);
        self.ledger.asks(sssid, Some(subject.clone()));
        let answer = self.pace.ask(self.request(sssid, &subject, number == 0)).await;
        self.ledger.learns(sssid, &answer);
        answer.is_success()
    }
}

impl Work for Subjects {
    const SERVICE: &'static str = "idm-users";

    async fn start(database: &str, more: &[&str]) -> (Instance, Arc<Self>) {
        let idm = Instance::start("idm-users", &with(settings(database), more)).await;
        let subjects = Self::at(&idm.url).await;
        (idm, subjects)
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

    /// The audit trail verifies, by the program's own command.
    async fn is_good(&self, instance: &Instance) -> String {
        let verified = instance.run(&["audit", "verify"]).await;
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(
            verified.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&verified.stderr)
        );
        format!("; the trail: {}", said.trim())
    }

    async fn agree(&self, database: &str) -> (usize, String) {
        let client = Postgres::connect(database, "idm_users").await;
        quiet(&client).await;
        let tally = self.ledger.tally();
        excused(&tally);
        let sql = "SELECT s.sssid, s.name, s.extra ->> 'site', array_agg(a.action ORDER BY a.seq)
                   FROM subjects s LEFT JOIN audit a USING (sssid) GROUP BY s.sssid";
        let mut stored = std::collections::BTreeMap::new();
        for row in client.query(sql, &[]).await.unwrap() {
            let sssid: String = row.get(0);
            let (name, site): (String, String) = (row.get(1), row.get(2));
            told(&sssid, &name, &row.get::<_, Vec<Option<String>>>(3));
            stored.insert(sssid, Subject { name, site });
        }
        let (done, not_done) = self.ledger.agree(&stored);
        let orphans = "SELECT count(*) FROM audit a
                       WHERE a.sssid IS NOT NULL AND NOT EXISTS (SELECT FROM subjects s WHERE s.sssid = a.sssid)";
        let orphans: i64 = client.query_one(orphans, &[]).await.unwrap().get(0);
        assert_eq!(orphans, 0, "nothing is told of what was not done");
        let told = format!(
            "{tally}; of those not known {done} were done and {not_done} were not; the audit trail tells of the same"
        );
        (tally.done + done, told)
    }
}

/// The audit trail of a subject: made, and then each change of both members, up to the one that is there.
fn told(sssid: &str, name: &str, actions: &[Option<String>]) {
    let last: usize = name
        .strip_prefix("Name ")
        .and_then(|number| number.parse().ok())
        .unwrap();
    let mut expected = vec!["created".to_owned()];
    for number in 1..=last {
        for (member, word) in [("name", "Name"), ("site", "Site")] {
            let before = number - 1;
            expected.push(format!(
                "changed {member}: \"{word} {before}\" → \"{word} {number}\""
            ));
        }
    }
    let actions: Vec<&str> = actions.iter().flatten().map(String::as_str).collect();
    assert_eq!(actions, expected, "{sssid}");
}

/// One client: subjects, one after the other, each left alone as soon as the client does not know.
async fn write(subjects: Arc<Subjects>, client: usize, running: Running) {
    let mut count = 0;
    while running.goes_on() {
        count += 1;
        let sssid = format!("S{count}.C{client}");
        let changes = random_below(8);
        for number in 0..=changes {
            if !running.goes_on() || !subjects.set(&sssid, number).await {
                break;
            }
        }
    }
}
