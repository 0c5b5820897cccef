//! Records of ident.

use identity_core::failure::Failure;

use super::{SIZES, Urls, level, quick};
use crate::ident::settings;
use crate::idm_users::NAME;
use crate::load::Script;
use crate::report::Report;
use crate::stage::{Running, Stage};

const BY_ID: &str = "growth: ident GET /{id}";
const BY_EMAIL: &str = "growth: ident GET /?email=";
const BY_ACCOUNT: &str = "growth: ident GET /?service=&service_id=";
const PAGE: &str = "growth: ident a page of 50 behind an id";
const SEARCH: &str = "growth: ident name search among 1,000,000";

/// Adds the rows.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    if !report.wants_any(&[BY_ID, BY_EMAIL, BY_ACCOUNT, PAGE, SEARCH]) {
        return Ok(());
    }
    let mut running = Vec::new();
    for size in SIZES {
        running.push(start(stage, size).await?);
    }
    let urls: Urls =
        std::array::from_fn(|index| running.get(index).map(|it| it.url.clone()).unwrap_or_default());
    let get =
        |path: &str, size: u32| Script::get(&format!("string.format('{path}', math.random(1, {size}))"), &[]);
    level(stage, report, &urls, BY_ID, |size| get("/%d", size)).await?;
    let email = |size| get("/?email=p%d@example.org", size);
    level(stage, report, &urls, BY_EMAIL, email).await?;
    let account = |size| get("/?service=github&service_id=a%d", size);
    level(stage, report, &urls, BY_ACCOUNT, account).await?;
    // Behind any id but the last fifty, so that all pages are full.
    let page = |size| get("/?page_size=50&after_id=%d", size - 50);
    level(stage, report, &urls, PAGE, page).await?;
    let search = |text: &str| Script::same("GET", &format!("/?name={text}"), &[], "");
    let searches = [
        ("a rare last name", search("meiamotos")),
        ("a first name of 25,000", search("anna")),
        (
            "a first name and the beginning of a last one",
            search("anna%20mei"),
        ),
        ("the beginnings of two names", search("j%20ga")),
        ("one letter", search("m")),
        ("a name that nobody has", search("anna%20zzz")),
    ];
    quick(stage, report, &urls, SEARCH, &searches).await
}

async fn start(stage: &Stage, size: u32) -> Result<Running, Failure> {
    let database = format!("ident_{size}");
    stage.database(&database).await?;
    let settings = settings(&["auth.records=open"]);
    let running = stage.start("ident", &database, &settings).await?;
    let people = format!(
        "INSERT INTO ident.users (name, name_words, email, email_key, created_at, updated_at)
         SELECT name, to_tsvector('simple', lower(name)), email, email, now(), now()
         FROM (SELECT n, {NAME} AS name, 'p' || n || '@example.org' AS email FROM generate_series(1, {size}) n) people
         ORDER BY n"
    );
    stage.fill(&database, "ident.users", &people).await?;
    let accounts = "INSERT INTO ident.linked_accounts (user_id, service, account_id)
                    SELECT id, service, 'a' || id FROM ident.users, unnest(ARRAY['github', 'orcid']) service";
    stage.fill(&database, "ident.linked_accounts", accounts).await?;
    Ok(running)
}
