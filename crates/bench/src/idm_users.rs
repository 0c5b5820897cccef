//! idm-users' rows: pages and searches of 100,000 subjects, each beside its SQL.

use std::io::Write;
use std::process::Stdio;

use identity_core::failure::Failure;
use serde_json::{Value, json};

use crate::load::Script;
use crate::pgbench;
use crate::report::{Figure, Report, Target};
use crate::rounds::{Compared, compare};
use crate::stage::{Running, Stage};

const SUBJECTS: u32 = 100_000;
const USERNAME: &str = "admin@example.org";
const PASSWORD: &str = "a password that is long";
const PAGE_1: &str = "idm-users list of subjects, page 1";
const PAGE_1000: &str = "idm-users list of subjects, page 1,000";
const DEEP: &str = "idm-users list of subjects, page 1,000 against page 1";

/// A row, what is asked, and the statements that the service executes for it.
struct List {
    name: &'static str,
    path: &'static str,
    sql: String,
}

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let lists = lists();
    let wanted = lists.iter().any(|list| report.wants(list.name));
    if !wanted && !report.wants(DEEP) {
        return Ok(());
    }
    let database = "idm_users";
    let (running, token) = start(stage, database, SUBJECTS).await?;
    for List { name, path, sql } in &lists {
        if !report.wants(name) {
            continue;
        }
        let compared = compare(
            stage.time / 2,
            async |time| p50(&running, path, &token, time).await,
            async |time| pgbench::median_ms(&stage.postgres, database, "idm_users", sql, time).await,
        )
        .await?;
        let floor = "its SQL by pgbench";
        report.compared(name, Figure::milliseconds, &compared, floor, Target::AtMost(2.0));
    }
    if report.wants(DEEP) {
        let [first, deep] = ["/subject", "/subject?offset=49950"];
        let compared: Compared = compare(
            stage.time / 2,
            async |time| p50(&running, deep, &token, time).await,
            async |time| p50(&running, first, &token, time).await,
        )
        .await?;
        report.compared(
            DEEP,
            Figure::milliseconds,
            &compared,
            "page 1",
            Target::AtMost(3.0),
        );
    }
    Ok(())
}

async fn p50(running: &Running, path: &str, token: &str, time: std::time::Duration) -> Result<f64, Failure> {
    let script = Script::same("GET", path, &[("Authorization", token)], "");
    Ok(script.run(&running.url, 1, time).await?.p50_ms)
}

