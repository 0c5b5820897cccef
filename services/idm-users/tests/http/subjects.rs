//! `/subject/{sssid}`: made, shown, changed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{administered, get, make_subject, make_user, send, told};

#[tokio::test]
async fn a_subject_is_returned_as_it_came() {
    let (idm, token) = administered(&[]).await;
    let body = json!({
        "sssid": "SCC-0042", "name": "Mei Tanimoto", "bday": "1976-04-12", "email": "mei@example.org",
        "date_invited": "2026-01-02", "date_consented": "2026-01-03T10:00:00+01:00",
        "site": {"room": "4b", "beds": [1, 2.5, null]}, "note": "ä\u{1f600}", "flag": false,
        "_id": "mine", "type": "subject",
    });
    let (status, made) = send(&idm, &token, Method::POST, "/subject", &body).await;
    assert_eq!(status, 201);
    let (status, shown) = get(&idm, &token, "/subject/SCC-0042").await;
    assert_eq!(status, 200);
    assert_eq!(shown, made);
    let shown = &shown["data"];
    for member in [
        "sssid",
        "name",
        "bday",
        "email",
        "date_invited",
        "date_consented",
        "site",
        "note",
        "flag",
    ] {
        assert_eq!(shown[member], body[member], "{member}");
    }
    for member in ["date_enrolled", "date_withdrawn"] {
        assert_eq!(shown[member], Value::Null);
    }
    for member in ["_id", "type"] {
        assert!(shown.get(member).is_none(), "{member}");
    }
    for member in ["created", "changed"] {
        let text = shown[member].as_str().unwrap();
        assert!(
            text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_empty_or_malformed_is_named() {
    let (idm, token) = administered(&[]).await;
    let good = json!({"sssid": "S-1", "name": "Mei", "bday": "1976-04-12"});
    for member in ["sssid", "name", "bday"] {
        for value in [
            None,
            Some(json!("")),
            Some(json!("  ")),
            Some(Value::Null),
            Some(json!(7)),
            Some(json!({})),
        ] {
            let mut body = good.clone();
            let members = body.as_object_mut().unwrap();
            members.remove(member);
            members.extend(value.map(|value| (member.to_owned(), value)));
            let (status, answer) = send(&idm, &token, Method::POST, "/subject", &body).await;
            assert_eq!(status, 400, "{body}");
            assert!(
                answer["error"]["message"].as_str().unwrap().contains(member),
                "{answer}"
            );
        }
    }
    for (member, value) in [
        ("bday", json!("12.04.1976")),
        ("bday", json!("1899-12-31")),
        ("email", json!(7)),
        ("date_invited", json!("2026-02-30")),
        ("date_consented", json!("2026-01-01T10:00:00")),
        ("date_enrolled", json!(20_260_101)),
        ("date_withdrawn", json!("2101-01-01")),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let (status, answer) = send(&idm, &token, Method::POST, "/subject", &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(member),
            "{answer}"
        );
    }
    assert_eq!(get(&idm, &token, "/subject/S-1").await.0, 404, "nothing was made");
}

#[tokio::test]
async fn an_sssid_is_taken_once_and_unknown_ones_are_404() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({})).await;
    let body = json!({"sssid": "S-1", "name": "Another", "bday": "1980-01-01"});
    assert_eq!(send(&idm, &token, Method::POST, "/subject", &body).await.0, 409);
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["name"],
        "Name of S-1"
    );
    assert_eq!(get(&idm, &token, "/subject/s-1").await.0, 404);
    assert_eq!(
        send(
            &idm,
            &token,
            Method::PUT,
            "/subject/S-9",
            &json!({"sssid": "S-9"})
        )
        .await
        .0,
        404
    );
}

#[tokio::test]
async fn an_sssid_may_hold_what_a_path_must_escape() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "Ä 7%?#", &json!({})).await;
    let (status, shown) = get(&idm, &token, "/subject/%C3%84%207%25%3F%23").await;
    assert_eq!((status, &shown["data"]["sssid"]), (200, &json!("Ä 7%?#")));
}

