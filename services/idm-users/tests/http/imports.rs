//! Taking over C3-PRO's documents, as mongoexport writes them, and going on with them over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;

use identity_testkit::TestService;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::IDM;
use crate::commands::run;
use crate::people::{get, request, send, sign_in, token};

const MEI: &str = "58b6a5f0c4e1d20f3a8b4567";
const LINK: &str = "58b6a5f0c4e1d20f3a8b4568";
/// Made by `PyJWT` for [`LINK`] with the secret of [`SECRET`]; valid until 2030.
const JWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJqdGkiOiI1OGI2YTVmMGM0ZTFkMjBmM2E4YjQ1NjgiLCJpc3MiOiJodHRwczovL2lkbS5jMy1wcm8uaW8vIiwiYXVkIjoiaHR0cHM6Ly9pZG0uYzMtcHJvLmlvLyIsImV4cCI6MTg5MzQ1NjAwMCwic3ViIjoiTWVpIFRhbmltb3RvIiwiYmlydGhkYXRlIjoiMTk3Ni0wNC0xMiJ9.CzuXg1irFQFBOUS3wQpE-msUjsMWEwLD4WE8YWr0afE";
const SECRET: &str = "an original secret of thirty-two bytes";

fn oid(id: &str) -> Value {
    json!({ "$oid": id })
}

