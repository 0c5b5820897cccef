//! ident's rows: records, signing in, tokens. They share a database with 100,000 people.

pub mod logins;
pub mod records;
pub mod tokens;

use std::io::Write;

use identity_core::failure::Failure;
use serde_json::{Value, json};

use crate::report::Report;
use crate::stage::{Running, Stage};

/// With people, and an administrator.
pub const DATABASE: &str = "ident";
/// Where pgbench writes: what it leaves would be delivered by the service.
pub const FLOOR_DATABASE: &str = "ident_floor";
/// How many people.
pub const PEOPLE: u32 = 100_000;
/// How many ask at once.
pub const CONNECTIONS: u32 = 32;
/// The administrator's password.
pub const PASSWORD: &str = "a password that is long";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    records::measure(stage, report).await?;
    logins::measure(stage, report).await?;
    tokens::measure(stage, report).await
}

/// Settings of a process, with `more` of them.
pub fn settings(more: &[&str]) -> Vec<String> {
    let key = "database.encryption_key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let common = [
        key,
        "server.public_url=http://127.0.0.1:5000",
        "outgoing.allow_private=true",
    ];
    common
        .iter()
        .chain(more)
        .map(|&setting| setting.to_owned())
        .collect()
}

/// The schema, an administrator, and people; whoever needs them first makes them.
pub async fn prepare(stage: &Stage) -> Result<(), Failure> {
    for database in [DATABASE, FLOOR_DATABASE] {
        if !stage.database(database).await? {
            return Ok(());
        }
        drop(stage.start("ident", database, &settings(&[])).await?);
        let people = format!(
            "SET search_path = ident;
             INSERT INTO users (name, name_words, email, email_key, created_at, updated_at)
             SELECT 'Person Number' || n, to_tsvector('simple', 'person number' || n),
                    'p' || n || '@example.org', 'p' || n || '@example.org', now(), now()
             FROM generate_series(1, {PEOPLE}) n;
             INSERT INTO linked_accounts (user_id, service, account_id)
             SELECT id, 'github', id::text FROM users;"
        );
        stage.execute(database, &people).await?;
        stage.execute(database, "VACUUM ANALYZE ident.users").await?;
        stage
            .execute(database, "VACUUM ANALYZE ident.linked_accounts")
            .await?;
    }
    make_administrator(stage, DATABASE)
}

/// Makes the administrator `admin`.
pub fn make_administrator(stage: &Stage, database: &str) -> Result<(), Failure> {
    let writing = |error| Failure::because("writing a file", error);
    let mut password = tempfile::NamedTempFile::new().map_err(writing)?;
    writeln!(password, "{PASSWORD}").map_err(writing)?;
    let made = stage
        .command("ident", database, &settings(&[]))
        .args(["users", "create", "--username", "admin", "--name", "Ada"])
        .args(["--email", "ada@example.org", "--admin"])
        .arg("--password-file")
        .arg(password.path())
        .output()
        .map_err(|error| Failure::because("making an administrator", error))?;
    if made.status.success() {
        Ok(())
    } else {
        Err(Failure::Other("the administrator cannot be made".to_owned()))
    }
}

/// A token of the administrator.
pub async fn sign_in(stage: &Stage, running: &Running) -> Result<String, Failure> {
    let body = json!({"username": "admin", "password": PASSWORD});
    let answer = ask(stage, running, "POST", "/auth/login", "", &body).await?;
    Ok(answer["token"].as_str().unwrap_or_default().to_owned())
}

/// Asks for something with a token, unless that is empty; gives the document of the answer.
pub async fn ask(
    stage: &Stage,
    running: &Running,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let failed = |error| Failure::because(&format!("asking {method} {path}"), error);
    let method = method.parse().unwrap_or(reqwest::Method::POST);
    let mut request = stage
        .client
        .request(method, format!("{}{path}", running.url))
        .json(body);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    answer.map_err(failed)?.json().await.map_err(failed)
}
