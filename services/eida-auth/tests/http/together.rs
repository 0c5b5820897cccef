//! Logins that are asked for at the same time: they share a transaction, and each has its own answer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity_core::clock::Clock;
use identity_core::db::tokio_postgres::Client;
use identity_testkit::{Process, TestDatabase, TestService, eventually, output};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::EIDA;
use crate::processes::{eida_at, printed};
use crate::signer::{PATH, Signer, answer, connect, count, digest, login, map, map_only, started};

type Asking = JoinHandle<(StatusCode, String)>;

/// A process of one worker, so that all its requests meet.
struct Crowd {
    process: Process,
    http: reqwest::Client,
    url: String,
    metrics: String,
}

impl Crowd {
    async fn on(eida: &TestService, signer: &Signer, settings: &[&str]) -> Self {
        let keyring = signer.setting();
        let always = [keyring.as_str(), "metrics.bind=127.0.0.1:0", "log.format=json"];
        let all = always.iter().chain(settings);
        let arguments: Vec<&str> = all.flat_map(|setting| ["--set", setting]).collect();
        let process = Process::start(eida_at(&eida.database.url(), &arguments));
        Self {
            url: format!("http://{}/", process.address().await),
            metrics: format!("http://{}/metrics", process.metrics_address().await),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            process,
        }
    }

    fn ask(&self, token: String) -> Asking {
        let asked = self.http.post(&self.url).body(token).send();
        tokio::spawn(async move {
            let answer = asked.await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        })
    }

    /// How many tokens were found to be good: as many requests want a login, or have had their answer.
    async fn accepted(&self) -> usize {
        let text = self.http.get(&self.metrics).send().await.unwrap();
        let text = text.text().await.unwrap();
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("eida_auth_tokens_accepted_total "));
        count.unwrap().parse().unwrap()
    }

    /// Asks with `first`, which must wait for `holding`, and then with `others`, which wait for `first`.
    async fn ask_behind(&self, holding: &Holding, first: String, others: Vec<String>) -> Vec<Asking> {
        let before = self.accepted().await;
        let mut asking = Vec::new();
        let waiting = holding.waiting().await;
        asking.push(self.ask(first));
        eventually("the first waits", async || {
            (holding.waiting().await > waiting).then_some(())
        })
        .await;
        let all = before + 1 + others.len();
        asking.extend(others.into_iter().map(|token| self.ask(token)));
        eventually("all wait", async || (self.accepted().await == all).then_some(())).await;
        asking
    }
}

/// Keeps everybody from writing logins by a lock of a table, as `eida-auth block` does for a moment.
struct Holding {
    session: Client,
    beside: Client,
}

impl Holding {
    async fn on(eida: &TestService) -> Self {
        let session = connect(eida).await;
        // A table that no test has rows in that are not committed.
        let lock = "BEGIN; LOCK TABLE credentials IN SHARE ROW EXCLUSIVE MODE";
        session.batch_execute(lock).await.unwrap();
        Self {
            session,
            beside: connect(eida).await,
        }
    }

    /// How many wait.
    async fn waiting(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'credentials'::regclass
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.beside.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn let_go(self) {
        self.session.batch_execute("COMMIT").await.unwrap();
    }
}

async fn answers(asking: Vec<Asking>) -> Vec<(StatusCode, String)> {
    let mut answers = Vec::new();
    for asked in asking {
        answers.push(asked.await.unwrap());
    }
    answers
}

/// The login of an answer, which has everything that belongs to it.
async fn whole(client: &Client, (status, text): &(StatusCode, String)) -> String {
    assert_eq!(*status, StatusCode::OK, "{text}");
    let (login, password) = text.split_once(':').unwrap();
    let sql = "SELECT u.email, c.digest, p.network, p.expires_at = u.expires_at, i.expires_at = u.expires_at
               FROM users u JOIN credentials c USING (user_index) JOIN eida_temp_users p ON p.name = u.login
                   JOIN issued_logins i ON i.login = u.login
               WHERE u.login = $1";
    let row = client.query_one(sql, &[&login]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), format!("{login}@eida"));
    assert_eq!(row.get::<_, String>(1), digest(login, password));
    assert_eq!(row.get::<_, String>(2), "Z3");
    assert!(row.get::<_, bool>(3) && row.get::<_, bool>(4), "{login}");
    login.to_owned()
}