/// What a site has: two users, three subjects, three links and their histories.
fn documents() -> Vec<Value> {
    let jwt = json!({"$binary": data_encoding::BASE64.encode(JWT.as_bytes()), "$type": "00"});
    let link = |id: &str, sub: &str, more: Value| {
        let mut link = json!({"_id": oid(id), "type": "link", "sub": sub, "iss": "https://idm.c3-pro.io/",
            "aud": "https://idm.c3-pro.io/", "secret": SECRET, "algorithm": "HS256", "created": 1_488_363_100});
        link.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        link
    };
    let audit = |id: u32, of: &str, at: Value, action: &str| {
        json!({"_id": oid(&format!("60b6a5f0c4e1d20f3a8b{id:04}")), "type": "audit", "actor": MEI, "document": oid(of),
               "datetime": at, "action": action})
    };
    vec![
        // Links before their subjects, and histories in no order.
        link(
            LINK,
            "S-1",
            json!({"_jwt": jwt, "exp": {"$numberLong": "1893456000"}, "changed": 1_488_363_200}),
        ),
        link(
            "58b6a5f0c4e1d20f3a8b4569",
            "S-2",
            json!({"linked_to": "app-7", "linked_system": "https://app.example.org",
            "linked_on": "2017-03-02T09:00:00.123456+00:00", "exp": 1_488_450_000}),
        ),
        link("9f0a4d4e-0f0b-4d4e-8f0b-4d4e8f0b4d4e", "S-2", json!({})),
        json!({"_id": oid(MEI), "type": "user", "username": "Mei@example.org", "admin": true,
               "password": {"$binary": {"base64": "JDJiJDEyJGFi", "subType": "00"}},
               "temporary": {"hash": "0", "time": 1}}),
        json!({"_id": oid("58b6a5f0c4e1d20f3a8b4599"), "type": "user", "username": "ben@example.org", "admin": false,
               "password": {"$binary": {"base64": "JDJiJDEyJGFi", "subType": "00"}}}),
        json!({"_id": oid("58b6a5f0c4e1d20f3a8b4501"), "type": "subject", "sssid": "S-1", "name": "Mei Tanimoto",
               "bday": "1976-04-12", "date_consented": "2017-02-28", "site": {"room": 1.5},
               "created": "2017-03-01T10:11:12.123456+00:00", "changed": "2017-03-03T10:11:12+00:00"}),
        json!({"_id": oid("58b6a5f0c4e1d20f3a8b4502"), "type": "subject", "sssid": "S-2", "name": "Ben Bakker",
               "bday": "1980-01-01", "date_consented": "2017-02-28", "email": null,
               "date_enrolled": "2017-03-02T09:00:00.123456+00:00", "created": 1_488_363_000, "changed": 1_488_363_300}),
        json!({"_id": oid("58b6a5f0c4e1d20f3a8b4503"), "type": "subject", "sssid": "S-3", "name": "Cleo",
               "bday": "1990-01-01", "date_withdrawn": "2017-05-01", "created": 1_488_363_000}),
        audit(
            2,
            "58b6a5f0c4e1d20f3a8b4501",
            json!("2017-03-03T10:11:12+00:00"),
            "name: \"Mei Tanimoto\"",
        ),
        audit(1, "58b6a5f0c4e1d20f3a8b4501", json!(1_488_363_072), "create"),
        json!({"_id": oid("60b6a5f0c4e1d20f3a8b0003"), "type": "audit", "document": oid(LINK),
               "epoch": {"$numberInt": "1488363100"}, "actor": "a-user-who-is-gone", "action": "create"}),
        audit(4, MEI, json!(1_488_363_000), "create"),
    ]
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn lines(documents: &[Value]) -> String {
    let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

async fn import(idm: &TestService, file: &NamedTempFile, more: &[&str]) -> (i32, String) {
    let arguments: Vec<&str> = ["import", file.path().to_str().unwrap()]
        .iter()
        .chain(more)
        .copied()
        .collect();
    ended(run(idm, &arguments, "").await)
}

fn ended(output: std::process::Output) -> (i32, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        format!("{}{}", text(output.stdout), text(output.stderr)),
    )
}

/// A token of Mei's, whose password an operator sets.
async fn meis(idm: &TestService) -> String {
    let set = [
        "users",
        "set-password",
        "--username",
        "mei@example.org",
        "--password-stdin",
    ];
    assert!(run(idm, &set, "winter-is-coming\n").await.status.success());
    token(idm, "mei@example.org", "winter-is-coming").await
}

#[tokio::test]
async fn a_site_goes_on_with_its_subjects_links_and_histories() {
    let idm = IDM.start(&[]).await;
    let export = file(&lines(&documents()));
    let (code, said) = import(&idm, &export, &["--dry-run"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("this was a dry run: nothing was kept"), "{said}");
    let count = async || {
        let client = idm.database.connect("idm_users").await;
        let sql = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM subjects) + (SELECT count(*) FROM audit)";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(count().await, 0);

    let (code, said) = import(&idm, &export, &[]).await;
    assert_eq!(code, 0, "{said}");
    for line in [
        "users: 2 taken, 0 there already, 0 not taken",
        "subjects: 3 taken, 0 there already, 0 not taken",
        "links: 3 taken, 0 there already, 0 not taken",
        "audit rows: 4 taken, 0 there already, 0 not taken",
        "users of line 4: Mei@example.org has to set a new password, at /iforgot",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(idm.get("/init").send().await.unwrap().status(), 200);
    assert_eq!(
        sign_in(&idm, "mei@example.org", "winter-is-coming")
            .await
            .status(),
        401
    );
    let mei = meis(&idm).await;
    let (_, user) = get(&idm, &mei, "/user/mei@example.org").await;
    assert_eq!(
        user["data"],
        json!({"username": "Mei@example.org", "admin": true})
    );

    let (_, subject) = get(&idm, &mei, "/subject/S-1").await;
    let subject = &subject["data"];
    assert_eq!(subject["name"], "Mei Tanimoto");
    assert_eq!(
        subject["site"],
        json!({"room": 1.5}),
        "other members as they came"
    );
    assert_eq!(subject["created"], "2017-03-01T10:11:12Z");
    assert_eq!(subject["changed"], "2017-03-03T10:11:12Z");
    let (_, subject) = get(&idm, &mei, "/subject/S-2").await;
    assert_eq!(
        subject["data"]["date_enrolled"],
        "2017-03-02T09:00:00.123456+00:00"
    );
    assert_eq!(subject["data"]["changed"], "2017-03-01T10:15:00Z");
    for (status, sssid) in [(1, "S-1"), (2, "S-2"), (3, "S-3")] {
        let (_, list) = get(&idm, &mei, &format!("/subject?status={status}")).await;
        assert_eq!(list["data"][0]["sssid"], sssid, "{list}");
        assert_eq!(list["data"].as_array().unwrap().len(), 1);
    }
    let (_, audits) = get(&idm, &mei, "/subject/S-1/audits").await;
    assert_eq!(
        audits["data"].as_array().unwrap()[..4],
        [
            json!({"datetime": "2017-03-01T10:11:12Z", "actor": "Mei@example.org", "action": "create"}),
            json!({"datetime": "2017-03-01T10:11:40Z", "actor": "Unknown Actor", "action": "[Link] create"}),
            json!({"datetime": "2017-03-03T10:11:12Z", "actor": "Mei@example.org", "action": "name: \"Mei Tanimoto\""}),
            json!({"datetime": audits["data"][3]["datetime"], "actor": "operator", "action": "taken over"}),
        ]
    );
    let verified = run(&idm, &["audit", "verify"], "").await;
    assert!(verified.status.success(), "the chain holds");
    let left: i64 = idm
        .database
        .connect("idm_users")
        .await
        .query_one(
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'imported%'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "nothing is left behind");
}

#[tokio::test]
async fn dates_follow_the_links_and_a_second_run_changes_nothing() {
    let idm = IDM.start(&[]).await;
    let export = file(&lines(&documents()));
    assert_eq!(import(&idm, &export, &[]).await.0, 0);
    let mei = meis(&idm).await;
    // Withdrawing its link withdraws the subject whose dates only repeat what its links say.
    let (_, links) = get(&idm, &mei, "/subject/S-2/links").await;
    let established = links["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["linked_to"] == "app-7");
    let id = established.unwrap()["_id"].as_str().unwrap();
    let withdrawn = json!({"withdrawn_on": "2018-01-01"});
    assert_eq!(
        send(&idm, &mei, Method::PUT, &format!("/link/{id}"), &withdrawn)
            .await
            .0,
        204
    );
    let (_, subject) = get(&idm, &mei, "/subject/S-2").await;
    assert_eq!(
        (
            &subject["data"]["date_enrolled"],
            &subject["data"]["date_withdrawn"]
        ),
        (&Value::Null, &"2018-01-01".into())
    );

    let (code, said) = import(&idm, &export, &[]).await;
    assert_eq!(code, 0, "{said}");
    for line in [
        "users: 0 taken, 2 there already, 0 not taken",
        "subjects: 0 taken, 3 there already, 0 not taken",
        "links: 0 taken, 3 there already, 0 not taken",
        "audit rows: 0 taken, 4 there already, 0 not taken",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[tokio::test]
async fn a_link_keeps_its_id_and_the_jwt_that_was_given_out() {
    let idm = IDM.start(&[]).await;
    // As an array, over standard input.
    let array = Value::Array(documents()).to_string();
    let (code, said) = ended(run(&idm, &["import", "-"], &array).await);
    assert_eq!(code, 0, "{said}");
    let mei = meis(&idm).await;
    let (status, link) = get(&idm, &mei, &format!("/link/{LINK}")).await;
    assert_eq!((status, &link["data"]["sub"]), (200, &"S-1".into()));
    assert_eq!(link["data"]["_id"], "00000000-58b6-a5f0-c4e1-d20f3a8b4568");
    assert!(!idm.database.dump().contains(SECRET), "its secret is encrypted");
    let again = request(&idm, &mei, Method::GET, &format!("/link/{LINK}/jwt"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        again.text().await.unwrap(),
        JWT,
        "the same JWT, as the original made it"
    );

    let patient =
        json!({"resourceType": "Patient", "identifier": [{"system": "https://app", "value": "42"}]});
    let establish = async || {
        let request = idm.post("/establish").bearer_auth(JWT).json(&patient);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(establish().await, 204);
    assert_eq!(establish().await, 409);
    let (_, link) = get(&idm, &mei, &format!("/link/{LINK}")).await;
    assert_eq!(link["data"]["linked_to"], "42");
    let (status, _) = get(&idm, &mei, "/link/58b6a5f0c4e1d20f3a8b4500").await;
    assert_eq!(status, 404, "an ObjectId that no link has");
}

#[tokio::test]
async fn what_cannot_be_taken_is_named_and_the_others_come() {
    let idm = IDM.start(&[]).await;
    let subject = |id: &str, members: Value| {
        let mut subject = json!({"_id": oid(id), "type": "subject"});
        subject
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        subject
    };
    let id = |number: u32| format!("58b6a5f0c4e1d20f3a8b{number:04}");
    let short = json!({"_id": oid(&id(7)), "type": "link", "sub": "S-1", "iss": "i", "aud": "a", "_jwt": "x.y.z",
        "secret": "super-duper-secret", "exp": 1_893_456_000});
    let text = lines(&[
        subject(
            &id(1),
            json!({"sssid": "S-1", "name": "Good", "bday": "1976-04-12"}),
        ),
        subject(
            &id(2),
            json!({"sssid": "S-1", "name": "Same", "bday": "1976-04-12"}),
        ),
        subject(
            &id(1),
            json!({"sssid": "S-9", "name": "Same id", "bday": "1976-04-12"}),
        ),
        subject(
            &id(4),
            json!({"sssid": "S-4", "bday": "April", "date_invited": 7}),
        ),
        json!({"_id": oid(&id(5)), "type": "user", "username": "no address"}),
        json!({"_id": oid(&id(6)), "type": "link", "sub": "S-8", "iss": "i", "aud": "a"}),
        short,
        json!({"_id": oid(&id(8)), "type": "patient", "sssid": "S-5"}),
        json!({"type": "user", "username": "a@example.org"}),
        json!({"_id": oid(&id(10)), "type": "audit", "datetime": 1, "document": oid(&id(4)), "action": "create"}),
        json!({"_id": oid(&id(11)), "type": "audit", "datetime": 1, "document": oid(&id(99)), "action": "create"}),
        json!({"_id": "not/an/id", "type": "link", "sub": "S-1", "iss": "i", "aud": "a"}),
        json!({"_id": oid(&id(13)), "type": "link", "sub": "S-1", "iss": "i", "aud": "a", "linked_system": "x"}),
    ]);
    let (code, said) = import(&idm, &file(&text), &[]).await;
    assert_eq!(code, 1, "{said}");
    for line in [
        "subjects of line 2: not taken: S-1 came before",
        "documents of line 3: not taken: its _id came before",
        "subjects of line 4: not taken: ",
        "users of line 5: not taken: username: expected an email address",
        "links of line 6: not taken: there is no subject S-8",
        "links of line 7: taken without its JWT, whose secret is too short",
        "documents of line 8: not taken: its type `patient` is none of",
        "documents of line 9: not taken: it has no _id",
        &format!(
            "audit rows of line 10: not taken: its document {} was not taken",
            id(4)
        ),
        &format!(
            "audit rows of line 11: not taken: its document {} is not in the export",
            id(99)
        ),
        "links of line 12: not taken: its _id is neither",
        "links of line 13: not taken: linked_system needs linked_to beside it",
        "subjects: 1 taken, 0 there already, 2 not taken",
        "links: 1 taken, 0 there already, 3 not taken",
        "idm-users: 11 rows were not taken",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let wrong = said
        .lines()
        .find(|line| line.starts_with("subjects of line 4"))
        .unwrap();
    for member in [
        "bday expected a date",
        "date_invited expected a date",
        "name is missing",
    ] {
        assert!(wrong.contains(member), "everything at once: {wrong}");
    }
    assert!(!said.contains("super-duper"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_export_is_refused_whole() {
    let idm = IDM.start(&[]).await;
    let broken = lines(&documents()) + "{\"_id\": \"cut of";
    let (code, said) = import(&idm, &file(&broken), &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("line 13: the document has no end"), "{said}");
    let (code, said) = import(&idm, &file("username,password\n"), &[]).await;
    assert_eq!(code, 2, "{said}");
    let missing = run(&idm, &["import", "/nowhere.json"], "").await;
    assert_eq!(missing.status.code(), Some(2));
    let client = idm.database.connect("idm_users").await;
    let row = client
        .query_one("SELECT count(*) FROM subjects", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "nothing was taken");
    let unreachable = [
        "--set",
        "database.postgres.url=postgresql://127.0.0.1:9/d",
        "--set",
        "database.postgres.connect_timeout=1s",
        "import",
        "-",
    ];
    assert_eq!(run(&idm, &unreachable, "").await.status.code(), Some(129));
}
