//! ident's rows: records, signing in, tokens.

use std::io::Write;

use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_core::failure::Failure;
use serde_json::{Value, json};

use crate::floors;
use crate::load::{Measured, Script};
use crate::receiver::Receiver;
use crate::report::{Figure, Report, Target};
use crate::stage::{Running, Stage};
use crate::tokenstore;

const DATABASE: &str = "ident";
/// Where pgbench writes: what it leaves would be delivered by the service.
const FLOOR_DATABASE: &str = "ident_floor";
const PEOPLE: u32 = 100_000;
const CONNECTIONS: u32 = 32;
const PASSWORD: &str = "a password that is long";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants("ident") && !report.wants(tokenstore::NAME) {
        return Ok(());
    }
    prepare(stage).await?;
    records(stage, report).await?;
    writes(stage, report).await?;
    protected_records(stage, report).await?;
    logins(stage, report).await?;
    tokens(stage, report).await
}

fn settings(more: &[&str]) -> Vec<String> {
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

/// The schema, an administrator, and people.
async fn prepare(stage: &Stage) -> Result<(), Failure> {
    for database in [DATABASE, FLOOR_DATABASE] {
        stage.database(database).await?;
        drop(stage.start("ident", database, &settings(&[])).await?);
        let failed = |error: tokio_postgres::Error| Failure::because("making people", error);
        let client = stage.postgres.connect(database).await;
        let client = client.map_err(|error| Failure::because("connecting to Postgres", error))?;
        let people = format!(
            "SET search_path = ident;
             INSERT INTO users (name, name_words, email, email_key, created_at, updated_at)
             SELECT 'Person Number' || n, to_tsvector('simple', 'person number' || n),
                    'p' || n || '@example.org', 'p' || n || '@example.org', now(), now()
             FROM generate_series(1, {PEOPLE}) n;
             INSERT INTO linked_accounts (user_id, service, account_id)
             SELECT id, 'github', id::text FROM users;
             ANALYZE"
        );
        client.batch_execute(&people).await.map_err(failed)?;
    }
    let mut password =
        tempfile::NamedTempFile::new().map_err(|error| Failure::because("making a file", error))?;
    writeln!(password, "{PASSWORD}").map_err(|error| Failure::because("writing a file", error))?;
    let made = stage
        .command("ident", DATABASE, &settings(&[]))
        .args([
            "users",
            "create",
            "--username",
            "admin",
            "--name",
            "Ada",
            "--email",
            "ada@example.org",
            "--admin",
        ])
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

/// A record by its id, at random.
fn get_script(token: Option<&str>) -> Script {
    let headers = token.map_or_else(String::new, |token| format!("Authorization = 'Bearer {token}'"));
    Script::changing(&format!(
        "local headers = {{{headers}}}\n\
         function request() return wrk.format('GET', '/' .. math.random(1, {PEOPLE}), headers) end"
    ))
}

/// Records by their ids, without a token.
pub async fn get_by_id(stage: &Stage) -> Result<Measured, Failure> {
    let running = stage
        .start("ident", DATABASE, &settings(&["auth.records=open"]))
        .await?;
    get_script(None).run(&running.url, CONNECTIONS, stage.time).await
}

async fn records(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let name = "ident GET /{id}";
    if !report.wants(name) {
        return Ok(());
    }
    let measured = get_by_id(stage).await?;
    let select = format!(
        "\\set id random(1, {PEOPLE})\n\
         SELECT u.id, u.name, u.email, u.version,
             (SELECT json_object_agg(a.service, a.account_id) FROM ident.linked_accounts a WHERE a.user_id = u.id)
         FROM ident.users u WHERE u.id = :id;\n"
    );
    let floor = floors::pgbench(&stage.postgres, DATABASE, &select, 8, stage.time).await?;
    report.add(
        name,
        Figure::per_second(measured.per_second()),
        (Figure::per_second(floor), "pgbench -c 8 of its SELECT"),
        Target::AtLeast(0.65),
    );
    Ok(())
}

async fn writes(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let (post, patch) = ("ident POST /", "ident PATCH /{id}");
    if !report.wants(post) && !report.wants(patch) {
        return Ok(());
    }
    let insert = "\\set n random(1, 9000000000000000)\n\
         WITH u AS (INSERT INTO ident.users (name, name_words, email, email_key, created_at, updated_at)
                    VALUES ('Robb Stark', '''robb'' ''stark'''::tsvector, 'b' || (:n)::text || '@example.org',
                            'b' || (:n)::text || '@example.org', now(), now()) RETURNING id),
              e AS (INSERT INTO ident.user_events (user_id, webhook_id, type, payload, created_at, next_attempt_at)
                    SELECT u.id, gen_random_uuid(), 'new', '{\"name\": \"Robb Stark\"}', now(), now()
                    FROM u)
         SELECT id FROM u;\n";
    let floor = floors::pgbench(&stage.postgres, FLOOR_DATABASE, insert, 16, stage.time).await?;
    let floor = (
        Figure::per_second(floor),
        "pgbench -c 16 of the insert with its event",
    );
    // Every event is delivered meanwhile, to a receiver that takes all.
    let receiver = Receiver::start().await?;
    let told = format!("notifications.url={}/{{user_id}}", receiver.url);
    let secret = "notifications.secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let running = stage
        .start(
            "ident",
            DATABASE,
            &settings(&["auth.records=open", &told, secret]),
        )
        .await?;
    if report.wants(post) {
        let script = Script::changing(
            "local run = os.time()\n\
             local headers = {['Content-Type'] = 'application/json'}\n\
             function request()\n\
               local body = string.format('{\"name\": \"Robb Stark\", \"email\": \"w%d-%d@example.org\"}', run, N())\n\
               return wrk.format('POST', '/', headers, body)\n\
             end",
        );
        let measured = script.run(&running.url, CONNECTIONS, stage.time).await?;
        report.add(
            post,
            Figure::per_second(measured.per_second()),
            floor,
            Target::AtLeast(0.45),
        );
    }
    if report.wants(patch) {
        let script = Script::changing(&format!(
            "local headers = {{['Content-Type'] = 'application/merge-patch+json'}}\n\
             function request()\n\
               local body = string.format('{{\"name\": \"Robb Stark the %dth\"}}', N())\n\
               return wrk.format('PATCH', '/' .. math.random(1, {PEOPLE}), headers, body)\n\
             end"
        ));
        let measured = script.run(&running.url, CONNECTIONS, stage.time).await?;
        report.add(
            patch,
            Figure::per_second(measured.per_second()),
            floor,
            Target::AtLeast(0.3),
        );
    }
    Ok(())
}

async fn protected_records(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let name = "ident GET /{id} with a bearer";
    if !report.wants(name) {
        return Ok(());
    }
    let open = stage
        .start("ident", DATABASE, &settings(&["auth.records=open"]))
        .await?;
    let unprotected = get_script(None).run(&open.url, CONNECTIONS, stage.time).await?;
    drop(open);
    let running = stage.start("ident", DATABASE, &settings(&[])).await?;
    let token = sign_in(stage, &running).await?;
    let measured = get_script(Some(&token))
        .run(&running.url, CONNECTIONS, stage.time)
        .await?;
    report.add(
        name,
        Figure::per_second(measured.per_second()),
        (
            Figure::per_second(unprotected.per_second()),
            "the same GET unprotected",
        ),
        Target::AtLeast(0.8),
    );
    Ok(())
}

async fn logins(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let (login, beside) = ("ident POST /auth/login", "ident GET p99 during logins");
    if !report.wants(login) && !report.wants(beside) {
        return Ok(());
    }
    let running = stage
        .start("ident", DATABASE, &settings(&["auth.records=open"]))
        .await?;
    let body = json!({"username": "admin", "password": PASSWORD}).to_string();
    let script = Script::same("POST", "/auth/login", &[JSON], &body);
    if report.wants(login) {
        let floor = floors::argon2(stage.time);
        let measured = script.run(&running.url, CONNECTIONS, stage.time).await?;
        report.add(
            login,
            Figure::per_second(measured.per_second()),
            (Figure::per_second(floor), "argon2id verifications, all cores"),
            Target::AtLeast(0.9),
        );
    }
    if report.wants(beside) {
        let get = get_script(None);
        let at_rest = get.run(&running.url, 2, stage.time).await?;
        let (during, logins) = tokio::join!(
            get.run(&running.url, 2, stage.time),
            script.run(&running.url, CONNECTIONS, stage.time)
        );
        logins?;
        report.add(
            beside,
            Figure::milliseconds(during?.p99_ms),
            (
                Figure::milliseconds(at_rest.p99_ms),
                "its p99 at rest, 2 connections",
            ),
            Target::AtMost(5.0),
        );
    }
    Ok(())
}

async fn tokens(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let rows = [
        ("ident POST /auth/token, Ed25519", Algorithm::EdDSA),
        ("ident POST /auth/token, P-256", Algorithm::ES256),
        ("ident POST /auth/token, RSA-2048", Algorithm::RS256),
    ];
    if !rows.iter().any(|(name, _)| report.wants(name)) {
        return Ok(());
    }
    let running = stage.start("ident", DATABASE, &settings(&[])).await?;
    let admin = sign_in(stage, &running).await?;
    let client = json!({"name": "bench", "permissions": ["users:read"]});
    let client = ask(stage, &running, "POST", "/api/clients", &admin, &client).await?;
    let body = json!({
        "client_id": client["id"], "client_secret": client["client_secret"], "audience": "somebody",
    });
    let script = Script::same("POST", "/auth/token", &[JSON], &body.to_string());
    for (name, algorithm) in rows {
        if !report.wants(name) {
            continue;
        }
        let making = |error| Failure::because("making a key", error);
        let pem = SigningKey::generate(algorithm).map_err(making)?;
        let given = json!({"private_key": pem.as_str()});
        ask(stage, &running, "PATCH", "/api/configuration", &admin, &given).await?;
        let floor = match algorithm {
            Algorithm::RS256 => (
                Figure::per_second(floors::rsa(stage.time)?),
                "raw signatures of aws-lc-rs, all cores",
            ),
            _ => (
                Figure::per_second(floors::tokens(algorithm, stage.time)),
                "tokens signed by jwt-simple, all cores",
            ),
        };
        let measured = script.run(&running.url, CONNECTIONS, stage.time).await?;
        report.add(
            name,
            Figure::per_second(measured.per_second()),
            floor,
            Target::AtLeast(0.6),
        );
    }
    Ok(())
}

async fn sign_in(stage: &Stage, running: &Running) -> Result<String, Failure> {
    let body = json!({"username": "admin", "password": PASSWORD});
    let answer = ask(stage, running, "POST", "/auth/login", "", &body).await?;
    Ok(answer["token"].as_str().unwrap_or_default().to_owned())
}

async fn ask(
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