/// A process with so many subjects in a new database, and the header of somebody who has signed in.
pub async fn start(stage: &Stage, database: &str, subjects: u32) -> Result<(Running, String), Failure> {
    let settings = [
        "jwt.secret=0123456789abcdef0123456789abcdef".to_owned(),
        "mail.transport=none".to_owned(),
    ];
    stage.database(database).await?;
    let running = stage.start("idm-users", database, &settings).await?;
    stage
        .fill(database, "idm_users.subjects", &subjects_sql(subjects))
        .await?;
    let mut create = stage
        .command("idm-users", database, &settings)
        .args([
            "users",
            "create",
            "--username",
            USERNAME,
            "--admin",
            "--password-stdin",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Failure::because("making a user", error))?;
    let mut stdin = create.stdin.take();
    if let Some(stdin) = &mut stdin {
        writeln!(stdin, "{PASSWORD}").map_err(|error| Failure::because("making a user", error))?;
    }
    drop(stdin);
    let made = create
        .wait()
        .map_err(|error| Failure::because("making a user", error))?;
    if !made.success() {
        return Err(Failure::Other("the user of idm-users cannot be made".to_owned()));
    }
    let failed = |error| Failure::because("signing in at idm-users", error);
    let body = json!({"username": USERNAME, "password": PASSWORD});
    let request = stage.client.post(format!("{}/auth", running.url)).json(&body);
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    let answer: Value = answer.map_err(failed)?.json().await.map_err(failed)?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    Ok((running, format!("JWT {token}")))
}

/// A name for `n`: one of forty first names, and one of some 13,000 last names, both at random but the same in each run.
pub const NAME: &str = "
    (ARRAY['Anna','Ben','Cem','Dora','Emil','Fatima','Georg','Hana','Ivan','Jana','Kofi','Lena','Mei','Nils','Olga','Pavel',
           'Rosa','Sven','Tara','Uma','Viktor','Wei','Ximena','Yusuf','Zoe','Amir','Bea','Carl','Diana','Elif','Finn','Gita',
           'Hugo','Ines','Jonas','Karla','Luis','Marta','Noah','Oskar'])[1 + abs(hashint8extended(n, 1) % 40)] || ' ' ||
    initcap((ARRAY['mei','ta','ok','gar','no','sil','lar','ros','du','ka','ber','hof','win','stei','bach'])
                  [1 + abs(hashint8extended(n, 2) % 15)]
         || (ARRAY['a','i','o','u','e','ar','en','or','al','un'])[1 + abs(hashint8extended(n, 3) % 10)]
         || (ARRAY['moto','for','cia','vak','va','sen','si','bois','ya','ger','mann','ter','feld','nik','lund'])
                  [1 + abs(hashint8extended(n, 4) % 15)]
         || (ARRAY['','s','n','er','ow','i'])[1 + abs(hashint8extended(n, 5) % 6)])";

/// Inserts subjects with what the service computes when it writes one.
fn subjects_sql(count: u32) -> String {
    format!(
        "SET search_path = idm_users;
         INSERT INTO subjects (sssid, name, bday, bday_at, email, date_invited, invited_at, created, changed,
                               sssid_key, name_key, name_grams, name_order, email_order)
         SELECT 'SCC-' || lpad(n::text, 7, '0'), name, d::text, d::timestamptz, email,
                CASE WHEN n % 3 > 0 THEN '2026-01-01' END, CASE WHEN n % 3 > 0 THEN timestamptz '2026-01-01Z' END,
                now() - n * interval '1 s', now(), 'scc-' || lpad(n::text, 7, '0'), lower(name),
                ARRAY(SELECT DISTINCT substr(lower(name), i, 3) FROM generate_series(1, length(name) - 2) i),
                lower(name), email
         FROM (SELECT n, {NAME} AS name, 'p' || n || '@example.org' AS email, date '1930-01-01' + n % 25000 AS d
               FROM generate_series(1, {count}) n) people"
    )
}

const COLUMNS: &str = "sssid, name, bday, bday_at, email, date_invited, invited_at, date_consented, consented_at, \
    date_enrolled, enrolled_at, date_withdrawn, withdrawn_at, enrolled_by_hand, withdrawn_by_hand, extra, created, changed";

fn lists() -> Vec<List> {
    let list = |name, path, sql| List { name, path, sql };
    vec![
        list(PAGE_1, "/subject", page("sssid", 0)),
        list(PAGE_1000, "/subject?offset=49950", page("sssid", 49_950)),
        list(
            "idm-users list of subjects by name, page 1,000",
            "/subject?ordercol=name&offset=49950",
            page("name_order", 49_950),
        ),
        list(
            "idm-users search by part of a name, some found",
            "/subject?search=ena%20meiamoto",
            searched("ena meiamoto"),
        ),
        list(
            "idm-users search by part of a name, 2,500 found",
            "/subject?search=mei%20",
            searched("mei "),
        ),
        list(
            "idm-users search by two letters of a name",
            "/subject?search=me",
            searched("me"),
        ),
    ]
}

/// The statements of a page.
fn page(order: &str, offset: u32) -> String {
    format!(
        "SELECT count(*) FROM subjects WHERE true;\n\
         SELECT {COLUMNS} FROM (SELECT sssid AS wanted FROM subjects WHERE true ORDER BY {order}, sssid \
         LIMIT 50 OFFSET {offset}) page JOIN subjects ON sssid = wanted ORDER BY {order}, sssid;\n"
    )
}

/// The statement of a search.
fn searched(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let grams: Vec<String> = characters
        .windows(3)
        .map(|three| format!("'{}'", three.iter().collect::<String>()))
        .collect();
    let by_grams = if grams.is_empty() {
        String::new()
    } else {
        format!("name_grams @> ARRAY[{}] AND ", grams.join(","))
    };
    format!(
        "WITH found AS MATERIALIZED (SELECT sssid AS wanted, sssid AS place FROM subjects \
         WHERE true AND (sssid_key LIKE '{text}%' OR bday LIKE '{text}%' OR {by_grams}strpos(name_key, '{text}') > 0)), \
         page AS (SELECT * FROM found ORDER BY place, wanted LIMIT 50) \
         SELECT {COLUMNS}, counted FROM (SELECT count(*) AS counted FROM found) total \
         LEFT JOIN (page JOIN subjects ON sssid = wanted) ON true ORDER BY place, wanted;\n"
    )
}
