//! A day of a frontend that was written from the contract's tables alone, with the headers that a
//! browser's `fetch` sends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::IDM;
use crate::people::{ADMIN, PASSWORD, make_admin};

struct Frontend {
    http: Client,
    site: String,
    token: Option<String>,
}

impl Frontend {
    async fn fetch(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.site))
            .header(
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            )
            .header("Accept", "application/json, text/javascript, */*; q=0.01")
            .header("Accept-Language", "de-CH,de;q=0.8,en-US;q=0.5,en;q=0.3")
            .header("X-Requested-With", "XMLHttpRequest")
            .header("Referer", format!("{}/app/", self.site))
            .header("DNT", "1")
            .header("Sec-Fetch-Dest", "empty")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Cookie", "theme=dark");
        if method != Method::GET {
            request = request.header("Origin", &self.site);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("JWT {token}"));
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json; charset=utf-8")
                .body(body.to_string());
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.fetch(Method::GET, path, None).await;
        assert_eq!(answer.status(), 200, "{path}");
        let document: Value = answer.json().await.unwrap();
        document["data"].clone()
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a day is told in one piece")]
async fn a_frontend_written_from_the_tables_alone_works() {
    let idm = IDM.start(&[]).await;
    make_admin(&idm).await;
    let mut site = Frontend {
        http: Client::builder().no_proxy().build().unwrap(),
        site: idm.url.clone(),
        token: None,
    };

    // Before signing in: the frontend looks at the error and shows its form.
    let refused = site
        .fetch(Method::GET, "/subject?offset=0&perpage=50", None)
        .await;
    assert_eq!(refused.status(), 401);
    assert!(
        refused.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("JWT realm=")
    );
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["status"], 401);

    let signed_in = site
        .fetch(
            Method::POST,
            "/auth",
            Some(json!({"username": ADMIN, "password": PASSWORD})),
        )
        .await;
    assert_eq!(signed_in.status(), 200);
    let signed_in: Value = signed_in.json().await.unwrap();
    site.token = Some(signed_in["access_token"].as_str().unwrap().to_owned());

    for (sssid, name, bday) in [
        ("A-1", "Anna Ahrens", "1950-01-01"),
        ("A-2", "Ben Berg", "1960-02-02"),
        ("B-1", "Cem Can", "1970-03-03"),
    ] {
        let subject = json!({"sssid": sssid, "name": name, "bday": bday, "email": null, "site": "Bern"});
        let made = site.fetch(Method::POST, "/subject", Some(subject)).await;
        assert_eq!(made.status(), 201);
        let made: Value = made.json().await.unwrap();
        assert_eq!(made["data"]["sssid"], sssid);
    }
    let taken = site
        .fetch(
            Method::POST,
            "/subject",
            Some(json!({"sssid": "A-1", "name": "x", "bday": "1950-01-01"})),
        )
        .await;
    assert_eq!(taken.status(), 409);
    assert_eq!(taken.json::<Value>().await.unwrap()["error"]["status"], 409);

    let list = site
        .fetch(
            Method::GET,
            "/subject?search=&offset=0&perpage=2&ordercol=name&orderdir=desc&status=0",
            None,
        )
        .await;
    assert_eq!(list.headers()["x-total-count"], "3");
    let list: Value = list.json().await.unwrap();
    let names: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| subject["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Cem Can", "Ben Berg"]);

    // The page of a subject: edited as a whole object, then with consent.
    let mut subject = site.get("/subject/A-1").await;
    assert_eq!(subject["date_consented"], Value::Null);
    subject["name"] = json!("Anna Ahrens-Meier");
    subject["date_invited"] = json!("2026-11-20");
    assert_eq!(
        site.fetch(Method::PUT, "/subject/A-1", Some(subject))
            .await
            .status(),
        204
    );
    let no_consent = site
        .fetch(Method::POST, "/subject/A-1/links", Some(json!({})))
        .await;
    assert_eq!(no_consent.status(), 412);
    let consent = json!({"sssid": "A-1", "date_consented": "2026-11-24T10:15:00.000Z"});
    assert_eq!(
        site.fetch(Method::PUT, "/subject/A-1", Some(consent))
            .await
            .status(),
        204
    );
    assert_eq!(site.get("/subject?status=1").await[0]["sssid"], "A-1");

    assert_eq!(site.get("/subject/A-1/links").await, Value::Null);
    let link = site.fetch(Method::POST, "/subject/A-1/links", None).await;
    assert_eq!(link.status(), 201);
    let link: Value = link.json().await.unwrap();
    let id = link["data"]["_id"].as_str().unwrap().to_owned();
    let jwt = site.fetch(Method::GET, &format!("/link/{id}/jwt"), None).await;
    assert_eq!(jwt.headers()["content-type"], "application/jwt");
    let jwt = jwt.text().await.unwrap();
    assert_eq!(jwt.split('.').count(), 3, "the JWT alone");
    let code = site.fetch(Method::GET, &format!("/link/{id}/qrcode"), None).await;
    assert_eq!(code.headers()["content-type"], "image/png");

    // The app, elsewhere, with the JWT from the code.
    let app = Frontend {
        http: site.http.clone(),
        site: site.site.clone(),
        token: Some(jwt),
    };
    let patient = json!({"resourceType": "Patient", "identifier": [{"value": "app-user-1", "system": "https://app.example.org"}]});
    assert_eq!(
        app.fetch(Method::POST, "/establish", Some(patient))
            .await
            .status(),
        204
    );

    let link = site.get(&format!("/link/{id}")).await;
    assert_eq!(
        (&link["sub"], &link["linked_to"]),
        (&json!("A-1"), &json!("app-user-1"))
    );
    let subject = site.get("/subject/A-1").await;
    assert_eq!(subject["date_enrolled"], link["linked_on"]);
    let mut whole = link.clone();
    whole["withdrawn_on"] = json!("2026-11-25");
    assert_eq!(
        site.fetch(Method::PUT, &format!("/link/{id}"), Some(whole))
            .await
            .status(),
        204
    );
    assert_eq!(site.get("/subject/A-1").await["date_withdrawn"], "2026-11-25");

    let audits = site.get("/subject/A-1/audits").await;
    let audits = audits.as_array().unwrap();
    assert!(audits.len() > 6);
    assert_eq!(
        (&audits[0]["action"], &audits[0]["actor"]),
        (&json!("created"), &json!(ADMIN))
    );
    assert!(
        audits
            .iter()
            .any(|row| row["action"].as_str().unwrap().starts_with("[Link] ") && row.get("actor").is_none())
    );

    let user = site
        .fetch(
            Method::POST,
            "/user",
            Some(json!({"username": "mei@example.org", "password": PASSWORD, "admin": false})),
        )
        .await;
    assert_eq!(
        user.json::<Value>().await.unwrap(),
        json!({"data": {"username": "mei@example.org", "admin": false}})
    );
    assert_eq!(
        site.fetch(
            Method::DELETE,
            "/user",
            Some(json!({"username": "mei@example.org"}))
        )
        .await
        .status(),
        204
    );
}
