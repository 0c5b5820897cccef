//! `jwt.secret`: another one than the database was written under is refused, and changed by a command.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;

use identity_core::clock::Clock;
use identity_testkit::{Process, TestDatabase, TestService, command, eventually, output};
use mailbox::Mailbox;
use reqwest::Method;
use serde_json::json;

use crate::IDM;
use crate::forgotten::ask;
use crate::mails::smtp;
use crate::people::{ADMIN, PASSWORD, establish, get, jwt_of, make_admin, make_link, patient, send, sign_in};

const OLD: &str = "a secret of a test, of thirty-two bytes or more";
const NEW: &str = "another secret of a test, which is as good as the first";

/// The program on `database`, with `secret`.
fn program(database: &TestDatabase, secret: &str, arguments: &[&str]) -> std::process::Command {
    let environment = BTreeMap::from([
        ("IDM_USERS__DATABASE__POSTGRES__URL", database.url()),
        ("IDM_USERS__JWT__SECRET", secret.to_owned()),
        ("IDM_USERS__MAIL__TRANSPORT", "none".to_owned()),
        ("IDM_USERS__SERVER__BIND", "127.0.0.1:0".to_owned()),
    ]);
    command(env!("CARGO_BIN_EXE_idm-users"), &environment, arguments)
}

async fn run(database: &TestDatabase, secret: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = output(program(database, secret, arguments)).await;
    let said = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), said.concat())
}

/// Refused in one line that names the key and the way out, and no secret.
fn is_refusal((status, said): &(Option<i32>, String)) {
    assert_eq!(*status, Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("jwt.secret") && said.contains("fingerprint") && said.contains("secret change"),
        "{said}"
    );
    assert!(!said.contains(OLD) && !said.contains(NEW), "{said}");
}

async fn serves(database: &TestDatabase, secret: &str) {
    Process::start(program(database, secret, &[])).address().await;
}

/// A service whose mail server is down, with a mail that waits and a link with a secret of its own.
struct House {
    database: Arc<TestDatabase>,
    settings: Vec<String>,
    mails: std::net::SocketAddr,
    token: String,
    link: String,
    jwt: String,
}

impl House {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mails = listener.local_addr().unwrap();
        drop(listener);
        let mut settings = smtp(mails.port()).to_vec();
        settings.push("mail.retry_interval=1s".to_owned());
        let borrowed: Vec<&str> = settings.iter().map(String::as_str).collect();
        let idm = IDM.start(&borrowed).await;
        make_admin(&idm).await;
        let token = crate::people::token(&idm, ADMIN, PASSWORD).await;
        let link = make_link(&idm, &token, "S-1").await;
        let own = json!({"secret": "a secret of this link, of thirty-two bytes or more"});
        let path = format!("/link/{link}");
        assert_eq!(send(&idm, &token, Method::PUT, &path, &own).await.0, 204);
        let jwt = jwt_of(&idm, &token, &link).await;
        ask(&idm, ADMIN).await;
        let client = idm.database.connect("idm_users").await;
        eventually("a mail waits", async || {
            let sql = "SELECT count(*) FROM mails WHERE last_error IS NOT NULL";
            let failed: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
            (failed == 1).then_some(())
        })
        .await;
        let database = idm.database.clone();
        idm.stop().await.unwrap();
        Self {
            database,
            settings,
            mails,
            token,
            link,
            jwt,
        }
    }

    /// The service again, with the other secret.
    async fn again(&self) -> TestService {
        let secret = format!("jwt.secret={NEW}");
        let settings: Vec<&str> = self
            .settings
            .iter()
            .map(String::as_str)
            .chain([secret.as_str()])
            .collect();
        IDM.start_on(self.database.clone(), &Clock::system(), &settings)
            .await
    }
}

#[tokio::test]
async fn a_service_with_another_secret_says_so_and_stops() {
    let database = TestDatabase::empty().await;
    serves(&database, OLD).await;
    for arguments in [&["serve"][..], &["users", "list"]] {
        is_refusal(&run(&database, NEW, arguments).await);
    }
    serves(&database, OLD).await;
    let dump = database.dump();
    assert!(dump.contains("encryption_keys") && !dump.contains(OLD));
}

#[tokio::test]
async fn a_changed_secret_takes_waiting_mails_and_secrets_of_links_along() {
    let house = House::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old");
    let change = ["secret", "change", "--old-secret-file", file.to_str().unwrap()];
    std::fs::write(&file, "not the one that it was, and as long as that\n").unwrap();
    is_refusal(&run(&house.database, NEW, &change).await);
    serves(&house.database, OLD).await;
    std::fs::write(&file, format!("{OLD}\n")).unwrap();
    let (status, said) = run(&house.database, NEW, &change).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("waiting mails: 1 encrypted anew, 0")
            && said.contains("secrets of links: 1 encrypted anew, 0"),
        "{said}"
    );
    is_refusal(&run(&house.database, OLD, &["serve"]).await);
    let mailbox = Mailbox::serve(TcpListener::bind(house.mails).unwrap()).unwrap();
    let idm = house.again().await;
    assert_eq!(
        get(&idm, &house.token, "/subject").await.0,
        401,
        "tokens have ended"
    );
    assert_eq!(sign_in(&idm, ADMIN, PASSWORD).await.status(), 200);
    let mail = eventually("the mail comes", async || mailbox.mails().into_iter().next()).await;
    let link = mail.link().unwrap();
    let (_, key) = link.split_once("/reset?").unwrap();
    assert_eq!(
        idm.get(&format!("/reset?{key}")).send().await.unwrap().status(),
        200
    );
    assert_eq!(establish(&idm, &house.jwt, &patient("1")).await, 204);
}

#[tokio::test]
async fn a_secret_that_is_lost_can_be_replaced_and_what_is_lost_is_told() {
    let house = House::new().await;
    for arguments in [
        &["secret", "change"][..],
        &["secret", "change", "--old-secret-lost", "--old-secret-file", "x"],
    ] {
        assert_eq!(
            run(&house.database, NEW, arguments).await.0,
            Some(2),
            "one of both"
        );
    }
    let lost = ["secret", "change", "--old-secret-lost"];
    let (status, said) = run(&house.database, NEW, &lost).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("waiting mails: 0 encrypted anew, 1")
            && said.contains("secrets of links: 0 encrypted anew, 1"),
        "{said}"
    );
    let idm = house.again().await;
    let token = crate::people::token(&idm, ADMIN, PASSWORD).await;
    assert_eq!(get(&idm, &token, "/subject").await.0, 200);
    let jwt = format!("/link/{}/jwt", house.link);
    assert_eq!(get(&idm, &token, &jwt).await.0, 500, "its secret is lost");
    idm.stop().await.unwrap();
    // Found again, it is as good as before.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old");
    std::fs::write(&file, OLD).unwrap();
    let found = ["secret", "change", "--old-secret-file", file.to_str().unwrap()];
    let (status, said) = run(&house.database, NEW, &found).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("secrets of links: 1 encrypted anew, 0"), "{said}");
    let idm = house.again().await;
    assert_eq!(jwt_of(&idm, &token, &house.link).await, house.jwt);
}
