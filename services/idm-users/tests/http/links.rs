//! Links: made, shown, changed; their JWTs and QR codes.

use std::time::Duration;

use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{
    administered, claims, establish, get, jwt_of, make_link, make_subject, patient, request, send, told,
};

const SECRET: &[u8] = b"a secret of a test, of thirty-two bytes or more";

#[tokio::test]
async fn a_link_needs_consent() {
    let (idm, token) = administered(&["jwt.iss=our-site", "jwt.aud=our-app"]).await;
    make_subject(&idm, &token, "S-1", &json!({"date_invited": "2026-01-01"})).await;
    let path = "/subject/S-1/links";
    assert_eq!(get(&idm, &token, path).await, (200, json!({"data": null})));
    assert_eq!(send(&idm, &token, Method::POST, path, &json!({})).await.0, 412);
    assert_eq!(
        send(&idm, &token, Method::POST, "/subject/S-9/links", &json!({}))
            .await
            .0,
        404
    );
    assert_eq!(get(&idm, &token, "/subject/S-9/links").await.0, 404);
    let consent = json!({"sssid": "S-1", "date_consented": "2026-01-02"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &consent).await.0,
        204
    );
    let (status, made) = told(request(&idm, &token, Method::POST, path)).await;
    assert_eq!(status, 201, "also without a body");
    let made = &made["data"];
    assert_eq!(
        (&made["sub"], &made["iss"], &made["aud"], &made["algorithm"]),
        (
            &json!("S-1"),
            &json!("our-site"),
            &json!("our-app"),
            &json!("HS256")
        )
    );
    for absent in [
        "exp",
        "linked_to",
        "linked_system",
        "linked_on",
        "withdrawn_on",
        "secret",
    ] {
        assert!(made.get(absent).is_none(), "{absent}");
    }
    assert_eq!(get(&idm, &token, path).await.1, json!({"data": [made]}));
    let id = made["_id"].as_str().unwrap();
    assert_eq!(
        get(&idm, &token, &format!("/link/{id}")).await,
        (200, json!({"data": made}))
    );
}

#[tokio::test]
async fn unknown_links_are_404() {
    let (idm, token) = administered(&[]).await;
    for id in ["x", "7", "00000000-0000-4000-8000-000000000000"] {
        for path in [
            format!("/link/{id}"),
            format!("/link/{id}/jwt"),
            format!("/link/{id}/qrcode"),
        ] {
            assert_eq!(get(&idm, &token, &path).await.0, 404, "{path}");
        }
        assert_eq!(
            send(
                &idm,
                &token,
                Method::PUT,
                &format!("/link/{id}"),
                &json!({"linked_to": "x"})
            )
            .await
            .0,
            404
        );
    }
}

#[tokio::test]
async fn the_jwt_says_who_the_subject_is_and_stays_the_same_for_a_day() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    let key = SharedKey::new(SharedAlgorithm::HS256, SECRET).unwrap();
    let said: Value = key.claims(&jwt).unwrap();
    let now = idm.clock.now().as_second();
    let exp = said["exp"].as_i64().unwrap();
    assert!((exp - now - 86_400).abs() < 60, "a day");
    assert_eq!(
        said,
        json!({"jti": link, "iss": "idm-users", "aud": "idm-users", "exp": exp, "sub": "Name of S-1", "birthdate": "1976-04-12"})
    );
    assert_eq!(
        get(&idm, &token, &format!("/link/{link}")).await.1["data"]["exp"],
        exp
    );
    let change = json!({"sssid": "S-1", "name": "Another Name"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &change).await.0,
        204
    );
    idm.clock.advance(Duration::from_hours(11));
    let token = crate::people::token(&idm, crate::people::ADMIN, crate::people::PASSWORD).await;
    assert_eq!(jwt_of(&idm, &token, &link).await, jwt);
    idm.clock.advance(Duration::from_hours(14));
    let token = crate::people::token(&idm, crate::people::ADMIN, crate::people::PASSWORD).await;
    let next = jwt_of(&idm, &token, &link).await;
    assert_ne!(next, jwt);
    assert_eq!(claims(&next)["sub"], "Another Name");
    let dump = idm.database.dump();
    assert!(!dump.contains(&jwt) && !dump.contains(&next), "no JWT is stored");
}

