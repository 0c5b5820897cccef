//! Links of tokenstore, each of another person, who has an API key.

use identity_core::crypto::fernet::{Keys, Raw};
use identity_core::failure::Failure;
use identity_testkit::Provider;

use super::{SIZES, Urls, level};
use crate::load::Script;
use crate::report::Report;
use crate::stage::{Running, Stage};
use crate::tokenstore::linking::{KEY, PATH, settings};

const TOKEN: &str = "growth: tokenstore GET token, still fresh";
/// How many links are inserted at once.
const PART: usize = 20_000;

/// Adds the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants(TOKEN) {
        return Ok(());
    }
    let provider = Provider::start();
    let mut running = Vec::new();
    for size in SIZES {
        running.push(start(stage, &provider, size).await?);
    }
    let urls: Urls =
        std::array::from_fn(|index| running.get(index).map(|it| it.url.clone()).unwrap_or_default());
    level(stage, report, &urls, TOKEN, |size| {
        Script::changing(&format!(
            "function request()\n\
               local bearer = string.format('Bearer tsk_%043d', math.random(1, {size}))\n\
               return wrk.format('GET', {PATH:?}, {{Authorization = bearer}})\n\
             end"
        ))
    })
    .await
}

async fn start(stage: &Stage, provider: &Provider, size: u32) -> Result<Running, Failure> {
    let database = format!("tokenstore_of_{size}");
    stage.database(&database).await?;
    let running = stage.start("tokenstore", &database, &settings(provider)).await?;
    // A key's first use in a minute is written down: among a million keys each would be the first.
    let keys = format!(
        "INSERT INTO tokenstore.api_keys (issuer, subject, id, digest, name, profile, created_at, last_used_at)
         SELECT '{}', 'person-' || n, gen_random_uuid(),
                encode(sha256(convert_to('tsk_' || lpad(n::text, 43, '0'), 'UTF8')), 'hex'), 'bench', '{{}}', now(),
                now() + interval '1 day'
         FROM generate_series(1, {size}) n",
        provider.url
    );
    stage.fill(&database, "tokenstore.api_keys", &keys).await?;
    insert_links(stage, &database, &provider.url, size).await?;
    // Its statistics, and its indexes as they are after a while.
    stage.fill(&database, "tokenstore.links", "").await?;
    Ok(running)
}

/// Links with tokens that are encrypted as the service does it: bound to their row.
async fn insert_links(stage: &Stage, database: &str, issuer: &str, size: u32) -> Result<(), Failure> {
    let failed = |error| Failure::because("making links", error);
    let keys = Keys::parse(&[KEY.to_owned().into()], Raw::Refused);
    let keys = keys.map_err(|error| Failure::because("reading the key", error))?;
    let client = stage.connect(database).await?;
    client
        .batch_execute("SET synchronous_commit = off")
        .await
        .map_err(failed)?;
    let sql = "INSERT INTO tokenstore.links (issuer, subject, provider, refresh_token, access_token, token_type, scopes,
                   obtained_at, access_expires_at, linked_at)
               SELECT $1, subject, 'cloud', refresh, access, 'Bearer', '{openid}', now(), now() + interval '1 day', now()
               FROM unnest($2::text[], $3::text[], $4::text[]) links (subject, refresh, access)";
    let insert = client.prepare(sql).await.map_err(failed)?;
    let people: Vec<u32> = (1..=size).collect();
    for part in people.chunks(PART) {
        let subjects: Vec<String> = part.iter().map(|n| format!("person-{n}")).collect();
        let sealed = |column: &str| -> Vec<String> {
            let seal = |subject: &String| {
                let place = format!("tokenstore.links.{column}/{issuer:?}/{subject:?}/\"cloud\"");
                keys.seal(
                    &place,
                    format!("a token of {subject}, as long as one is").as_bytes(),
                )
            };
            subjects.iter().map(seal).collect()
        };
        let (refresh, access) = (sealed("refresh_token"), sealed("access_token"));
        client
            .execute(&insert, &[&issuer, &subjects, &refresh, &access])
            .await
            .map_err(failed)?;
    }
    Ok(())
}
