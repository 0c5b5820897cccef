//! Mails: their form, their way over SMTP and into files, and what happens when a server is down.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use identity_core::clock::Clock;
use identity_testkit::{TestDatabase, TestService, eventually};
use mailbox::{Mail, Mailbox, Mood};
use serde_json::Value;

use crate::IDM;
use crate::forgotten::ask;
use crate::people::{ADMIN, make_admin};

/// A service whose mails are caught.
pub struct Caught {
    pub idm: Started,
    pub mailbox: Mailbox,
}

/// A service that tests can lend on.
#[derive(Clone)]
pub struct Started(Arc<TestService>);

impl std::ops::Deref for Started {
    type Target = TestService;

    fn deref(&self) -> &TestService {
        &self.0
    }
}

impl Started {
    pub fn again(&self) -> Self {
        self.clone()
    }
}

impl Caught {
    /// The mails, once there are so many.
    pub async fn wait(&self, count: usize) -> Vec<Mail> {
        eventually("the mails have come", async || {
            Some(self.mailbox.mails()).filter(|mails| mails.len() >= count)
        })
        .await
    }

    /// Waits until no request for a new password and no mail is left.
    pub async fn settled(&self) {
        let client = self.idm.database.connect("idm_users").await;
        eventually("everything is answered", async || {
            let sql = "SELECT (SELECT count(*) FROM reset_requests) + (SELECT count(*) FROM mails)";
            let left: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
            (left == 0).then_some(())
        })
        .await;
    }
}

/// Settings for a server at this port, which speaks no TLS.
pub fn smtp(port: u16) -> [String; 4] {
    [
        "mail.transport=smtp".to_owned(),
        "mail.server=127.0.0.1".to_owned(),
        "mail.encryption=none".to_owned(),
        format!("mail.port={port}"),
    ]
}

pub async fn caught(settings: &[&str]) -> Caught {
    let mailbox = Mailbox::serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let smtp = smtp(mailbox.address.port());
    let all: Vec<&str> = smtp
        .iter()
        .map(String::as_str)
        .chain(settings.iter().copied())
        .collect();
    Caught {
        idm: Started(Arc::new(IDM.start(&all).await)),
        mailbox,
    }
}

#[tokio::test]
async fn a_mail_has_text_and_html_and_tells_whom_to_answer() {
    let caught = caught(&[
        "server.public_url=https://idm.example.org",
        "admin_email=office@example.org",
        "mail.from=Studie Zürich <study@example.org>",
        "mail.username=idm",
        "mail.password=secret",
    ])
    .await;
    make_admin(&caught.idm).await;
    ask(&caught.idm, ADMIN).await;
    let mail = &caught.wait(1).await[0];
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("study@example.org", [ADMIN.to_owned()].as_slice())
    );
    assert!(mail.header("From").contains("<study@example.org>"));
    assert_eq!(mail.header("Reply-To"), "office@example.org");
    assert_eq!(mail.header("To"), ADMIN);
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("Message-ID").ends_with("@idm.example.org>"));
    assert!(mail.header("Content-Type").starts_with("multipart/alternative"));
    assert!(!mail.header("Date").is_empty());
    assert_eq!(mail.subject(), "Set a new password");
    let link = mail.link().unwrap();
    assert!(mail.text().contains(&link) && mail.html().contains(&format!("href=\"{link}\"")));
    assert!(mail.text().contains("UTC"), "until when it can be used");
    assert_eq!(mail.signed_in.as_deref(), Some("PLAIN"));
}

#[tokio::test]
async fn without_another_sender_mails_come_from_the_administrators() {
    let caught = caught(&["admin_email=Study Office <office@example.org>"]).await;
    make_admin(&caught.idm).await;
    ask(&caught.idm, ADMIN).await;
    let mail = &caught.wait(1).await[0];
    assert_eq!(mail.header("From"), "\"Study Office\" <office@example.org>");
    assert_eq!(mail.header("Reply-To"), "\"Study Office\" <office@example.org>");
}

