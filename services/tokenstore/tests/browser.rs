//! The page in a real browser, with real providers behind it: everything by clicking.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "the tests over HTTP use all of it")]
#[path = "http/visitor.rs"]
mod visitor;
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
#[path = "http/world.rs"]
mod world;

use std::time::Duration;

use identity_testkit::{Browser, Colours, Refreshing, Window, eventually};
use thirtyfour::{By, Key, WebDriver, WebElement};
use world::World;

/// A service with three providers, and a browser in front of it; everybody is asked.
async fn opened() -> (World, Browser) {
    let world = World::start(&[
        "providers.idp1.metadata.name=Research Cloud",
        "providers.idp1.metadata.description=Computing and storage of your institute",
        "providers.idp1.metadata.url=https://cloud.example.org/",
        "providers.hub.preset=github",
        "providers.hub.authorization_endpoint=IDP/authorize",
        "providers.hub.token_endpoint=IDP/token",
        "providers.hub.userinfo_endpoint=IDP/userinfo",
        "providers.hub.client_id=tokenstore",
        "providers.hub.client_secret=a secret/of+ours",
        "providers.hub.metadata.description=Where your code is",
        "providers.orcid.preset=orcid",
        "providers.orcid.discovery_url=http://127.0.0.1:9",
        "providers.orcid.client_id=tokenstore",
        "providers.orcid.metadata.description=Your identity as a researcher",
    ])
    .await;
    world.login.change(|ways| {
        ways.asks = true;
        ways.title = "Sign in to Example".into();
    });
    world.idp.change(|ways| {
        ways.asks = true;
        ways.title = "Research Cloud".into();
    });
    let browser = Browser::start().await;
    browser
        .page
        .set_implicit_wait_timeout(Duration::from_secs(10))
        .await
        .unwrap();
    browser.prefer(Colours::Light).await;
    browser.resize(Window::Wide).await;
    (world, browser)
}

/// What the page says, as far as it is one at the moment.
async fn text(page: &WebDriver) -> String {
    let body = async { page.find(By::Tag("body")).await?.text().await };
    body.await.unwrap_or_default()
}

/// Waits until the page says `words`.
async fn says(page: &WebDriver, words: &str) {
    eventually(words, async || text(page).await.contains(words).then_some(())).await;
}

/// Waits until an element says `words`.
async fn card_says(page: &WebDriver, id: &str, words: &str) {
    eventually(words, async || {
        let card = async { page.find(By::Id(id)).await?.text().await };
        card.await.unwrap_or_default().contains(words).then_some(())
    })
    .await;
}

async fn link(page: &WebDriver, words: &str) -> WebElement {
    page.find(By::XPath(format!("//a[contains(normalize-space(.), '{words}')]")))
        .await
        .unwrap()
}

async fn button(page: &WebDriver, words: &str) -> WebElement {
    page.find(By::XPath(format!(
        "//button[contains(normalize-space(.), '{words}')]"
    )))
    .await
    .unwrap()
}

async fn sign_in(world: &World, page: &WebDriver) {
    page.goto(&world.tokenstore.url).await.unwrap();
    link(page, "Sign in").await.click().await.unwrap();
    button(page, "Ada Ameland").await.click().await.unwrap();
    page.find(By::Id("accounts")).await.unwrap();
}

