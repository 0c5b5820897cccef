//! Subjects and links of idm-users.

use identity_core::failure::Failure;

use super::{SIZES, Urls, level, quick};
use crate::idm_users;
use crate::load::Script;
use crate::report::Report;
use crate::stage::Stage;

const SUBJECT: &str = "growth: idm-users GET /subject/{sssid}";
const LINK: &str = "growth: idm-users GET /link/{id}";
const LINKS: &str = "growth: idm-users GET /subject/{sssid}/links";
const SEARCH: &str = "growth: idm-users name search among 1,000,000";

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants_any(&[SUBJECT, LINK, LINKS, SEARCH]) {
        return Ok(());
    }
    let (mut running, mut tokens) = (Vec::new(), Vec::new());
    for size in SIZES {
        let database = format!("idm_users_{size}");
        let (started, token) = idm_users::start(stage, &database, size).await?;
        let links = "INSERT INTO idm_users.links (id, sssid, iss, aud, algorithm, created, changed)
                     SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(row_number() OVER (ORDER BY sssid)), 12, '0'))::uuid,
                            sssid, 'idm-users', 'app', 'HS256', now(), now()
                     FROM idm_users.subjects";
        stage.fill(&database, "idm_users.links", links).await?;
        running.push(started);
        tokens.push(token);
    }
    let urls: Urls =
        std::array::from_fn(|index| running.get(index).map(|it| it.url.clone()).unwrap_or_default());
    let token = |size: u32| {
        let index = SIZES.iter().position(|known| *known == size);
        index
            .and_then(|index| tokens.get(index))
            .map_or("", String::as_str)
    };
    let get = |path: &str, size: u32| {
        let path = format!("string.format('{path}', math.random(1, {size}))");
        Script::get(&path, &[("Authorization", token(size))])
    };
    level(stage, report, &urls, SUBJECT, |size| {
        get("/subject/SCC-%07d", size)
    })
    .await?;
    let link = |size| get("/link/00000000-0000-4000-8000-%012x", size);
    level(stage, report, &urls, LINK, link).await?;
    let links = |size| get("/subject/SCC-%07d/links", size);
    level(stage, report, &urls, LINKS, links).await?;
    if report.wants(SEARCH) {
        // Each process takes its own tokens only.
        let [.., large] = SIZES;
        let searched = |text: &str| {
            let header = [("Authorization", token(large))];
            Script::same("GET", &format!("/subject?search={text}"), &header, "")
        };
        let searches = [
            ("some found", searched("ena%20meiamoto")),
            ("a whole name", searched("anna%20meiamotos")),
            ("nobody found", searched("anna%20zzz")),
        ];
        quick(stage, report, &urls, SEARCH, &searches).await?;
    }
    Ok(())
}