#[tokio::test]
async fn a_server_that_is_down_loses_no_mail_and_gets_none_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = smtp(address.port());
    let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    settings.extend(["mail.retry_interval=30s", "limits.mails_per_account=100/1h"]);
    let idm = IDM.start(&settings).await;
    let other = IDM.start_on(idm.database.clone(), &idm.clock, &settings).await;
    make_admin(&idm).await;
    let client = idm.database.connect("idm_users").await;
    let failed_once = async |count: i64| {
        eventually("the first tries have failed", async || {
            let sql = "SELECT count(*) FROM mails WHERE last_error IS NOT NULL";
            let failed: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
            (failed == count).then_some(())
        })
        .await;
    };
    for number in 1..=3 {
        assert_eq!(
            ask(if number == 2 { &other } else { &idm }, ADMIN).await.0,
            200,
            "no request is held up"
        );
        failed_once(number).await;
    }
    let mailbox = Mailbox::serve(TcpListener::bind(address).unwrap()).unwrap();
    mailbox.set_mood(Mood::Refusing);
    idm.clock.advance(Duration::from_secs(31));
    let tried_twice = async || {
        let sql = "SELECT count(*) FROM mails WHERE attempts = 2 AND last_error LIKE '%451%'";
        let tried: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        (tried == 3).then_some(())
    };
    eventually("the second tries have failed", tried_twice).await;
    mailbox.set_mood(Mood::Taking);
    idm.clock.advance(Duration::from_secs(31));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(mailbox.mails().is_empty(), "the pause is twice as long");
    idm.clock.advance(Duration::from_secs(31));
    let mails = eventually("all have come", async || {
        Some(mailbox.mails()).filter(|mails| mails.len() >= 3)
    })
    .await;
    idm.clock.advance(Duration::from_hours(1));
    eventually("the outbox is empty", async || {
        let left: i64 = client
            .query_one("SELECT count(*) FROM mails", &[])
            .await
            .unwrap()
            .get(0);
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(mailbox.mails().len(), 3, "none twice");
    let mut ids: Vec<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_mail_is_given_up_after_three_days_and_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let settings = smtp(port);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let idm = IDM.start(&settings).await;
    make_admin(&idm).await;
    ask(&idm, ADMIN).await;
    let client = idm.database.connect("idm_users").await;
    let is = async |condition: &str| {
        let sql = format!("SELECT count(*) FROM mails WHERE {condition}");
        let count: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        (count == 1).then_some(())
    };
    eventually("the first try has failed", async || {
        is("last_error IS NOT NULL").await
    })
    .await;
    idm.clock.advance(Duration::from_hours(73));
    eventually("it is given up", async || is("dead_at IS NOT NULL").await).await;
}

#[tokio::test]
async fn mails_can_be_written_into_files() {
    let directory = tempfile::tempdir().unwrap();
    let setting = format!("mail.directory={}", directory.path().join("mails").display());
    let idm = IDM.start(&["mail.transport=file", &setting]).await;
    make_admin(&idm).await;
    ask(&idm, ADMIN).await;
    let written = eventually("the mail is written", async || {
        let mut files = std::fs::read_dir(directory.path().join("mails"))
            .unwrap()
            .map(|file| file.unwrap().path());
        files.find(|file| file.extension().is_some_and(|extension| extension == "eml"))
    })
    .await;
    let content = std::fs::read_to_string(written).unwrap();
    assert!(content.contains(&format!("To: {ADMIN}")) && content.contains("multipart/alternative"));
    let status: Value = idm.get("/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status["data"]["mail"], "ok");
}

#[tokio::test]
async fn the_status_tells_whether_mails_can_be_sent_and_no_more() {
    let caught = caught(&[]).await;
    let told = async |idm: &TestService| -> Value {
        let status: Value = idm.get("/status").send().await.unwrap().json().await.unwrap();
        status["data"]["mail"].clone()
    };
    assert_eq!(told(&caught.idm).await, "ok");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = smtp(listener.local_addr().unwrap().port());
    drop(listener);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let database = Arc::new(TestDatabase::empty().await);
    let idm = IDM.start_on(database, &Clock::system(), &settings).await;
    assert_eq!(told(&idm).await, "the mail server cannot be used");
}

#[tokio::test]
async fn starttls_is_insisted_on() {
    let mailbox = Mailbox::serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let port = format!("mail.port={}", mailbox.address.port());
    let idm = IDM
        .start(&[
            "mail.transport=smtp",
            "mail.server=127.0.0.1",
            "mail.username=idm",
            "mail.password=secret",
            &port,
        ])
        .await;
    make_admin(&idm).await;
    ask(&idm, ADMIN).await;
    let client = idm.database.connect("idm_users").await;
    eventually("the try has failed", async || {
        let sql = "SELECT count(*) FROM mails WHERE last_error IS NOT NULL";
        let failed: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        (failed == 1).then_some(())
    })
    .await;
    assert!(
        mailbox.mails().is_empty(),
        "neither the mail nor the password went out in the clear"
    );
}

#[tokio::test]
async fn a_waiting_mail_is_not_stored_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = smtp(address.port());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let idm = IDM.start(&settings).await;
    make_admin(&idm).await;
    ask(&idm, ADMIN).await;
    let client = idm.database.connect("idm_users").await;
    eventually("it waits", async || {
        let left: i64 = client
            .query_one("SELECT count(*) FROM mails", &[])
            .await
            .unwrap()
            .get(0);
        (left == 1).then_some(())
    })
    .await;
    let dump = idm.database.dump();
    assert!(!dump.contains("/reset?k=") && !dump.contains("Set a new password"));
    let mailbox = Mailbox::serve(TcpListener::bind(address).unwrap()).unwrap();
    idm.clock.advance(Duration::from_hours(1));
    let mail = eventually("it comes", async || mailbox.mails().into_iter().next()).await;
    let key = mail.link().unwrap();
    let key = key.split_once("?k=").unwrap().1;
    assert!(!dump.contains(key));
}
