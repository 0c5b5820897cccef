//! `/`, `/status`, and the behaviour during an outage.

use std::sync::Arc;

use identity_core::clock::Clock;
use identity_testkit::{TestDatabase, eventually};
use serde_json::{Value, json};

use crate::IDM;
use crate::people::{administered, get, make_admin, told};

#[tokio::test]
async fn the_root_says_ready_and_the_status_what_works() {
    let (idm, _) = administered(&[]).await;
    assert_eq!(told(idm.get("/")).await, (200, json!({"status": "ready"})));
    let expected = json!({"data": {"mail": "mail is turned off", "db": "ok"}});
    assert_eq!(told(idm.get("/status")).await, (200, expected));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(idm.get(path).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_outage_of_the_database_is_told_and_survived() {
    let database = Arc::new(TestDatabase::empty().await);
    let (proxy, url) = database.behind_proxy();
    let url = format!("database.postgres.url={url}");
    let settings = [url.as_str(), "database.postgres.outage_exit=never"];
    let idm = IDM.start_on(database, &Clock::system(), &settings).await;
    make_admin(&idm).await;
    let token = crate::people::token(&idm, crate::people::ADMIN, crate::people::PASSWORD).await;
    proxy.cut();
    let (status, _) = get(&idm, &token, "/subject").await;
    assert_eq!(status, 503);
    let (status, told_of) = told(idm.get("/status")).await;
    assert_eq!((status, &told_of["data"]["db"]), (200, &json!("out of reach")));
    assert_eq!(told(idm.get("/")).await.0, 200);
    proxy.mend();
    eventually("the database is back", async || {
        let answer = get(&idm, &token, "/subject").await;
        (answer.0 == 200).then_some(())
    })
    .await;
    let body: Value = idm.get("/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(body["data"]["db"], "ok");
}
