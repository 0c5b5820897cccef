//! `GET /subject`: pages, order, status, search.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::TestService;
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{administered, get, make_subject, request, send};

async fn sssids(idm: &TestService, token: &str, query: &str) -> Vec<String> {
    let (status, answer) = get(idm, token, &format!("/subject?{query}")).await;
    assert_eq!(status, 200, "{query}: {answer}");
    let subjects = answer["data"].as_array().unwrap();
    subjects
        .iter()
        .map(|subject| subject["sssid"].as_str().unwrap().to_owned())
        .collect()
}

async fn total(idm: &TestService, token: &str, query: &str) -> String {
    let answer = request(idm, token, Method::GET, &format!("/subject?{query}"))
        .send()
        .await
        .unwrap();
    answer.headers()["x-total-count"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn there_are_fifty_on_a_page_unless_asked_otherwise() {
    let (idm, token) = administered(&[]).await;
    assert_eq!(get(&idm, &token, "/subject").await, (200, json!({"data": []})));
    for number in 0..55 {
        make_subject(&idm, &token, &format!("S-{number:03}"), &json!({})).await;
    }
    assert_eq!(sssids(&idm, &token, "").await.len(), 50);
    assert_eq!(total(&idm, &token, "").await, "55");
    assert_eq!(
        sssids(&idm, &token, "offset=50").await,
        ["S-050", "S-051", "S-052", "S-053", "S-054"]
    );
    assert_eq!(sssids(&idm, &token, "perpage=500").await.len(), 55);
    assert_eq!(
        sssids(&idm, &token, "offset=3&perpage=2").await,
        ["S-003", "S-004"]
    );
    assert_eq!(sssids(&idm, &token, "offset=1000").await, [""; 0]);
    assert_eq!(total(&idm, &token, "offset=1000").await, "55");
    assert_eq!(total(&idm, &token, "search=S-00&perpage=1").await, "10");
}

#[tokio::test]
async fn malformed_parameters_are_400() {
    let (idm, token) = administered(&[]).await;
    for query in [
        "offset=-1",
        "offset=x",
        "perpage=0",
        "perpage=501",
        "perpage=x",
        "ordercol=type",
        "ordercol=_id",
        "ordercol=name;drop",
        "orderdir=up",
        "status=4",
        "status=-1",
        "status=x",
        "offset=1&offset=2",
        "offset=99999999999999999999",
    ] {
        assert_eq!(
            get(&idm, &token, &format!("/subject?{query}")).await.0,
            400,
            "{query}"
        );
    }
    assert_eq!(
        get(
            &idm,
            &token,
            "/subject?search=&status=&ordercol=&orderdir=&offset=&perpage="
        )
        .await
        .0,
        200
    );
    assert_eq!(get(&idm, &token, "/subject?_=1732440000").await.0, 200);
}

#[tokio::test]
async fn every_member_gives_an_order_and_its_reverse() {
    let (idm, token) = administered(&[]).await;
    // Each order is another one; what is not set comes first.
    for (sssid, name, bday, more) in [
        (
            "C",
            "émile",
            "1980-01-01T00:00:00+05:00",
            json!({"email": "Z@example.org", "date_invited": "2026-01-03"}),
        ),
        (
            "A",
            "Zoë",
            "1980-01-01",
            json!({"date_consented": "2026-01-03", "date_enrolled": "2026-03-01"}),
        ),
        (
            "B",
            "eva",
            "1950-01-01",
            json!({"email": "a@example.org", "date_withdrawn": "2026-03-01", "date_invited": "2026-01-02T23:00:00-05:00"}),
        ),
    ] {
        let mut body = json!({"sssid": sssid, "name": name, "bday": bday});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        assert_eq!(send(&idm, &token, Method::POST, "/subject", &body).await.0, 201);
    }
    let change = json!({"sssid": "A", "note": 1});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/A", &change).await.0,
        204
    );
    for (member, expected) in [
        ("sssid", ["A", "B", "C"]),
        ("name", ["C", "B", "A"]),
        ("bday", ["B", "C", "A"]),
        ("email", ["A", "B", "C"]),
        ("date_invited", ["A", "C", "B"]),
        ("date_consented", ["B", "C", "A"]),
        ("date_enrolled", ["B", "C", "A"]),
        ("date_withdrawn", ["A", "C", "B"]),
        ("created", ["C", "A", "B"]),
        ("changed", ["C", "B", "A"]),
    ] {
        assert_eq!(
            sssids(&idm, &token, &format!("ordercol={member}&orderdir=asc")).await,
            expected,
            "{member}"
        );
        let mut reverse = expected;
        reverse.reverse();
        assert_eq!(
            sssids(&idm, &token, &format!("ordercol={member}&orderdir=desc")).await,
            reverse,
            "{member}"
        );
        assert_eq!(
            sssids(&idm, &token, &format!("ordercol={member}&offset=1&perpage=1")).await,
            [expected[1]]
        );
    }
}

#[tokio::test]
async fn the_status_is_the_furthest_that_a_subject_has_come() {
    let (idm, token) = administered(&[]).await;
    for (sssid, more) in [
        ("0", json!({})),
        ("1a", json!({"date_invited": "2026-01-01"})),
        ("1b", json!({"date_consented": "2026-01-01"})),
        (
            "2",
            json!({"date_invited": "2026-01-01", "date_enrolled": "2026-01-01"}),
        ),
        (
            "3",
            json!({"date_enrolled": "2026-01-01", "date_withdrawn": "2026-01-01"}),
        ),
    ] {
        make_subject(&idm, &token, sssid, &more).await;
    }
    for (status, expected) in [
        (0, vec!["0"]),
        (1, vec!["1a", "1b"]),
        (2, vec!["2"]),
        (3, vec!["3"]),
    ] {
        assert_eq!(sssids(&idm, &token, &format!("status={status}")).await, expected);
        assert_eq!(
            total(&idm, &token, &format!("status={status}")).await,
            expected.len().to_string()
        );
    }
    assert_eq!(sssids(&idm, &token, "status=1&search=1b").await, ["1b"]);
    assert_eq!(
        sssids(&idm, &token, "status=1&orderdir=desc&ordercol=name").await,
        ["1b", "1a"]
    );
}

#[tokio::test]
async fn a_search_finds_beginnings_and_parts_of_names_in_any_case() {
    let (idm, token) = administered(&[]).await;
    for (sssid, name, bday) in [
        ("SCC-1", "Mei Tanimoto", "1976-04-12"),
        ("SCC-2", "Jonas O'Brien-Kellermann", "1980-01-30"),
        ("XY-3", "Lucía Ferreiro", "1976-05-01"),
        ("100%", r"Back\slash _under", "2001-01-01"),
        ("XY-4", "İpek Straße 1976", "1990-10-10"),
    ] {
        let body: Value = json!({"sssid": sssid, "name": name, "bday": bday});
        assert_eq!(send(&idm, &token, Method::POST, "/subject", &body).await.0, 201);
    }
    for (search, expected) in [
        ("scc", vec!["SCC-1", "SCC-2"]),
        ("CC-1", vec![]),
        ("1976", vec!["SCC-1", "XY-3", "XY-4"]),
        ("1976-04", vec!["SCC-1"]),
        ("04-12", vec![]),
        ("tani", vec!["SCC-1"]),
        ("IMOTO", vec!["SCC-1"]),
        ("o", vec!["SCC-1", "SCC-2", "XY-3"]),
        ("o'b", vec!["SCC-2"]),
        ("n-k", vec!["SCC-2"]),
        ("i T", vec!["SCC-1"]),
        ("LUCÍA", vec!["XY-3"]),
        ("stra", vec!["XY-4"]),
        ("100", vec!["100%"]),
        ("100%", vec!["100%"]),
        ("%", vec![]),
        ("_", vec!["100%"]),
        ("_un", vec!["100%"]),
        ("S_C", vec![]),
        (r"k\s", vec!["100%"]),
        (r"\", vec!["100%"]),
        (".*", vec![]),
        ("'; --", vec![]),
        ("ＳＣＣ", vec!["SCC-1", "SCC-2"]),
    ] {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("search", search)
            .finish();
        let found = sssids(&idm, &token, &query).await;
        assert_eq!(found, expected, "{search}");
        assert_eq!(
            total(&idm, &token, &query).await,
            expected.len().to_string(),
            "{search}"
        );
    }
}

#[tokio::test]
async fn a_search_follows_a_changed_name() {
    let (idm, token) = administered(&[]).await;
    make_subject(&idm, &token, "S-1", &json!({"name": "Before"})).await;
    let change = json!({"sssid": "S-1", "name": "Afterwards"});
    assert_eq!(
        send(&idm, &token, Method::PUT, "/subject/S-1", &change).await.0,
        204
    );
    assert_eq!(sssids(&idm, &token, "search=before").await, [""; 0]);
    assert_eq!(sssids(&idm, &token, "search=TERWAR").await, ["S-1"]);
}

#[tokio::test]
async fn the_pages_of_a_search_follow_each_other_in_any_order() {
    let (idm, token) = administered(&[]).await;
    for number in 0..7 {
        let more =
            json!({"name": format!("Name {}", 9 - number), "email": format!("{}@example.org", number % 3)});
        make_subject(&idm, &token, &format!("S-{number}"), &more).await;
    }
    for order in [
        "ordercol=name",
        "ordercol=name&orderdir=desc",
        "ordercol=email",
        "ordercol=date_invited&orderdir=desc",
    ] {
        let whole = sssids(&idm, &token, &format!("search=name&{order}")).await;
        assert_eq!(whole.len(), 7);
        let mut pages = Vec::new();
        for offset in [0, 3, 6] {
            pages.extend(
                sssids(
                    &idm,
                    &token,
                    &format!("search=name&{order}&perpage=3&offset={offset}"),
                )
                .await,
            );
        }
        assert_eq!(pages, whole, "{order}");
        let beyond = format!("search=name&{order}&offset=100");
        assert_eq!(sssids(&idm, &token, &beyond).await, [""; 0]);
        assert_eq!(total(&idm, &token, &beyond).await, "7");
    }
}