async fn connect(page: &WebDriver, provider: &str) {
    link(page, &format!("Connect {provider}"))
        .await
        .click()
        .await
        .unwrap();
    button(page, "Ada Ameland").await.click().await.unwrap();
    page.find(By::Id("accounts")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver"]
async fn a_person_signs_in_links_accounts_and_signs_out_by_clicking() {
    let (world, browser) = opened().await;
    let page = &browser.page;
    page.goto(&world.tokenstore.url).await.unwrap();
    says(page, "Sign in to connect accounts").await;
    browser.screenshots("tokenstore-stranger").await;
    sign_in(&world, page).await;
    says(page, "Not connected").await;

    connect(page, "Research Cloud").await;
    card_says(page, "provider-idp1", "ada@example.org").await;
    world.idp.change(|ways| {
        ways.openid = false;
        ways.refreshing = Refreshing::Never;
        ways.expires_in = None;
    });
    connect(page, "GitHub").await;
    card_says(page, "provider-hub", "✓ Connected").await;
    browser.screenshots("tokenstore-linked").await;

    // What the provider took back is shown, and mended by reconnecting.
    world.idp.change(|ways| {
        ways.openid = true;
        ways.refreshing = Refreshing::Rotating;
        ways.expires_in = Some(3600);
    });
    world.idp.forget_grants();
    world.advance(3600);
    let token = format!("{}/api/v1.0/idp1/token", world.tokenstore.url);
    page.goto(&token).await.unwrap();
    says(page, "Conflict").await;
    page.goto(&world.tokenstore.url).await.unwrap();
    says(page, "Reconnect needed").await;
    browser.screenshots("tokenstore-broken").await;
    link(page, "Reconnect Research Cloud")
        .await
        .click()
        .await
        .unwrap();
    button(page, "Do not allow").await.click().await.unwrap();
    says(page, "You did not allow the connection").await;
    browser.screenshots("tokenstore-denied").await;
    link(page, "Reconnect Research Cloud")
        .await
        .click()
        .await
        .unwrap();
    button(page, "Ada Ameland").await.click().await.unwrap();
    card_says(page, "provider-idp1", "✓ Connected").await;

    // Disconnecting asks first.
    link(page, "Disconnect GitHub").await.click().await.unwrap();
    says(page, "Disconnect GitHub?").await;
    browser.screenshots("tokenstore-disconnect").await;
    link(page, "Keep it").await.click().await.unwrap();
    card_says(page, "provider-hub", "✓ Connected").await;
    link(page, "Disconnect GitHub").await.click().await.unwrap();
    says(page, "Disconnect GitHub?").await;
    button(page, "Disconnect").await.click().await.unwrap();
    card_says(page, "provider-hub", "Not connected").await;

    button(page, "Sign out").await.click().await.unwrap();
    says(page, "Sign in to connect accounts").await;
    page.goto(format!("{}/api/whoami", world.tokenstore.url))
        .await
        .unwrap();
    assert!(!text(page).await.contains("ada@example.org"));
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver"]
async fn a_key_is_made_copied_and_revoked_by_clicking() {
    let (world, browser) = opened().await;
    let page = &browser.page;
    sign_in(&world, page).await;
    connect(page, "Research Cloud").await;
    page.find(By::Id("key-name"))
        .await
        .unwrap()
        .send_keys("Nightly backup")
        .await
        .unwrap();
    button(page, "Make a key").await.click().await.unwrap();
    let key = page.find(By::Id("new-key")).await.unwrap().text().await.unwrap();
    browser.screenshots("tokenstore-key").await;
    let token = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(token.status(), 200);
    page.goto(&world.tokenstore.url).await.unwrap();
    assert!(!text(page).await.contains(&key));
    link(page, "Revoke Nightly backup").await.click().await.unwrap();
    button(page, "Revoke").await.click().await.unwrap();
    says(page, "You have no key yet.").await;
    let token = world
        .tokenstore
        .get("/api/v1.0/idp1/token")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(token.status(), 401);
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver"]
async fn the_page_is_used_by_keyboard_fits_a_phone_and_breaks_no_rule_of_its_own() {
    let (world, browser) = opened().await;
    let page = &browser.page;
    sign_in(&world, page).await;
    // The first stop of the keyboard leads past the heading.
    let press = async |key: Key| {
        page.active_element()
            .await
            .unwrap()
            .send_keys(key + "")
            .await
            .unwrap();
    };
    let leads_to = async || {
        page.active_element()
            .await
            .unwrap()
            .attr("href")
            .await
            .unwrap()
            .unwrap_or_default()
    };
    press(Key::Tab).await;
    assert_eq!(leads_to().await, "#main");
    for _ in 0..40 {
        if leads_to().await.ends_with("/hub/authorize") {
            break;
        }
        press(Key::Tab).await;
    }
    assert_eq!(leads_to().await, "api/v1.0/hub/authorize");
    press(Key::Enter).await;
    button(page, "Ada Ameland").await.click().await.unwrap();
    page.find(By::Id("accounts")).await.unwrap();
    for window in [Window::Wide, Window::Narrow] {
        browser.resize(window).await;
        let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let wider: i64 = page.execute(wider, vec![]).await.unwrap().convert().unwrap();
        assert_eq!(wider, 0, "{window:?}");
        // What a finger has to hit is large enough (WCAG 2.2, 2.5.8).
        for element in page.find_all(By::Css("button, .button")).await.unwrap() {
            let rect = element.rect().await.unwrap();
            assert!(rect.width >= 24.0 && rect.height >= 24.0);
        }
    }
    // Nothing was loaded that is not ours, and the style sheets were.
    let all = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let loaded: Vec<String> = page.execute(all, vec![]).await.unwrap().convert().unwrap();
    assert!(
        loaded.iter().all(|name| name.starts_with(&world.tokenstore.url)),
        "{loaded:?}"
    );
    assert!(loaded.iter().any(|name| name.ends_with("/assets/style.css")));
    assert!(loaded.iter().any(|name| name.ends_with("/assets/links.css")));
}

/// Clicks what `selector` finds.
async fn click(page: &WebDriver, selector: &str) {
    page.find(By::Css(selector)).await.unwrap().click().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium, chromium-driver, and what tests/interop/run starts"]
async fn a_person_does_it_all_at_a_certified_provider() {
    let store = std::env::var("INTEROP_URL").expect("tests/interop/run says where the service is");
    let browser = Browser::start().await;
    let page = &browser.page;
    page.set_implicit_wait_timeout(Duration::from_secs(10))
        .await
        .unwrap();
    page.goto(&store).await.unwrap();
    link(page, "Sign in").await.click().await.unwrap();
    page.find(By::Name("login"))
        .await
        .unwrap()
        .send_keys("grace")
        .await
        .unwrap();
    page.find(By::Name("password"))
        .await
        .unwrap()
        .send_keys("anything")
        .await
        .unwrap();
    click(page, ".login-submit").await;
    says(page, "Continue").await;
    click(page, ".login-submit").await;
    says(page, "Signed in as Person grace").await;
    link(page, "Connect basic").await.click().await.unwrap();
    says(page, "Continue").await;
    click(page, ".login-submit").await;
    card_says(page, "provider-basic", "grace@example.org").await;
    link(page, "Disconnect basic").await.click().await.unwrap();
    says(page, "Disconnect basic?").await;
    button(page, "Disconnect").await.click().await.unwrap();
    card_says(page, "provider-basic", "Not connected").await;
    button(page, "Sign out").await.click().await.unwrap();
    click(page, "button[name=logout][value=yes]").await;
    says(page, "Sign in to connect accounts").await;
}
