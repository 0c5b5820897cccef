//! How large the services are: on disk, in memory at rest and under load, in time until they serve.

use identity_core::failure::Failure;

use crate::ident;
use crate::report::{Figure, Report, Target};
use crate::stage::Stage;

/// The services, with what each needs to start.
const SERVICES: [(&str, &[&str]); 4] = [
    (
        "ident",
        &["database.encryption_key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="],
    ),
    (
        "tokenstore",
        &[
            "crypto_keys=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "oidc.discovery_url=http://127.0.0.1:9/.well-known/openid-configuration",
            "oidc.client_id=tokenstore",
            "oidc.client_secret=secret",
            "outgoing.allow_private=true",
        ],
    ),
    (
        "idm-users",
        &[
            "jwt.secret=0123456789abcdef0123456789abcdef",
            "mail.transport=none",
        ],
    ),
    ("eida-auth", &["runmode=test"]),
];

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    for (service, settings) in SERVICES {
        let name = |what: &str| format!("{service}: {what}");
        if !report.wants(&name("size")) {
            continue;
        }
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let about = std::fs::metadata(stage.binaries.join(service));
        let bytes = about
            .map_err(|error| Failure::because("reading the binary's size", error))?
            .len();
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        let mebibytes = bytes as f64 / 1024.0 / 1024.0;
        let limit = |value| (value, "allowed");
        report.add(
            &name("size of the binary, stripped"),
            Figure::mebibytes(mebibytes),
            limit(Figure::mebibytes(15.0)),
            Target::AtMost(1.0),
        );
        let database = format!("size_{}", service.replace('-', "_"));
        stage.database(&database).await?;
        // The first start makes the schema.
        drop(stage.start(service, &database, &settings).await?);
        let mut starts = Vec::new();
        for _ in 0..7 {
            starts.push(stage.start(service, &database, &settings).await?.started_in);
        }
        starts.sort_unstable();
        let median = starts.get(starts.len() / 2).copied().unwrap_or_default();
        report.add(
            &name("size of the wait from start to ready, schema in place"),
            Figure::milliseconds(median.as_secs_f64() * 1e3),
            limit(Figure::milliseconds(150.0)),
            Target::AtMost(1.0),
        );
        let running = stage.start(service, &database, &settings).await?;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        if let Some(memory) = running.memory() {
            report.add(
                &name("size of the memory at rest"),
                Figure::mebibytes(memory),
                limit(Figure::mebibytes(20.0)),
                Target::AtMost(1.0),
            );
        }
    }
    under_logins(stage, report).await
}

/// How many sign in at once.
const LOGINS: u32 = 500;

/// The memory that N hashes at once need, and what everything else does.
async fn under_logins(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    let name = "ident: size of the memory under 500 logins in flight";
    if !report.wants(name) {
        return Ok(());
    }
    ident::prepare(stage).await?;
    // They all wait, where by default what comes beyond 64 is answered 503.
    let settings = ident::settings(&["auth.password.queue=500"]);
    let running = stage.start("ident", ident::DATABASE, &settings).await?;
    let time = stage.time.max(std::time::Duration::from_secs(10));
    ident::logins::login_script()
        .run(&running.url, LOGINS, time)
        .await?;
    if let Some(memory) = running.peak_memory() {
        let hashes = std::thread::available_parallelism().map_or(1, usize::from);
        let hashes = u32::try_from(hashes).unwrap_or(u32::MAX);
        let allowed = 20.0 + 19.0 * f64::from(hashes);
        let floor = format!("allowed (20 + {hashes} × 19)");
        report.add(
            name,
            Figure::mebibytes(memory),
            (Figure::mebibytes(allowed), &floor),
            Target::AtMost(1.0),
        );
    }
    Ok(())
}
