//! eida-auth with a data centre's two databases, each of which fails in every way under load: every login that was
//! answered works in both, and nothing half-done stays.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{Instance, Load, client, is_full, random_below, short_or_full, tell};
use identity_testkit::{TestDatabase, eventually};
use md5::{Digest, Md5};
use reqwest::{Client, StatusCode};

use crate::centre::{Centre, Fault};
use crate::eida::Signer;

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// Logins and their passwords.
    given: Mutex<BTreeMap<String, String>>,
    put_off: AtomicUsize,
    broken: AtomicUsize,
}

impl Told {
    fn count(&self) -> usize {
        self.given.lock().unwrap().len()
    }
}

async fn ask(http: &Client, url: &str, token: &str, told: &Told) {
    let Ok(answer) = http.post(url).body(token.to_owned()).send().await else {
        told.broken.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        return;
    };
    let (status, text) = (answer.status(), answer.text().await);
    match status {
        StatusCode::OK => {
            // A login that did not arrive in full was not given to anybody.
            if let Some((login, password)) = text.as_ref().ok().and_then(|text| text.split_once(':')) {
                let before = told
                    .given
                    .lock()
                    .unwrap()
                    .insert(login.to_owned(), password.to_owned());
                assert!(before.is_none(), "{login} was given twice");
            }
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            told.put_off.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other => panic!("{other}, for which no fault is a reason: {text:?}"),
    }
}

fn digest(login: &str, password: &str) -> String {
    data_encoding::HEXLOWER.encode(&Md5::digest(format!("{login}:FDSN:{password}")))
}

/// Every fault happens to each of the two `rounds` times, and the process is killed now and then.
async fn suffer(centre: &mut Centre, eida: &mut Instance, told: &Told, rounds: usize, longest: Duration) {
    for round in 0..rounds {
        for fault in Fault::ALL {
            for number in [0, 1] {
                tokio::time::sleep(Duration::from_millis(100 + random_below(300))).await;
                let time = match fault {
                    Fault::Stopped if round == 0 => longest,
                    _ => Duration::from_millis(random_below(800)),
                };
                centre.suffer(number, fault, time).await;
                let before = told.count();
                eventually("logins are given again", async || {
                    (told.count() > before).then_some(())
                })
                .await;
            }
        }
        eida.kill();
        eida.start_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_login_that_was_answered_is_in_both_databases_whatever_they_suffered_and_nothing_half_done_stays()
 {
    let rounds = short_or_full(1, 10);
    let mut centre = Centre::start().await;
    let (signer, own) = (Arc::new(Signer::new()), TestDatabase::empty().await);
    let mut settings = centre.settings();
    settings.extend([
        format!("database.postgres.url={}", own.url()),
        signer.setting(),
        "credentials.max_per_token=10000".to_owned(),
        "cleanup.interval=1000h".to_owned(),
        "database.postgres.outage_exit=never".to_owned(),
        "database.postgres.connect_timeout=2s".to_owned(),
        "database.postgres.statement_timeout=5s".to_owned(),
    ]);
    let mut eida = Instance::start("eida-auth", &settings).await;
    let told = Arc::<Told>::default();
    let (http, url) = (client(), format!("{}/", eida.url));
    let load = Load::start(6, |number, running| {
        let (http, url, told, signer) = (http.clone(), url.clone(), told.clone(), signer.clone());
        async move {
            for turn in 0.. {
                let token = signer.token(&format!("client {number}, {turn}"));
                for _ in 0..1_000 {
                    if !running.goes_on() {
                        return;
                    }
                    ask(&http, &url, &token, &told).await;
                }
            }
        }
    });
    let longest = short_or_full(Duration::from_secs(3), Duration::from_secs(10));
    suffer(&mut centre, &mut eida, &told, rounds, longest).await;
    load.stop().await;
    // As after a power cut: what is in the databases is all that there is.
    eida.kill();
    centre.quiet().await;
    let given = told.given.lock().unwrap().clone();
    let (accounts, privileges) = (centre.accounts().await, centre.privileges().await);
    let orphans: Vec<_> = privileges
        .keys()
        .filter(|login| !accounts.contains_key(*login))
        .collect();
    assert!(orphans.is_empty(), "privileges without an account: {orphans:?}");
    let half = accounts.len() - privileges.len();
    centre.two_minutes_later(is_full()).await;
    eida.start_again().await;
    let cleaned = http.get(format!("{}/cleanup", eida.url)).send().await.unwrap();
    assert_eq!(cleaned.status(), StatusCode::OK);
    let (accounts, privileges) = (centre.accounts().await, centre.privileges().await);
    let bare: Vec<&String> = accounts
        .keys()
        .filter(|login| !privileges.contains_key(*login))
        .collect();
    assert!(bare.is_empty(), "accounts without privileges: {bare:?}");
    assert!(
        privileges.keys().all(|login| accounts.contains_key(login)),
        "privileges have an account"
    );
    assert!(
        privileges.values().all(|&networks| networks == 2),
        "each sees both networks"
    );
    for (login, password) in &given {
        let stored = accounts
            .get(login)
            .unwrap_or_else(|| panic!("{login} was given and is gone"));
        assert_eq!(*stored, digest(login, password), "the password of {login}");
    }
    assert!(given.len() > 50, "there was load: {}", given.len());
    tell(
        "eida-auth, its two databases failing",
        &format!(
            "{rounds} times each fault to each database: {} logins answered, all in both; {} put off, {} without an answer; \
             {half} begun and not completed, gone after two minutes; {} completed whose client did not hear of it",
            given.len(),
            told.put_off.load(Ordering::Relaxed),
            told.broken.load(Ordering::Relaxed),
            privileges.len() - given.len()
        ),
    );
}
