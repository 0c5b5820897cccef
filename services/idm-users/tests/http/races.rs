//! Two at once: exactly one wins where the contract says so.

use futures_util::future::join_all;
use identity_testkit::TestService;
use reqwest::Method;
use serde_json::{Value, json};

use crate::IDM;
use crate::people::{
    ADMIN, PASSWORD, administered, establish, get, jwt_of, make_link, make_subject, patient, send, sign_in,
};

/// How many are at it at once.
const MANY: usize = 8;

/// Two instances on one database: what holds must hold between processes too.
async fn two() -> (TestService, TestService, String) {
    let (one, token) = administered(&[]).await;
    let other = IDM.start_on(one.database.clone(), &one.clock, &[]).await;
    (one, other, token)
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|other| **other == status).count()
}

#[tokio::test]
async fn of_many_first_administrators_one_is_made() {
    let one = IDM.start(&[]).await;
    let other = IDM.start_on(one.database.clone(), &one.clock, &[]).await;
    let tries = (0..MANY).map(|number| {
        let idm = if number % 2 == 0 { &one } else { &other };
        async move {
            let username = format!("admin{number}@example.org");
            let form = [
                ("username", username.as_str()),
                ("pass1", PASSWORD),
                ("pass2", PASSWORD),
            ];
            let answer = idm.post("/init").form(&form).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let made = answer.text().await.unwrap().contains("is now the administrator");
            (
                made,
                sign_in(idm, &username, PASSWORD).await.status().is_success(),
            )
        }
    });
    let outcomes = join_all(tries).await;
    assert_eq!(
        outcomes.iter().filter(|(made, _)| *made).count(),
        1,
        "{outcomes:?}"
    );
    assert!(
        outcomes.iter().all(|(made, signed_in)| made == signed_in),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn of_many_who_establish_a_link_one_does() {
    let (one, other, token) = two().await;
    let link = make_link(&one, &token, "S-1").await;
    let jwt = jwt_of(&one, &token, &link).await;
    let tries = (0..MANY).map(|number| {
        let idm = if number % 2 == 0 { &one } else { &other };
        let jwt = &jwt;
        async move { establish(idm, jwt, &patient(&format!("app-{number}"))).await }
    });
    let statuses = join_all(tries).await;
    assert_eq!(
        (count(&statuses, 204), count(&statuses, 409)),
        (1, MANY - 1),
        "{statuses:?}"
    );
    let winner = statuses.iter().position(|status| *status == 204).unwrap();
    let shown = get(&one, &token, &format!("/link/{link}")).await.1;
    assert_eq!(shown["data"]["linked_to"], format!("app-{winner}"));
}

#[tokio::test]
async fn of_many_subjects_with_one_sssid_one_is_made() {
    let (one, other, token) = two().await;
    let tries = (0..MANY).map(|number| {
        let (idm, token) = (if number % 2 == 0 { &one } else { &other }, &token);
        async move {
            let body = json!({"sssid": "S-1", "name": format!("Name {number}"), "bday": "1976-04-12"});
            send(idm, token, Method::POST, "/subject", &body).await.0
        }
    });
    let statuses = join_all(tries).await;
    assert_eq!(
        (count(&statuses, 201), count(&statuses, 409)),
        (1, MANY - 1),
        "{statuses:?}"
    );
    let winner = statuses.iter().position(|status| *status == 201).unwrap();
    assert_eq!(
        get(&one, &token, "/subject/S-1").await.1["data"]["name"],
        format!("Name {winner}")
    );
    let audits = get(&one, &token, "/subject/S-1/audits").await.1;
    assert_eq!(audits["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn of_many_who_set_a_date_one_does_and_no_other_edit_is_lost() {
    let (one, other, token) = two().await;
    make_subject(&one, &token, "S-1", &json!({})).await;
    let tries = (1..=MANY).map(|number| {
        let (idm, token) = (if number % 2 == 0 { &one } else { &other }, &token);
        async move {
            let date = json!({"sssid": "S-1", "date_invited": format!("2026-01-{number:02}")});
            let own = json!({"sssid": "S-1", format!("member{number}"): number});
            let set = send(idm, token, Method::PUT, "/subject/S-1", &date).await.0;
            assert_eq!(send(idm, token, Method::PUT, "/subject/S-1", &own).await.0, 204);
            set
        }
    });
    let statuses = join_all(tries).await;
    assert_eq!(
        (count(&statuses, 204), count(&statuses, 409)),
        (1, MANY - 1),
        "{statuses:?}"
    );
    let winner = statuses.iter().position(|status| *status == 204).unwrap() + 1;
    let shown = get(&one, &token, "/subject/S-1").await.1;
    assert_eq!(shown["data"]["date_invited"], format!("2026-01-{winner:02}"));
    for number in 1..=MANY {
        assert_eq!(shown["data"][format!("member{number}")], number);
    }
}

#[tokio::test]
async fn of_many_who_make_a_jwt_all_get_the_same() {
    let (one, other, token) = two().await;
    let link = make_link(&one, &token, "S-1").await;
    let tries = (0..MANY).map(|number| jwt_of(if number % 2 == 0 { &one } else { &other }, &token, &link));
    let jwts = join_all(tries).await;
    assert!(jwts.windows(2).all(|two| two[0] == two[1]));
    let audits = get(&one, &token, "/subject/S-1/audits").await.1;
    let made = audits["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["action"] == "[Link] made the JWT")
        .count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn of_many_users_with_one_name_one_is_made() {
    let (one, other, token) = two().await;
    let tries = (0..MANY).map(|number| {
        let (idm, token) = (if number % 2 == 0 { &one } else { &other }, &token);
        async move {
            let body = json!({"username": "mei@example.org", "password": PASSWORD});
            send(idm, token, Method::POST, "/user", &body).await.0
        }
    });
    let statuses = join_all(tries).await;
    assert_eq!(
        (count(&statuses, 200), count(&statuses, 409)),
        (1, MANY - 1),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn administrators_who_delete_each_other_leave_one() {
    let (one, other, admin) = two().await;
    let body = json!({"username": "boss@example.org", "password": PASSWORD, "admin": true});
    assert_eq!(send(&one, &admin, Method::POST, "/user", &body).await.0, 200);
    let boss = crate::people::token(&other, "boss@example.org", PASSWORD).await;
    let delete = async |idm, token: &str, username| {
        send(
            idm,
            token,
            Method::DELETE,
            "/user",
            &json!({"username": username}),
        )
        .await
        .0
    };
    let (first, second) = tokio::join!(
        delete(&one, &admin, "boss@example.org"),
        delete(&other, &boss, ADMIN)
    );
    let statuses = [first, second];
    assert_eq!(count(&statuses, 204), 1, "{statuses:?}");
    let left = if first == 204 { &admin } else { &boss };
    let shown: Value = get(
        &one,
        left,
        &format!("/user/{}", if first == 204 { ADMIN } else { "boss@example.org" }),
    )
    .await
    .1;
    assert_eq!(shown["data"]["admin"], true);
}
