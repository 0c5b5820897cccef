//! An address and a linked account belong to one user.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::IDENT;
use crate::people::{expect, kind, make, make_from, pointers, problem, record};

#[tokio::test]
async fn an_address_belongs_to_one_user_however_it_is_written() {
    let ident = IDENT.start(&[]).await;
    make(&ident, "Robb", "King@Deceased.North").await;
    make(&ident, "Sigma", "ΜΑΡΊΟΣ@straße.de").await;
    for taken in [
        "King@Deceased.North",
        "king@deceased.north",
        "KING@DECEASED.NORTH",
        "  king@DECEASED.north\t",
        // Letters of full width, and the sign of the kelvin.
        "ｋｉｎｇ@deceased.north",
        "ＫＩＮＧ＠ＤＥＣＥＡＳＥＤ．ＮＯＲＴＨ",
        "\u{212A}ing@deceased.north",
        // Its large form is the same.
        "kıng@deceased.north",
        // One letter can have two small forms, or be two when it is large.
        "μαρίος@straße.de",
        "μαρίοσ@straße.de",
        "ΜΑΡΊΟΣ@STRASSE.DE",
        "μαρι\u{301}ος@strasse.de",
    ] {
        let document = json!({"name": "Other", "email": taken, "services": {"github": {"id": "9"}}});
        let refused = problem(ident.post("/").json(&document), StatusCode::CONFLICT).await;
        assert_eq!(kind(&refused), "email-taken", "{taken}");
        assert_eq!(pointers(&refused), ["/email"]);
        let text = refused.to_string();
        assert!(
            !text.contains("Robb") && !text.contains("users_email"),
            "nothing of the other user, nor of the database: {text}"
        );
    }
    // Nothing of all that is left: the account that came with it is free.
    let mended =
        json!({"name": "Other", "email": "king2@deceased.north", "services": {"github": {"id": "9"}}});
    make_from(&ident, &mended).await;
}

#[tokio::test]
async fn different_addresses_are_different() {
    let ident = IDENT.start(&[]).await;
    for email in [
        "king@north",
        "k.ing@north",
        "king+1@north",
        "kíng@north",
        "king@nórth",
    ] {
        make(&ident, "Robb", email).await;
    }
}

#[tokio::test]
async fn a_linked_account_belongs_to_one_user() {
    let ident = IDENT.start(&[]).await;
    let robb = make_from(
        &ident,
        &json!({"name": "Robb", "email": "robb@north", "services": {"github": {"id": "25"}}}),
    )
    .await;
    let document = json!({"name": "Jon", "email": "jon@wall", "services": {"x": {"id": "1", "access_token": "t"}, "github": {"id": " 25 "}}});
    let refused = problem(ident.post("/").json(&document), StatusCode::CONFLICT).await;
    assert_eq!(kind(&refused), "account-taken");
    assert!(
        pointers(&refused)
            .iter()
            .all(|pointer| pointer.starts_with("/services")),
        "{refused}"
    );
    // The address and the other account are not taken by what was refused.
    let mut mended = document;
    mended["services"]["github"]["id"] = json!("26");
    let jon = make_from(&ident, &mended).await;
    assert_eq!(
        record(&ident, jon).await["services"],
        json!({"x": {"id": "1"}, "github": {"id": "26"}})
    );
    assert_eq!(
        record(&ident, robb).await["services"],
        json!({"github": {"id": "25"}})
    );
    // The same id at another service, and in another case, is another account.
    for (number, services) in [
        json!({"gitlab": {"id": "25"}}),
        json!({"facebook": {"id": "abc"}}),
        json!({"facebook": {"id": "ABC"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let document = json!({"name": "Other", "email": format!("{number}@x"), "services": services});
        make_from(&ident, &document).await;
    }
}

#[tokio::test]
async fn of_many_who_want_one_address_at_once_one_gets_it() {
    let ident = IDENT.start(&[]).await;
    let wanted = (0..20).map(|number| {
        let email = if number % 2 == 0 { "arya@north" } else { "ARYA@north" };
        let document =
            json!({"name": format!("Arya {number}"), "email": email, "services": {"github": {"id": number.to_string()}}});
        ident.post("/").json(&document).send()
    });
    let mut made = Vec::new();
    for answer in join_all(wanted).await {
        let answer = answer.unwrap();
        match answer.status() {
            StatusCode::CREATED => made.push(expect(answer, StatusCode::CREATED).await["id"].clone()),
            status => assert_eq!(status, StatusCode::CONFLICT),
        }
    }
    assert_eq!(made.len(), 1);
    let all = expect(ident.get("/").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    assert_eq!(all[0]["id"], made[0]);
    // The accounts of the others are free.
    let kept = all[0]["services"]["github"]["id"].as_str().unwrap().to_owned();
    for number in (0..20).filter(|number| number.to_string() != kept) {
        let document = json!({"name": "Later", "email": format!("{number}@x"), "services": {"github": {"id": number.to_string()}}});
        make_from(&ident, &document).await;
    }
}

#[tokio::test]
async fn of_many_who_want_one_account_at_once_one_gets_it() {
    let ident = IDENT.start(&[]).await;
    let wanted = (0..20).map(|number| {
        let document =
            json!({"name": "Arya", "email": format!("{number}@north"), "services": {"github": {"id": "25", "access_token": "t"}}});
        ident.post("/").json(&document).send()
    });
    let statuses: Vec<_> = join_all(wanted)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().status())
        .collect();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(
        (count(StatusCode::CREATED), count(StatusCode::CONFLICT)),
        (1, 19),
        "{statuses:?}"
    );
    let all = expect(ident.get("/").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(all.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_conflict_is_seen_by_every_instance() {
    let first = IDENT.start(&[]).await;
    let second = IDENT.start_on(first.database.clone(), &first.clock, &[]).await;
    make(&first, "Robb", "robb@north").await;
    let document = json!({"name": "Robb", "email": "ROBB@north"});
    problem(second.post("/").json(&document), StatusCode::CONFLICT).await;
}