#[tokio::test]
async fn a_change_may_be_partial_and_leaves_the_rest() {
    let (idm, token) = administered(&[]).await;
    make_subject(
        &idm,
        &token,
        "S-1",
        &json!({"email": "old@example.org", "site": "A", "note": "kept"}),
    )
    .await;
    let before = get(&idm, &token, "/subject/S-1").await.1;
    idm.clock.advance(Duration::from_mins(1));
    let body = json!({"sssid": "S-1", "name": "New Name", "site": {"deep": [1]}, "type": "x", "_id": "x"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &body).await,
        (204, Value::Null)
    );
    let after = get(&idm, &token, "/subject/S-1").await.1;
    let (before, after) = (&before["data"], &after["data"]);
    assert_eq!(
        (&after["name"], &after["site"]),
        (&json!("New Name"), &json!({"deep": [1]}))
    );
    for same in ["bday", "email", "note", "created"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_ne!(before["changed"], after["changed"]);
    assert!(after.get("type").is_none());
    assert_eq!(
        send(
            &idm,
            &token,
            Method::PUT,
            "/subject/S-1",
            &json!({"sssid": "S-1", "email": null})
        )
        .await
        .0,
        204
    );
    assert!(
        get(&idm, &token, "/subject/S-1").await.1["data"]
            .get("email")
            .is_none()
    );
}

#[tokio::test]
async fn a_change_carries_the_same_sssid() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({})).await;
    for (body, status) in [
        (json!({"name": "New"}), 400),
        (json!({"sssid": null, "name": "New"}), 400),
        (json!({"sssid": "S-2", "name": "New"}), 409),
        (json!({"sssid": "S-1", "name": ""}), 400),
        (json!({"sssid": "S-1", "bday": "soon"}), 400),
    ] {
        assert_eq!(
            send(&idm, &token, Method::PUT, "/subject/S-1", &body).await.0,
            status,
            "{body}"
        );
    }
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["name"],
        "Name of S-1"
    );
}

#[tokio::test]
async fn a_date_is_set_once() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({})).await;
    for member in [
        "date_invited",
        "date_consented",
        "date_enrolled",
        "date_withdrawn",
    ] {
        let put = async |value: Value| {
            send(
                &idm,
                &token,
                Method::PUT,
                "/subject/S-1",
                &json!({"sssid": "S-1", member: value}),
            )
            .await
            .0
        };
        assert_eq!(put(json!("2026-02-30")).await, 400, "{member}");
        assert_eq!(put(Value::Null).await, 204);
        assert_eq!(put(json!("2026-02-03T12:00:00+02:00")).await, 204);
        assert_eq!(put(json!("2026-02-03T10:00:00Z")).await, 204, "the same moment");
        assert_eq!(put(json!("2026-02-04")).await, 409);
        assert_eq!(put(Value::Null).await, 409);
        let shown = get(&idm, &token, "/subject/S-1").await.1;
        assert_eq!(
            shown["data"][member], "2026-02-03T12:00:00+02:00",
            "as it was first written"
        );
    }
}

#[tokio::test]
async fn what_was_shown_can_be_sent_back_as_it_is() {
    let (idm, token) = administered(&[]).await;
    make_subject(
        &idm,
        &token,
        "S-1",
        &json!({"date_invited": "2026-01-01", "site": "A"}),
    )
    .await;
    let shown = get(&idm, &token, "/subject/S-1").await.1["data"].clone();
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &shown).await.0,
        204
    );
    assert_eq!(get(&idm, &token, "/subject/S-1").await.1["data"], shown);
    let audits = get(&idm, &token, "/subject/S-1/audits").await.1;
    assert_eq!(
        audits["data"].as_array().unwrap().len(),
        1,
        "nothing was changed: {audits}"
    );
}

#[tokio::test]
async fn subjects_are_for_users_and_every_user() {
    let (idm, admin) = administered(&[]).await;
    let mei = make_user(&idm, &admin, "mei@example.org").await;
    make_subject(&idm, &mei, "S-1", &json!({})).await;
    assert_eq!(get(&idm, &mei, "/subject/S-1").await.0, 200);
    for path in [
        "/subject",
        "/subject/S-1",
        "/subject/S-1/links",
        "/subject/S-1/audits",
        "/link/x",
        "/link/x/jwt",
    ] {
        assert_eq!(told(idm.get(path)).await.0, 401, "{path}");
    }
    let body = json!({"sssid": "S-2", "name": "x", "bday": "1980-01-01"});
    assert_eq!(told(idm.post("/subject").json(&body)).await.0, 401);
    assert_eq!(
        told(idm.request(Method::PUT, "/subject/S-1").json(&body)).await.0,
        401
    );
}