/// How many accounts each transaction wrote, the fewest first.
async fn transactions(client: &Client) -> Vec<i64> {
    let sql = "SELECT count(*) FROM users GROUP BY xmin::text ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Nothing is there by half, and there are `logins`.
async fn exactly(client: &Client, logins: i64) {
    for table in ["users", "credentials", "eida_temp_users", "issued_logins"] {
        assert_eq!(count(client, table).await, logins, "{table}");
    }
}

#[tokio::test]
async fn logins_asked_for_at_once_share_a_transaction_and_are_whole_each() {
    let (eida, signer) = started(&[]).await;
    let crowd = Crowd::on(&eida, &signer, &[]).await;
    let client = connect(&eida).await;
    let token = |note: &str| signer.token(&eida, PATH, 86400, note);
    let holding = Holding::on(&eida).await;
    let others = (0..70).map(|number| token(&number.to_string())).collect();
    let asking = crowd.ask_behind(&holding, token("first"), others).await;
    holding.let_go().await;
    let mut logins = BTreeSet::new();
    for answer in &answers(asking).await {
        logins.insert(whole(&client, answer).await);
    }
    assert_eq!(logins.len(), 71, "all different");
    exactly(&client, 71).await;
    // The first by itself, then as many as may go together, then the others.
    assert_eq!(transactions(&client).await, [1, 6, 64]);
}

#[tokio::test]
async fn of_logins_in_one_transaction_each_has_its_own_answer() {
    let (eida, signer) = started(&[]).await;
    let crowd = Crowd::on(&eida, &signer, &["credentials.max_per_token=4"]).await;
    let client = connect(&eida).await;
    map_only(&client, "/epos/other", "YY", 2000, 2001).await;
    let of = |path: &str, note: &str| signer.token(&eida, path, 86400, note);
    // A token with three logins, of which one ended early: there are two places, one of them in between.
    let used = of(PATH, "used");
    for _ in 0..3 {
        assert_eq!(crowd.ask(used.clone()).await.unwrap().0, StatusCode::OK);
    }
    let sql = "UPDATE issued_logins SET expires_at = '2020-01-01' WHERE place = 1";
    assert_eq!(client.execute(sql, &[]).await.unwrap(), 1);
    let blocked = of(PATH, "blocked");
    let files = TempDir::new().unwrap();
    let file = files.path().join("token.asc");
    std::fs::write(&file, &blocked).unwrap();
    let arguments = ["--set", &signer.setting(), "block", file.to_str().unwrap()];
    let told = output(eida_at(&eida.database.url(), &arguments)).await;
    assert!(printed(&told).starts_with("blocked "), "{told:?}");

    let fresh = of(PATH, "fresh");
    let (not_mapped, not_known) = (of("/epos/none", ""), of("/epos/other", ""));
    let partly_known = of(&format!("/epos/other;{PATH}"), "");
    let mut others = vec![blocked, not_mapped, not_known, partly_known];
    for _ in 0..5 {
        others.extend([used.clone(), fresh.clone()]);
    }
    let holding = Holding::on(&eida).await;
    let asking = crowd.ask_behind(&holding, of(PATH, "first"), others).await;
    holding.let_go().await;
    let answers = answers(asking).await;
    let (special, crowds) = answers.split_at(5);
    let statuses = |answers: &[(StatusCode, String)]| {
        answers
            .iter()
            .map(|(status, _)| status.as_u16())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(special), [200, 403, 403, 403, 200]);
    assert!(
        special[1].1.starts_with("The token is blocked here."),
        "{}",
        special[1].1
    );
    for (_, text) in &special[2..4] {
        assert!(
            text.contains("none of its memberships leads to a network"),
            "{text}"
        );
    }
    // By turns one of the token that had three, and one of the token that had none.
    let (used, fresh): (Vec<_>, Vec<_>) = crowds
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .unzip();
    for (answers, expected) in [(&used, 2), (&fresh, 4)] {
        let mut statuses = statuses(answers);
        statuses.sort_unstable();
        let full = std::iter::repeat_n(429, 5 - expected);
        assert_eq!(
            statuses,
            std::iter::repeat_n(200, expected)
                .chain(full)
                .collect::<Vec<u16>>()
        );
    }
    for answer in answers.iter().filter(|(status, _)| status.is_success()) {
        whole(&client, answer).await;
    }
    // One each before, the first, and then all seven together.
    assert_eq!(transactions(&client).await, [1, 1, 1, 1, 7]);
    let sql =
        "SELECT array_agg(DISTINCT place ORDER BY place), count(*) FROM issued_logins GROUP BY token_digest
               ORDER BY 2";
    let rows = client.query(sql, &[]).await.unwrap();
    let places: Vec<(Vec<i32>, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let every = (vec![0, 1, 2, 3], 4);
    assert_eq!(places, [(vec![0], 1), (vec![0], 1), every.clone(), every]);
    let warned = "a mapped network is not in the inventory and is skipped";
    let warnings = crowd.process.entries().into_iter();
    let warnings = warnings.filter(|entry| entry["message"] == warned && entry["network"] == "YY");
    assert_eq!(warnings.count(), 2, "one for each token that names it");
}

#[tokio::test]
async fn a_login_that_cannot_be_written_takes_no_other_with_it() {
    for (at, constraint) in [("BEFORE", ""), ("AFTER", "DEFERRABLE INITIALLY DEFERRED")] {
        let (eida, signer) = started(&[]).await;
        let crowd = Crowd::on(&eida, &signer, &[]).await;
        let client = connect(&eida).await;
        map(&client, "/epos/broken", "XX", 2000, 2001).await;
        let kind = if constraint.is_empty() { "" } else { "CONSTRAINT" };
        // At the row, or not before the commit.
        let sql = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF new.network = 'XX' THEN RAISE EXCEPTION 'no'; END IF; RETURN new; END $$;
             CREATE {kind} TRIGGER refuse {at} INSERT ON eida_temp_users {constraint}
                 FOR EACH ROW EXECUTE FUNCTION refuse()"
        );
        client.batch_execute(&sql).await.unwrap();
        let token = |path: &str, note: usize| signer.token(&eida, path, 86400, &note.to_string());
        let is_broken = |number: usize| number % 8 == 3;
        let path = |number: usize| if is_broken(number) { "/epos/broken" } else { PATH };
        let holding = Holding::on(&eida).await;
        let others = (1..24).map(|number| token(path(number), number)).collect();
        let asking = crowd.ask_behind(&holding, token(PATH, 0), others).await;
        holding.let_go().await;
        for (number, answer) in answers(asking).await.iter().enumerate() {
            if is_broken(number) {
                assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.1);
            } else {
                whole(&client, answer).await;
            }
        }
        exactly(&client, 21).await;
    }
}

