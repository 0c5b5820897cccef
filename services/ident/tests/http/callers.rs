//! What the tests of tokens share: an administrator, people and clients who sign in.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;

use ident::Instance;
use ident::config::{Config, SCHEMA};
use ident::users::commands::{UsersCommand, run};
use identity_core::config::{Settings, Sources};
use identity_testkit::TestService;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{expect, kind, pointers};

/// The password of everybody in these tests.
pub const PASSWORD: &str = "a password that is long";

/// An instance whose records need a token, with an administrator, and the administrator's token.
pub async fn administered(settings: &[&str]) -> (TestService, String) {
    let settings: Vec<&str> = ["auth.records=token"].iter().chain(settings).copied().collect();
    let ident = IDENT.start(&settings).await;
    make_administrator(&ident).await;
    let token = sign_in(&ident, "admin").await;
    (ident, token)
}

/// Makes the administrator as an operator does, by the command.
pub async fn make_administrator(ident: &TestService) {
    let mut password = tempfile::NamedTempFile::new().unwrap();
    writeln!(password, "{PASSWORD}").unwrap();
    let url = format!("database.postgres.url={}", ident.database.url());
    let overrides = IDENT
        .settings
        .iter()
        .map(|&setting| setting.to_owned())
        .chain([url])
        .collect();
    let settings = Settings::load(
        &SCHEMA,
        &Sources {
            overrides,
            ..Sources::default()
        },
    )
    .unwrap();
    let instance = Instance::open(Config::read(&settings).unwrap(), ident.clock.clone())
        .await
        .unwrap();
    let command = UsersCommand::Create {
        username: "admin".into(),
        name: "Ada Administrator".into(),
        email: "admin@example.org".into(),
        password_stdin: false,
        password_file: Some(password.path().into()),
        admin: true,
        permissions: Vec::new(),
        json: false,
    };
    run(command, &instance.shared).await.unwrap();
}

/// Signs in, with the answer as it comes.
pub async fn login(ident: &TestService, username: &str, password: &str) -> Response {
    let body = json!({"username": username, "password": password});
    ident.post("/auth/login").json(&body).send().await.unwrap()
}

/// Signs in and gives the token.
pub async fn sign_in(ident: &TestService, username: &str) -> String {
    let answer = expect(login(ident, username, PASSWORD).await, StatusCode::OK).await;
    assert_eq!(answer["audience"], "ident");
    answer["token"].as_str().unwrap().to_owned()
}

/// Makes a person who can sign in, and gives their id.
pub async fn make_user(ident: &TestService, admin: &str, username: &str, permissions: &[&str]) -> i64 {
    let user = json!({
        "username": username, "password": PASSWORD, "name": format!("Person {username}"),
        "email": format!("{username}@example.org"), "permissions": permissions,
    });
    let made = ident
        .post("/api/users")
        .bearer_auth(admin)
        .json(&user)
        .send()
        .await
        .unwrap();
    expect(made, StatusCode::CREATED).await["id"].as_i64().unwrap()
}

/// Makes a client, and gives what is answered.
pub async fn make_client(ident: &TestService, admin: &str, client: &Value) -> Value {
    let made = ident
        .post("/api/clients")
        .bearer_auth(admin)
        .json(client)
        .send()
        .await
        .unwrap();
    expect(made, StatusCode::CREATED).await
}

/// Asks for a token as a client.
pub fn ask(ident: &TestService, id: &str, presented: &Value) -> RequestBuilder {
    let mut body = presented.clone();
    body["client_id"] = id.into();
    body["audience"] = "somebody".into();
    ident.post("/auth/token").json(&body)
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub fn header_of(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

/// The status of a list of records asked for with `token`.
pub async fn status_with(ident: &TestService, token: &str) -> u16 {
    ident
        .get("/")
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// The pointers of a problem.
pub async fn wrong_at(answer: Response, status: StatusCode) -> Vec<String> {
    let problem = expect(answer, status).await;
    pointers(&problem).into_iter().map(ToOwned::to_owned).collect()
}

/// The kind of a problem.
pub async fn kind_of(answer: Response, status: StatusCode) -> String {
    kind(&expect(answer, status).await).to_owned()
}
