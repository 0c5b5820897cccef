//! idm-users in the table of services: with an administrator, a user, and subjects of every status.

use data_encoding::BASE64URL_NOPAD;
use identity_core::crypto::random;
use identity_core::failure::Failure;
use idm_users::config::{Config, SCHEMA};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::service::{Demo, Filled, Service};

/// How idm-users is run. Mails go to the mail catcher, and ident's tokens are accepted.
pub const SERVICE: Service = Service {
    name: "idm-users",
    port: 9096,
    metrics_port: 9592,
    schema: &SCHEMA,
    settings: &[
        "admin_email=Study Office <office@example.org>",
        "mail.server=127.0.0.1",
        "mail.port={mail}",
        "mail.encryption=none",
        "mail.retry_interval=5s",
        "limits.mails_per_account=100/1h",
        "trusted_issuers=[{issuer = '{ident}', audience = 'idm-users'}]",
        "outgoing.allow_private=true",
    ],
    key_file: Some("jwt.secret_file"),
    run: |settings, runtime| {
        Box::pin(async move {
            let config = Config::read(&settings)?;
            // On the heap by itself: it is too large a part for another future.
            Box::pin(idm_users::run(config, runtime)).await
        })
    },
    fill: |demo| Box::pin(fill(demo)),
};

/// With which the administrator signs in; ident's has the same address.
const ADMIN: &str = "admin@example.org";
/// With which a user signs in.
const USER: &str = "mei@example.org";
/// Where the password of both is kept.
const PASSWORD_FILE: &str = "idm-users.password";

struct Person {
    sssid: &'static str,
    name: &'static str,
    bday: &'static str,
    invited: Option<&'static str>,
    consented: Option<&'static str>,
    /// As which the app knows them.
    linked_to: Option<&'static str>,
    withdrawn: Option<&'static str>,
}

const fn person(sssid: &'static str, name: &'static str, bday: &'static str) -> Person {
    Person {
        sssid,
        name,
        bday,
        invited: None,
        consented: None,
        linked_to: None,
        withdrawn: None,
    }
}

const SUBJECTS: [Person; 6] = [
    person("SCC-0001", "Amina Diarra", "1968-02-29"),
    Person {
        invited: Some("2026-10-01"),
        ..person("SCC-0002", "Jonas Kellermann", "1980-01-30")
    },
    Person {
        invited: Some("2026-10-01"),
        consented: Some("2026-10-09"),
        ..person("SCC-0003", "Lucía Ferreiro", "1991-11-05")
    },
    Person {
        invited: Some("2026-10-02"),
        consented: Some("2026-10-12"),
        linked_to: Some("app-user-17"),
        ..person("SCC-0004", "Tomasz Wilk", "1955-07-19")
    },
    Person {
        invited: Some("2026-10-02"),
        consented: Some("2026-10-15"),
        linked_to: Some("app-user-23"),
        ..person("SCC-0005", "Ingrid Solheim-Bakke", "1973-12-24")
    },
    Person {
        invited: Some("2026-10-03"),
        consented: Some("2026-10-08"),
        withdrawn: Some("2026-11-02"),
        ..person("SCC-0006", "Mei Tanimoto", "1976-04-12")
    },
];