#[tokio::test]
async fn a_users_token_and_a_links_jwt_are_not_the_same_thing() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let jwt = jwt_of(&idm, &token, &link).await;
    assert_eq!(get(&idm, &jwt, "/subject").await.0, 401);
    assert_eq!(establish(&idm, &token, &patient("1")).await, 403);
}

#[tokio::test]
async fn the_qr_code_is_a_picture_of_the_jwt() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let path = format!("/link/{link}/qrcode");
    let ask = async |accept: &str| {
        request(&idm, &token, Method::GET, &path)
            .header("accept", accept)
            .send()
            .await
            .unwrap()
    };
    for accept in [
        "*/*",
        "image/*",
        "image/png",
        "image/svg+xml;q=0.5, image/png",
        "image/avif,image/webp,image/apng,*/*;q=0.8",
    ] {
        let answer = ask(accept).await;
        assert_eq!(answer.headers()["content-type"], "image/png", "{accept}");
        assert!(answer.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    }
    let svg = ask("image/svg+xml, image/png;q=0.9").await;
    assert_eq!(svg.headers()["content-type"], "image/svg+xml");
    assert!(svg.text().await.unwrap().contains("<svg"));
    assert_eq!(
        told(request(&idm, &token, Method::GET, &path).header("accept", "text/html"))
            .await
            .0,
        406
    );
    // Read by somebody else's reader.
    let picture = request(&idm, &token, Method::GET, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let decoder = png::Decoder::new(std::io::Cursor::new(picture));
    let mut reader = decoder.read_info().unwrap();
    let mut rows = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rows).unwrap();
    let side = usize::try_from(info.width).unwrap();
    let is_light = |x: usize, y: usize| rows[y * info.line_size + x / 8] & (0x80 >> (x % 8)) != 0;
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| if is_light(x, y) { 255 } else { 0 });
    let codes = image.detect_grids();
    let (_, text) = codes.first().unwrap().decode().unwrap();
    assert_eq!(text, jwt_of(&idm, &token, &link).await);
}

#[tokio::test]
async fn what_the_jwt_says_changes_only_before_it_is_made() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    make_subject(&idm, &token, "S-2", &json!({"date_consented": "2026-01-01"})).await;
    make_subject(&idm, &token, "S-3", &json!({})).await;
    let path = format!("/link/{link}");
    let put = async |body: Value| send(&idm, &token, Method::PUT, &path, &body).await.0;
    let exp = idm.clock.now().as_second() + 600;
    let secret = "a secret of this link, which needs forty-eight bytes of it";
    for (body, status) in [
        (json!({"sub": "S-9"}), 400),
        (json!({"sub": "S-3"}), 412),
        (json!({"algorithm": "none"}), 400),
        // The service's own secret is too short for it.
        (json!({"algorithm": "HS512"}), 400),
        (json!({"exp": "tomorrow"}), 400),
        (json!({"secret": "short"}), 400),
        (json!({"iss": 7}), 400),
        (json!({"_id": "another"}), 409),
        (
            json!({"sub": "S-2", "iss": "i", "aud": "a", "exp": exp, "algorithm": "HS384", "secret": secret}),
            204,
        ),
    ] {
        assert_eq!(put(body.clone()).await, status, "{body}");
    }
    let jwt = jwt_of(&idm, &token, &link).await;
    let said: Value = SharedKey::new(SharedAlgorithm::HS384, secret.as_bytes())
        .unwrap()
        .claims(&jwt)
        .unwrap();
    assert_eq!(
        (&said["iss"], &said["aud"], &said["exp"], &said["sub"]),
        (&json!("i"), &json!("a"), &json!(exp), &json!("Name of S-2"))
    );
    for body in [
        json!({"sub": "S-1"}),
        json!({"iss": "x"}),
        json!({"aud": "x"}),
        json!({"exp": exp + 1}),
        json!({"algorithm": "HS256"}),
        json!({"secret": "another secret of this link, which is as long as the first"}),
    ] {
        assert_eq!(put(body.clone()).await, 409, "{body}");
    }
    let shown = get(&idm, &token, &path).await.1["data"].clone();
    assert!(!shown.to_string().contains(secret));
    assert_eq!(put(shown.clone()).await, 204, "what was shown can be sent back");
    assert_eq!(get(&idm, &token, &path).await.1["data"], shown);
    assert!(
        !idm.database.dump().contains(secret),
        "no secret is stored in the clear"
    );
    assert_eq!(
        establish(&idm, &jwt, &patient("1")).await,
        204,
        "its own secret counts"
    );
}

