//! How many logins a token has: as many as it may, or always the same.

use std::time::Duration;

use futures_util::future::join_all;
use identity_core::clock::Clock;
use reqwest::StatusCode;

use crate::EIDA;
use crate::signer::{PATH, Signer, answer, connect, count, login, map_only, started};

const SECRET: &str = "credentials.secret=a secret of at least 32 characters";

#[tokio::test]
async fn a_token_has_only_so_many_live_logins() {
    let (eida, signer) = started(&["credentials.max_per_token=3", "credentials.lifetime=1h"]).await;
    let client = connect(&eida).await;
    let token = signer.token(&eida, PATH, 86400, "");
    for _ in 0..3 {
        login(&eida, token.clone()).await;
    }
    let (status, text) = answer(&eida, token.clone()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{text}");
    assert!(text.contains("3 live logins"), "{text}");
    assert_eq!(count(&client, "users").await, 3);
    login(&eida, signer.token(&eida, PATH, 86400, "another token")).await;
    // Whether or not they are cleaned up already.
    eida.clock.advance(Duration::from_mins(61));
    for _ in 0..3 {
        login(&eida, token.clone()).await;
    }
    assert_eq!(answer(&eida, token).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn twenty_by_default_however_many_ask_at_once_and_in_whichever_form() {
    let (eida, signer) = started(&[]).await;
    let other = EIDA
        .start_on(eida.database.clone(), &eida.clock, &[&signer.setting()])
        .await;
    let token = signer.token(&eida, PATH, 86400, "");
    let mailed = token.replace('\n', "\r\n");
    let asked = (0..60).map(|number| {
        let instance = if number % 2 == 0 { &eida } else { &other };
        answer(
            instance,
            if number % 3 == 0 {
                mailed.clone()
            } else {
                token.clone()
            },
        )
    });
    let answers = join_all(asked).await;
    let with = |status: StatusCode| answers.iter().filter(|(answered, _)| *answered == status).count();
    assert_eq!(
        (with(StatusCode::OK), with(StatusCode::TOO_MANY_REQUESTS)),
        (20, 40)
    );
    let client = connect(&eida).await;
    for table in ["users", "credentials", "eida_temp_users", "issued_logins"] {
        assert_eq!(count(&client, table).await, 20, "{table}");
    }
}

#[tokio::test]
async fn a_derived_login_is_always_the_same() {
    let settings = [
        "credentials.mode=derived",
        SECRET,
        "credentials.lifetime=1h",
        "cleanup.interval=1000h",
    ];
    let (eida, signer) = started(&settings).await;
    let client = connect(&eida).await;
    let token = signer.token(&eida, PATH, 86400, "");
    let first = login(&eida, token.clone()).await;
    let at_once = join_all((0..30).map(|_| login(&eida, token.replace('\n', "\r\n")))).await;
    assert!(at_once.iter().all(|again| *again == first));
    for table in ["users", "credentials", "eida_temp_users", "issued_logins"] {
        assert_eq!(count(&client, table).await, 1, "{table}");
    }
    let ends = async || -> jiff::Timestamp {
        client
            .query_one("SELECT expires_at FROM users", &[])
            .await
            .unwrap()
            .get(0)
    };
    let before = ends().await;
    // Another instance, after the first is gone.
    let keyring = signer.setting();
    let clock = Clock::system();
    let database = eida.database.clone();
    let with: Vec<&str> = settings.into_iter().chain([keyring.as_str()]).collect();
    let other = EIDA.start_on(database, &clock, &with).await;
    eida.stop().await.unwrap();
    clock.advance(Duration::from_mins(30));
    assert_eq!(login(&other, token.clone()).await, first);
    assert!(ends().await > before, "it lives on");
    // When it has expired, before and after it is removed.
    clock.advance(Duration::from_hours(2));
    assert_eq!(login(&other, token.clone()).await, first);
    clock.advance(Duration::from_hours(2));
    other.get("/cleanup").send().await.unwrap();
    assert_eq!(count(&client, "users").await, 0);
    assert_eq!(login(&other, token.clone()).await, first);
    assert_ne!(
        login(&other, signer.token(&other, PATH, 3600, "another token")).await,
        first
    );
    clock.advance(Duration::from_hours(24));
    assert_eq!(
        answer(&other, token).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the token is over"
    );
}

#[tokio::test]
async fn a_derived_login_follows_the_mapping() {
    let (eida, signer) = started(&["credentials.mode=derived", SECRET]).await;
    let client = connect(&eida).await;
    let token = signer.token(&eida, &format!("{PATH};/epos/other"), 86400, "");
    let first = login(&eida, token.clone()).await;
    client
        .execute(
            "INSERT INTO networks (network, start_year, end_year) VALUES ('FR', 1994, 9999)",
            &[],
        )
        .await
        .unwrap();
    map_only(&client, "/epos/other", "FR", 1994, 9999).await;
    assert_eq!(login(&eida, token).await, first);
    assert_eq!(count(&client, "eida_temp_users").await, 2);
}

#[tokio::test]
async fn a_login_that_is_not_temporary_is_never_taken_over() {
    let (eida, signer) = started(&["credentials.mode=derived", SECRET]).await;
    let client = connect(&eida).await;
    let token = signer.token(&eida, PATH, 86400, "");
    let (name, _) = login(&eida, token.clone()).await;
    client
        .batch_execute("UPDATE users SET expires_at = NULL; DELETE FROM eida_temp_users")
        .await
        .unwrap();
    let (status, _) = answer(&eida, token).await;
    assert_ne!(status, StatusCode::OK);
    let sql = "SELECT expires_at IS NULL FROM users WHERE login = $1";
    assert!(client.query_one(sql, &[&name]).await.unwrap().get::<_, bool>(0));
    assert_eq!(count(&client, "eida_temp_users").await, 0);
}

#[tokio::test]
async fn random_logins_differ_for_one_token_and_keys_are_read_again_when_they_change() {
    let (eida, signer) = started(&[]).await;
    let token = signer.token(&eida, PATH, 86400, "");
    assert_ne!(
        login(&eida, token.clone()).await,
        login(&eida, token.clone()).await
    );
    let newcomer = Signer::new();
    let early = newcomer.token(&eida, PATH, 86400, "");
    assert_eq!(
        answer(&eida, early.clone()).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let file = signer.directory().join("newcomer.asc");
    std::fs::write(&file, newcomer.public()).unwrap();
    // At once: a key that is not known has the keyring read again.
    login(&eida, early.clone()).await;
    // A file that is broken off counts as it was before; one that is gone does not.
    std::fs::write(&file, &newcomer.public()[..200]).unwrap();
    std::fs::write(signer.directory().join("README"), "about these keys").unwrap();
    let stranger = Signer::new().token(&eida, PATH, 86400, "");
    assert_eq!(
        answer(&eida, stranger).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    login(&eida, early.clone()).await;
    std::fs::remove_file(&file).unwrap();
    identity_testkit::eventually("the key is forgotten", async || {
        (answer(&eida, early.clone()).await.0 == StatusCode::UNSUPPORTED_MEDIA_TYPE).then_some(())
    })
    .await;
    login(&eida, token).await;
}