#[tokio::test]
async fn who_waits_for_a_row_keeps_no_other_waiting() {
    let (eida, signer) = started(&[]).await;
    let crowd = Crowd::on(&eida, &signer, &["database.postgres.statement_timeout=30s"]).await;
    let client = connect(&eida).await;
    let token = |note: &str| signer.token(&eida, PATH, 86400, note);
    let held = token("held");
    assert_eq!(crowd.ask(held.clone()).await.unwrap().0, StatusCode::OK);
    // Somebody has its next place and does not come to an end.
    let somebody = connect(&eida).await;
    let sql =
        "BEGIN; INSERT INTO issued_logins SELECT token_digest, 1, 'somebody', expires_at FROM issued_logins";
    somebody.batch_execute(sql).await.unwrap();
    let holding = Holding::on(&eida).await;
    let others = std::iter::once(held).chain((0..20).map(|number| token(&number.to_string())));
    let mut asking = crowd.ask_behind(&holding, token("first"), others.collect()).await;
    holding.let_go().await;
    let held = asking.remove(1);
    for answer in &answers(asking).await {
        whole(&client, answer).await;
    }
    // Nor those who come later.
    whole(&client, &crowd.ask(token("later")).await.unwrap()).await;
    assert!(!held.is_finished());
    somebody.batch_execute("ROLLBACK").await.unwrap();
    whole(&client, &held.await.unwrap()).await;
}

#[tokio::test]
async fn who_goes_away_leaves_a_login_or_nothing_and_takes_no_other_along() {
    let (eida, signer) = started(&[]).await;
    let crowd = Crowd::on(&eida, &signer, &[]).await;
    let client = connect(&eida).await;
    let token = |note: usize| signer.token(&eida, PATH, 86400, &note.to_string());
    let holding = Holding::on(&eida).await;
    let mut asking = crowd
        .ask_behind(&holding, token(0), (1..21).map(token).collect())
        .await;
    // The first, whose statement is under way, and every second of those that wait.
    let mut left = Vec::new();
    for (number, asked) in asking.drain(..).enumerate() {
        if number % 2 == 0 {
            asked.abort();
        } else {
            left.push(asked);
        }
    }
    holding.let_go().await;
    for answer in &answers(left).await {
        whole(&client, answer).await;
    }
    let there = count(&client, "users").await;
    assert!((10..=21).contains(&there), "{there}");
    exactly(&client, there).await;
}

