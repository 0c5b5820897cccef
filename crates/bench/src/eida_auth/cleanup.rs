//! Removing 100,000 accounts that have expired, and what requests notice of it: in our own tables, and in
//! those of a data centre, which has no index for it.

use std::time::{Duration, Instant};

use identity_core::failure::Failure;

use super::start;
use super::tokens::Tokens;
use crate::report::{Figure, Report, Target};
use crate::stage::{Running, Stage};

const EXPIRED: u32 = 100_000;
/// How many hand in tokens meanwhile.
const CONNECTIONS: u32 = 2;
/// How long the load without a cleanup lasts at least: as long as one may take.
const SHORTEST: Duration = Duration::from_secs(10);
/// The load beside it goes on in parts, until it is done.
const PART: Duration = Duration::from_secs(3);

/// What is cleaned, with the names of its two rows.
struct Place {
    database: &'static str,
    schema: &'static str,
    centre: bool,
    time: &'static str,
    slowest: &'static str,
}

const PLACES: [Place; 2] = [
    Place {
        database: "eida_auth_cleanup",
        schema: "eida_auth",
        centre: false,
        time: "eida-auth cleanup of 100,000 expired accounts",
        slowest: "eida-auth cleanup: the slowest request meanwhile",
    },
    Place {
        database: "eida_auth_centre",
        schema: "public",
        centre: true,
        time: "eida-auth cleanup of 100,000 expired accounts in a centre's tables",
        slowest: "eida-auth cleanup in a centre's tables: the slowest request meanwhile",
    },
];

/// Whether one of the rows is asked for.
pub fn is_wanted(report: &Report) -> bool {
    PLACES
        .iter()
        .any(|place| report.wants_any(&[place.time, place.slowest]))
}

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report, tokens: &Tokens) -> Result<(), Failure> {
    for place in &PLACES {
        if report.wants_any(&[place.time, place.slowest]) {
            let running = prepare(stage, place, tokens).await?;
            clean(stage, report, tokens, place, &running).await?;
        }
    }
    Ok(())
}

async fn prepare(stage: &Stage, place: &Place, tokens: &Tokens) -> Result<Running, Failure> {
    let mut settings = vec![
        "cleanup.interval=24h".to_owned(),
        // However long it takes, it is told.
        "server.request_timeout=5m".to_owned(),
    ];
    if place.centre {
        stage.database(CENTRE).await?;
        stage.execute(CENTRE, TABLES).await?;
        let url = stage.postgres.connection_string(CENTRE);
        settings.extend(["authdb", "privilegedb"].map(|section| format!("{section}.url={url}")));
    } else {
        // Makes our tables.
        drop(start(stage, place.database, tokens.dir(), &[]).await?);
    }
    let filled = if place.centre { CENTRE } else { place.database };
    stage.execute(filled, &accounts(place)).await?;
    for table in ["users", "credentials", "eida_temp_users"] {
        let vacuum = format!("VACUUM ANALYZE {}.{table}", place.schema);
        stage.execute(filled, &vacuum).await?;
    }
    start(stage, place.database, tokens.dir(), &settings).await
}

/// Accounts, one in eleven of which has not expired.
fn accounts(place: &Place) -> String {
    let (schema, names) = if place.centre {
        (place.schema, "firstname, lastname, mail")
    } else {
        (place.schema, "first_name, last_name, email")
    };
    format!(
        "SET search_path = {schema};
         SET synchronous_commit = off;
         INSERT INTO users (login, {names}, expires_at)
         SELECT 'login' || n, 'Jane', 'Doe', 'jane' || n || '@example.org',
                now() + CASE WHEN n > {EXPIRED} THEN interval '1 day' ELSE -n * interval '1 ms' END
         FROM generate_series(1, {EXPIRED} * 11 / 10) n;
         INSERT INTO credentials (user_index, digest) SELECT user_index, md5(login) FROM users;
         INSERT INTO eida_temp_users (network_id, network, start_year, end_year, name)
         SELECT 1, 'Z3', 2015, 2022, login FROM users"
    )
}

/// The database of a data centre.
const CENTRE: &str = "eida_auth_of_the_centre";
/// Its tables, with the indexes that accounts are looked up by, and none more.
const TABLES: &str = "
    CREATE TABLE users (user_index serial PRIMARY KEY, login text NOT NULL UNIQUE, firstname text, lastname text,
                        mail text, expires_at timestamp);
    CREATE TABLE credentials (user_index integer PRIMARY KEY REFERENCES users, plain text, digest text NOT NULL);
    CREATE TABLE epos_fdsn (epos_name text, network text, start_year integer, end_year integer);
    CREATE TABLE networks (network_id bigint PRIMARY KEY, network text, start_year integer, end_year integer);
    CREATE TABLE eida_temp_users (
        user_id serial PRIMARY KEY, network_id bigint DEFAULT 0 REFERENCES networks ON DELETE SET DEFAULT,
        network text NOT NULL, start_year integer NOT NULL, end_year integer NOT NULL, name text NOT NULL,
        UNIQUE (network, start_year, end_year, name)
    );
    INSERT INTO networks VALUES (1, 'Z3', 2015, 2022);
    INSERT INTO epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022)";

async fn clean(
    stage: &Stage,
    report: &mut Report,
    tokens: &Tokens,
    place: &Place,
    running: &Running,
) -> Result<(), Failure> {
    let (script, url) = (tokens.script(), &running.url);
    script.warm_up(url, CONNECTIONS, stage.time).await?;
    let alone = script.run(url, CONNECTIONS, stage.time.max(SHORTEST)).await?;
    let cleaned = tokio::spawn(cleanup(stage.client.clone(), running.url.clone()));
    let mut slowest = 0.0_f64;
    loop {
        let meanwhile = script.run(url, CONNECTIONS, PART).await?;
        slowest = slowest.max(meanwhile.slowest_ms);
        if cleaned.is_finished() {
            break;
        }
    }
    let took = cleaned
        .await
        .map_err(|error| Failure::because("waiting for the cleanup", error))??;
    report.add(
        place.time,
        Figure::seconds(took.as_secs_f64()),
        (Figure::seconds(10.0), "allowed"),
        Target::AtMost(1.0),
    );
    let floor = format!("p99 without it (slowest {:.0} ms)", alone.slowest_ms);
    report.add(
        place.slowest,
        Figure::milliseconds(slowest),
        (Figure::milliseconds(alone.p99_ms), &floor),
        Target::AtMost(5.0),
    );
    Ok(())
}

/// Asks for a cleanup and gives the time that it took.
async fn cleanup(client: reqwest::Client, url: String) -> Result<Duration, Failure> {
    let failed = |error| Failure::because("asking for a cleanup", error);
    // The load is under way then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let answer = client.get(format!("{url}/cleanup")).send().await;
    let answer = answer
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let text = answer.text().await.map_err(failed)?;
    if text == format!("Deleted {EXPIRED} temporary accounts.") {
        Ok(began.elapsed())
    } else {
        Err(Failure::Other(format!("the cleanup says: {text}")))
    }
}