async fn fill(demo: Demo) -> Result<Filled, Failure> {
    let password = || BASE64URL_NOPAD.encode(&random::bytes::<18>());
    let password = demo.place.kept(PASSWORD_FILE, password)?;
    let token = administrator_token(&demo, &password).await?;
    let user = json!({"username": USER, "password": password});
    let conflict = StatusCode::CONFLICT;
    send(
        &demo,
        &token,
        Method::POST,
        "/user",
        &user,
        &[StatusCode::OK, conflict],
    )
    .await?;
    for person in &SUBJECTS {
        make_subject(&demo, &token, person).await?;
    }
    let url = &demo.url;
    Ok(Filled {
        lines: vec![
            ("pages", format!("{url}/iforgot, {url}/init")),
            (
                "demo",
                format!("{} subjects of every status, two of them linked", SUBJECTS.len()),
            ),
            ("user", format!("{ADMIN}, an administrator; {USER}, who is none")),
            ("password", format!("{password}, of both")),
            (
                "ident",
                "its tokens for the audience idm-users are taken; its administrator is ours".to_owned(),
            ),
        ],
        examples: vec![
            format!("IDM=$(curl -s {url}/auth -H 'content-type: application/json' \\"),
            format!(r#"  -d '{{"username":"{ADMIN}","password":"{password}"}}' |"#),
            r#"  sed 's/.*"access_token":"\([^"]*\)".*/\1/')"#.to_owned(),
            format!("curl -s -H \"authorization: JWT $IDM\" '{url}/subject?status=2&ordercol=name'"),
            format!("curl -s -o /dev/null -d username={USER} {url}/iforgot"),
        ],
    })
}

/// A token of the administrator, who is made where there is none.
async fn administrator_token(demo: &Demo, password: &str) -> Result<String, Failure> {
    if let Some(token) = sign_in(demo, password).await? {
        return Ok(token);
    }
    let what = "making the administrator of idm-users";
    let form = [("username", ADMIN), ("pass1", password), ("pass2", password)];
    let request = demo.client.post(format!("{}/init", demo.url)).form(&form);
    let answer = request
        .send()
        .await
        .map_err(|error| Failure::because(what, error))?;
    if !answer.status().is_success() {
        return Err(refused(what, answer.status()));
    }
    let token = sign_in(demo, password).await?;
    token.ok_or_else(|| {
        Failure::Other(format!(
            "idm-users has an administrator who does not sign in with the password in {PASSWORD_FILE} (put the right \
             one there, or begin anew with `cargo dev --fresh`)"
        ))
    })
}

async fn sign_in(demo: &Demo, password: &str) -> Result<Option<String>, Failure> {
    let what = "signing in at idm-users";
    let body = json!({"username": ADMIN, "password": password});
    let request = demo.client.post(format!("{}/auth", demo.url)).json(&body);
    let answer = request
        .send()
        .await
        .map_err(|error| Failure::because(what, error))?;
    match answer.status() {
        StatusCode::OK => Ok(Some(text(what, &document(what, answer).await?, "/access_token")?)),
        StatusCode::UNAUTHORIZED => Ok(None),
        status => Err(refused(what, status)),
    }
}

async fn make_subject(demo: &Demo, token: &str, person: &Person) -> Result<(), Failure> {
    let subject = json!({
        "sssid": person.sssid, "name": person.name, "bday": person.bday,
        "date_invited": person.invited, "date_consented": person.consented, "date_withdrawn": person.withdrawn,
    });
    let expected = [StatusCode::CREATED, StatusCode::CONFLICT];
    let made = send(demo, token, Method::POST, "/subject", &subject, &expected).await?;
    // A conflict: from an earlier start.
    let (StatusCode::CREATED, Some(linked_to)) = (made.status(), person.linked_to) else {
        return Ok(());
    };
    let path = format!("/subject/{}/links", person.sssid);
    let link = send(
        demo,
        token,
        Method::POST,
        &path,
        &json!({}),
        &[StatusCode::CREATED],
    )
    .await?;
    let what = "making a demo link";
    let id = text(what, &document(what, link).await?, "/data/_id")?;
    let jwt = send(
        demo,
        token,
        Method::GET,
        &format!("/link/{id}/jwt"),
        &json!({}),
        &[StatusCode::OK],
    )
    .await?;
    let jwt = jwt.text().await.map_err(|error| Failure::because(what, error))?;
    let identifier = json!({"value": linked_to, "system": "https://app.example.org"});
    let patient = json!({"resourceType": "Patient", "identifier": [identifier]});
    send(
        demo,
        &jwt,
        Method::POST,
        "/establish",
        &patient,
        &[StatusCode::NO_CONTENT],
    )
    .await?;
    Ok(())
}

async fn send(
    demo: &Demo,
    token: &str,
    method: Method,
    path: &str,
    body: &Value,
    expected: &[StatusCode],
) -> Result<Response, Failure> {
    let what = format!("{method} {path} of idm-users");
    let request = demo.client.request(method, format!("{}{path}", demo.url));
    let answer = request.bearer_auth(token).json(body).send().await;
    let answer = answer.map_err(|error| Failure::because(&what, error))?;
    if expected.contains(&answer.status()) {
        Ok(answer)
    } else {
        Err(refused(&what, answer.status()))
    }
}

async fn document(what: &str, answer: Response) -> Result<Value, Failure> {
    answer.json().await.map_err(|error| Failure::because(what, error))
}

fn text(what: &str, document: &Value, pointer: &str) -> Result<String, Failure> {
    let text = document.pointer(pointer).and_then(Value::as_str);
    let text = text.ok_or_else(|| Failure::Other(format!("{what}: the answer has no {pointer}")))?;
    Ok(text.to_owned())
}

fn refused(what: &str, status: StatusCode) -> Failure {
    Failure::Other(format!("{what}: it answered {status}"))
}
