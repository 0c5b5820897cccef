//! Each preset against a provider that behaves as the one it is for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_testkit::{Answer, Refreshing, Ways};
use reqwest::StatusCode;
use serde_json::json;

use crate::visitor::{Visitor, location, parameter};
use crate::world::{World, kind};

/// A service whose provider `p` has the preset, at our own provider's address, with an account linked there.
async fn linked(
    preset: &str,
    by_hand: bool,
    change: impl FnOnce(&mut Ways),
) -> (World, Visitor, reqwest::Url) {
    let mut settings = vec![
        format!("providers.p.preset={preset}"),
        "providers.p.client_id=tokenstore".to_owned(),
        "providers.p.client_secret=a secret/of+ours".to_owned(),
        "session.idle=1000d".to_owned(),
        "session.lifetime=1000d".to_owned(),
    ];
    if by_hand {
        settings.push("providers.p.authorization_endpoint=IDP/authorize".to_owned());
        settings.push("providers.p.token_endpoint=IDP/token".to_owned());
        settings.push("providers.p.userinfo_endpoint=IDP/userinfo".to_owned());
    } else {
        settings.push("providers.p.discovery_url=IDP".to_owned());
    }
    let given: Vec<&str> = settings.iter().map(String::as_str).collect();
    let world = World::start(&given).await;
    world.idp.change(change);
    let ada = world.signed_in("ada").await;
    let asked = location(&ada.get("/api/v1.0/p/authorize").await).unwrap();
    ada.link("p").await;
    (world, ada, asked)
}

/// Turns the clock to the next look, and tells whether there were so many refreshes.
fn kept_alive(world: &World, refreshes: usize) -> Option<()> {
    world.advance(601);
    (world.idp.refreshes() == refreshes).then_some(())
}

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn google_gives_a_refresh_token_for_offline_access_and_consent_and_keeps_it() {
    let (world, ada, asked) = linked("google", false, |ways| ways.refreshing = Refreshing::Keeping).await;
    assert_eq!(parameter(&asked, "access_type").as_deref(), Some("offline"));
    assert_eq!(parameter(&asked, "prompt").as_deref(), Some("consent"));
    assert!(!parameter(&asked, "scope").unwrap().contains("offline_access"));
    for _ in 0..3 {
        world.advance(3600);
        ada.token("p").await;
    }
}

#[tokio::test]
async fn github_s_access_token_is_the_link_and_its_errors_have_status_200() {
    let (world, ada, asked) = linked("github", true, |ways| {
        ways.openid = false;
        ways.refreshing = Refreshing::Never;
        ways.expires_in = None;
        ways.token = Answer::With(json!({"scope": "read:user,gist"}));
    })
    .await;
    assert_eq!(parameter(&asked, "scope").as_deref(), Some("read:user"));
    world.advance(300 * DAY);
    assert_eq!(ada.token("p").await["scope"], "read:user gist");
    assert_eq!(ada.json("/api/v1.0/authorizations").await[1]["account"], "ada");
    let wrong =
        r#"{"error": "bad_verification_code", "error_description": "The code is incorrect or expired."}"#;
    world
        .idp
        .change(|ways| ways.token = Answer::Fixed(200, wrong.into()));
    let back = ada.to_callback("p").await;
    let to = location(&ada.get(back.as_str()).await).unwrap();
    assert_eq!(parameter(&to, "error").as_deref(), Some("invalid_grant"));
}

#[tokio::test]
async fn a_github_app_s_refresh_token_is_used_once_and_kept_alive() {
    let (world, ada, _) = linked("github-app", true, |ways| {
        ways.openid = false;
        ways.expires_in = Some(28_800);
        ways.token = Answer::With(json!({"refresh_token_expires_in": 15_811_200}));
    })
    .await;
    assert!(ada.json("/api/v1.0/authorizations").await[1]["expires_at"].is_string());
    world.advance(28_800);
    ada.token("p").await;
    world.advance(61 * DAY);
    identity_testkit::eventually("it is kept alive", async || kept_alive(&world, 2)).await;
    ada.token("p").await;
    world.advance(28_800);
    let wrong = r#"{"error": "bad_refresh_token"}"#;
    world
        .idp
        .change(|ways| ways.token = Answer::Fixed(200, wrong.into()));
    assert_eq!(
        kind(ada.get("/api/v1.0/p/token").await, StatusCode::CONFLICT).await,
        "reauthorization_required"
    );
}

#[tokio::test]
async fn gitlab_rotates_without_being_asked_for_offline_access() {
    let (world, ada, asked) = linked("gitlab", false, |ways| ways.expires_in = Some(7200)).await;
    assert_eq!(parameter(&asked, "prompt"), None);
    assert_eq!(
        parameter(&asked, "scope").as_deref(),
        Some("openid email read_user")
    );
    for _ in 0..3 {
        world.advance(7200);
        ada.token("p").await;
    }
    assert_eq!(world.idp.refreshes(), 3);
}

#[tokio::test]
async fn microsoft_takes_the_secret_in_the_form_and_links_are_kept_alive() {
    let (world, ada, asked) = linked("microsoft", false, |_| {}).await;
    assert!(parameter(&asked, "scope").unwrap().contains("offline_access"));
    assert_eq!(world.idp.requests()[0]["client_secret"], "a secret/of+ours");
    world.advance(31 * DAY);
    identity_testkit::eventually("it is kept alive", async || kept_alive(&world, 1)).await;
    ada.token("p").await;
}

#[tokio::test]
async fn orcid_s_tokens_last_for_years() {
    let (world, ada, asked) = linked("orcid", false, |ways| ways.expires_in = Some(631_138_518)).await;
    assert!(parameter(&asked, "scope").unwrap().contains("/read-limited"));
    world.advance(900 * DAY);
    ada.token("p").await;
    assert_eq!(world.idp.refreshes(), 0);
}

#[tokio::test]
async fn keycloak_s_offline_token_has_no_end() {
    let (world, ada, asked) = linked("keycloak", false, |ways| {
        ways.refreshing = Refreshing::Keeping;
        ways.expires_in = Some(300);
        ways.token = Answer::With(json!({"refresh_expires_in": 0, "not-before-policy": 0}));
    })
    .await;
    assert!(parameter(&asked, "scope").unwrap().contains("offline_access"));
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[1]["expires_at"],
        serde_json::Value::Null
    );
    world.advance(300);
    ada.token("p").await;
}

#[tokio::test]
async fn okta_rotates_what_offline_access_brings() {
    let (world, ada, asked) = linked("okta", false, |_| {}).await;
    assert!(parameter(&asked, "scope").unwrap().contains("offline_access"));
    world.advance(3600);
    ada.token("p").await;
    assert_eq!(world.idp.refreshes(), 1);
}

#[tokio::test]
async fn slack_says_no_with_status_200_and_scopes_with_commas() {
    let (world, ada, _) = linked("slack", true, |ways| {
        ways.openid = false;
        ways.expires_in = Some(43_200);
        ways.token = Answer::With(json!({"ok": true, "scope": "users:read,chat:write"}));
    })
    .await;
    assert_eq!(ada.token("p").await["scope"], "users:read chat:write");
    world.advance(43_200);
    let wrong = r#"{"ok": false, "error": "token_revoked"}"#;
    world
        .idp
        .change(|ways| ways.token = Answer::Fixed(200, wrong.into()));
    assert_eq!(
        kind(ada.get("/api/v1.0/p/token").await, StatusCode::CONFLICT).await,
        "reauthorization_required"
    );
}