#[tokio::test]
async fn instances_that_write_for_the_same_tokens_never_wait_for_each_other_in_a_circle() {
    let derived = [
        "credentials.mode=derived",
        "credentials.secret=a secret of at least 32 characters",
    ];
    for settings in [&[][..], &derived] {
        let (eida, signer) = started(&[]).await;
        let crowds = [
            Crowd::on(&eida, &signer, settings).await,
            Crowd::on(&eida, &signer, settings).await,
        ];
        let client = connect(&eida).await;
        let tokens: Vec<String> = (0..60)
            .map(|number| signer.token(&eida, PATH, 86400, &number.to_string()))
            .collect();
        let mut turned = tokens.clone();
        turned.reverse();
        // Some come twice in one transaction.
        let twice = |tokens: &[String]| [tokens, &tokens[..4]].concat();
        for round in 0..5 {
            let holding = Holding::on(&eida).await;
            let mut asking = Vec::new();
            for (crowd, tokens) in crowds.iter().zip([&tokens, &turned]) {
                let first = signer.token(&eida, PATH, 86400, &format!("{round} {}", crowd.url));
                asking.extend(crowd.ask_behind(&holding, first, twice(tokens)).await);
            }
            holding.let_go().await;
            for answer in &answers(asking).await {
                assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
            }
        }
        for crowd in &crowds {
            let log = crowd.process.log();
            assert!(!log.contains("could not be written together"), "{log}");
        }
        let expected = if settings.is_empty() { 650 } else { 70 };
        exactly(&client, expected).await;
    }
}

#[tokio::test]
async fn whoever_is_slower_gets_a_place_as_well() {
    let (eida, signer) = started(&[]).await;
    let mut crowds = Vec::new();
    for _ in 0..4 {
        crowds.push(Crowd::on(&eida, &signer, &["credentials.max_per_token=10000"]).await);
    }
    let token = signer.token(&eida, PATH, 86400, "the same for all");
    let client = async |crowd: &Crowd| {
        for _ in 0..40 {
            let (status, text) = crowd.ask(token.clone()).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{text}");
        }
    };
    let clients = crowds.iter().flat_map(|crowd| (0..16).map(|_| client(crowd)));
    futures_util::future::join_all(clients).await;
    exactly(&connect(&eida).await, 4 * 16 * 40).await;
    for crowd in &crowds {
        assert!(
            !crowd.process.log().contains("others took every place"),
            "again and again"
        );
    }
}

#[tokio::test]
async fn who_asks_behind_a_login_that_hangs_is_told_when_postgres_is_known_to_be_away() {
    let signer = Signer::new();
    let database = Arc::new(TestDatabase::empty().await);
    let (network, url) = database.behind_proxy();
    let url = format!("database.postgres.url={url}");
    let keyring = signer.setting();
    let settings = [
        url.as_str(),
        &keyring,
        "server.workers=1",
        "database.postgres.outage_exit=never",
        "database.postgres.connect_timeout=1s",
    ];
    let eida = EIDA.start_on(database, &Clock::system(), &settings).await;
    map(&connect(&eida).await, PATH, "Z3", 2015, 2022).await;
    login(&eida, signer.token(&eida, PATH, 3600, "before")).await;
    network.silence();
    let token = |note: &str| signer.token(&eida, PATH, 3600, note);
    let (hanging, behind) = (token("hanging"), token("behind"));
    // A request may take 30 s. That Postgres is away is known within four.
    let began = Instant::now();
    let (hanging, behind) = tokio::join!(answer(&eida, hanging), answer(&eida, behind));
    assert_eq!(hanging.0, StatusCode::SERVICE_UNAVAILABLE, "{}", hanging.1);
    assert_eq!(behind.0, StatusCode::SERVICE_UNAVAILABLE, "{}", behind.1);
    assert!(began.elapsed() < Duration::from_secs(10));
    let asked = Instant::now();
    let (status, _) = answer(&eida, token("later")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(asked.elapsed() < Duration::from_millis(900));
    network.mend();
    eventually("a login is given again", async || {
        let (status, _) = answer(&eida, token("again")).await;
        status.is_success().then_some(())
    })
    .await;
}