#[tokio::test]
async fn an_app_can_be_linked_by_hand_once() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let path = format!("/link/{link}");
    let put = async |body: Value| send(&idm, &token, Method::PUT, &path, &body).await.0;
    assert_eq!(
        put(json!({"linked_system": "https://app.example.org"})).await,
        400
    );
    assert_eq!(put(json!({"linked_on": "2026-01-05"})).await, 400);
    assert_eq!(put(json!({"linked_to": ""})).await, 400);
    assert_eq!(
        put(json!({"linked_to": "7", "linked_system": "https://app.example.org", "linked_on": "2026-01-05"}))
            .await,
        204
    );
    for body in [
        json!({"linked_to": "8"}),
        json!({"linked_system": "x"}),
        json!({"linked_on": "2026-01-06"}),
    ] {
        assert_eq!(put(body.clone()).await, 409, "{body}");
    }
    assert_eq!(put(json!({"linked_to": "7"})).await, 204);
    assert_eq!(
        get(&idm, &token, "/subject/S-1").await.1["data"]["date_enrolled"],
        "2026-01-05"
    );
}

#[tokio::test]
async fn enrolment_and_withdrawal_follow_the_links() {
    let (idm, token) = administered(&[]).await;
    let first = make_link(&idm, &token, "S-1").await;
    let second = send(&idm, &token, Method::POST, "/subject/S-1/links", &json!({}))
        .await
        .1;
    let second = second["data"]["_id"].as_str().unwrap().to_owned();
    let put = async |link: &str, body: Value| {
        assert_eq!(
            send(&idm, &token, Method::PUT, &format!("/link/{link}"), &body)
                .await
                .0,
            204
        );
    };
    let dates = async || {
        let shown = get(&idm, &token, "/subject/S-1").await.1;
        (
            shown["data"]["date_enrolled"].clone(),
            shown["data"]["date_withdrawn"].clone(),
        )
    };
    put(&first, json!({"linked_to": "1", "linked_on": "2026-03-01"})).await;
    assert_eq!(dates().await, (json!("2026-03-01"), Value::Null));
    put(&second, json!({"linked_to": "2", "linked_on": "2026-02-01"})).await;
    assert_eq!(dates().await, (json!("2026-02-01"), Value::Null), "the earliest");
    put(&second, json!({"withdrawn_on": "2026-04-01"})).await;
    assert_eq!(
        dates().await,
        (json!("2026-03-01"), json!("2026-04-01")),
        "of those that are not withdrawn"
    );
    put(&first, json!({"withdrawn_on": "2026-05-01"})).await;
    assert_eq!(dates().await, (Value::Null, json!("2026-05-01")), "the latest");
    assert_eq!(
        get(&idm, &token, "/subject?status=3").await.1["data"][0]["sssid"],
        "S-1"
    );
}

#[tokio::test]
async fn what_is_set_by_hand_does_not_follow_the_links() {
    let (idm, token) = administered(&[]).await;
    let link = make_link(&idm, &token, "S-1").await;
    let by_hand = json!({"sssid": "S-1", "date_enrolled": "2025-12-24"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &by_hand).await.0,
        204
    );
    let body = json!({"linked_to": "1", "linked_on": "2026-03-01"});
    assert_eq!(
        send(&idm, &token, Method::PUT, &format!("/link/{link}"), &body)
            .await
            .0,
        204
    );
    let shown = get(&idm, &token, "/subject/S-1").await.1;
    assert_eq!(shown["data"]["date_enrolled"], "2025-12-24");
}
