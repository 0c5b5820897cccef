//! How large the services are: on disk, in memory, in time until they serve.

use identity_core::failure::Failure;

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
    Ok(())
}
