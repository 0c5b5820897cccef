//! Records: read, with and without a token, and written.

use identity_core::failure::Failure;

use super::{CONNECTIONS, DATABASE, FLOOR_DATABASE, PEOPLE, prepare, settings, sign_in};
use crate::load::Script;
use crate::pgbench;
use crate::receiver::Receiver;
use crate::report::{Figure, Report, Target};
use crate::rounds::compare;
use crate::stage::{Running, Stage};

const GET: &str = "ident GET /{id}";
const POST: &str = "ident POST /";
const PATCH: &str = "ident PATCH /{id}";
const BEARER: &str = "ident GET /{id} with a bearer";

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if report.wants(GET) {
        read(stage, report).await?;
    }
    if report.wants_any(&[POST, PATCH]) {
        write(stage, report).await?;
    }
    if report.wants(BEARER) {
        protected(stage, report).await?;
    }
    Ok(())
}

/// A record by its id, at random.
pub fn get_script(token: Option<&str>) -> Script {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("Authorization", bearer.as_str()))
        .collect();
    Script::get(&format!("'/' .. math.random(1, {PEOPLE})"), &headers)
}

/// A process that shows records to everybody.
pub async fn open(stage: &Stage) -> Result<Running, Failure> {
    prepare(stage).await?;
    stage
        .start("ident", DATABASE, &settings(&["auth.records=open"]))
        .await
}

async fn read(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let (running, get) = (open(stage).await?, get_script(None));
    let select = format!(
        "\\set id random(1, {PEOPLE})\n\
         SELECT u.id, u.name, u.email, u.version,
             (SELECT json_object_agg(a.service, a.account_id) FROM ident.linked_accounts a WHERE a.user_id = u.id)
         FROM ident.users u WHERE u.id = :id;\n"
    );
    get.warm_up(&running.url, CONNECTIONS, stage.time).await?;
    let compared = compare(
        stage.time,
        async |time| get.rate(&running.url, CONNECTIONS, time).await,
        async |time| pgbench::rate(&stage.postgres, DATABASE, &select, 8, time).await,
    )
    .await?;
    let floor = "pgbench -c 8 of its SELECT";
    report.compared(GET, Figure::per_second, &compared, floor, Target::AtLeast(0.65));
    Ok(())
}

async fn write(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    prepare(stage).await?;
    let post = Script::changing(
        "local run = os.time()\n\
         local headers = {['Content-Type'] = 'application/json'}\n\
         function request()\n\
           local body = string.format('{\"name\": \"Robb Stark\", \"email\": \"w%d-%d@example.org\"}', run, N())\n\
           return wrk.format('POST', '/', headers, body)\n\
         end",
    );
    let patch = Script::changing(&format!(
        "local headers = {{['Content-Type'] = 'application/merge-patch+json'}}\n\
         function request()\n\
           local body = string.format('{{\"name\": \"Robb Stark the %dth\"}}', N())\n\
           return wrk.format('PATCH', '/' .. math.random(1, {PEOPLE}), headers, body)\n\
         end"
    ));
    // Every event is delivered meanwhile, to a receiver that takes all.
    let receiver = Receiver::start().await?;
    let told = format!("notifications.url={}/{{user_id}}", receiver.url);
    let secret = "notifications.secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let settings = settings(&["auth.records=open", &told, secret]);
    let running = stage.start("ident", DATABASE, &settings).await?;
    for (name, script, target) in [(POST, post, 0.45), (PATCH, patch, 0.3)] {
        if !report.wants(name) {
            continue;
        }
        script.warm_up(&running.url, CONNECTIONS, stage.time).await?;
        let compared = compare(
            stage.time,
            async |time| script.rate(&running.url, CONNECTIONS, time).await,
            async |time| pgbench::rate(&stage.postgres, FLOOR_DATABASE, INSERT, 16, time).await,
        )
        .await?;
        let floor = "pgbench -c 16 of the insert with its event";
        report.compared(
            name,
            Figure::per_second,
            &compared,
            floor,
            Target::AtLeast(target),
        );
    }
    Ok(())
}

const INSERT: &str = "\\set n random(1, 9000000000000000)
WITH u AS (INSERT INTO ident.users (name, name_words, email, email_key, created_at, updated_at)
           VALUES ('Robb Stark', '''robb'' ''stark'''::tsvector, 'b' || (:n)::text || '@example.org',
                   'b' || (:n)::text || '@example.org', now(), now()) RETURNING id),
     e AS (INSERT INTO ident.user_events (user_id, webhook_id, type, payload, created_at, next_attempt_at)
           SELECT u.id, gen_random_uuid(), 'new', '{\"name\": \"Robb Stark\"}', now(), now()
           FROM u)
SELECT id FROM u;
";

async fn protected(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let (unprotected, get) = (open(stage).await?, get_script(None));
    let running = stage.start("ident", DATABASE, &settings(&[])).await?;
    let token = sign_in(stage, &running).await?;
    let with_token = get_script(Some(&token));
    get.warm_up(&unprotected.url, CONNECTIONS, stage.time).await?;
    with_token.warm_up(&running.url, CONNECTIONS, stage.time).await?;
    let compared = compare(
        stage.time,
        async |time| with_token.rate(&running.url, CONNECTIONS, time).await,
        async |time| get.rate(&unprotected.url, CONNECTIONS, time).await,
    )
    .await?;
    let floor = "the same GET unprotected";
    report.compared(BEARER, Figure::per_second, &compared, floor, Target::AtLeast(0.8));
    Ok(())
}
