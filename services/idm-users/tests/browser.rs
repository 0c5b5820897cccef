//! The pages in a real browser: by keyboard where a person would use one, and looked at in light and
//! dark, wide and narrow (`target/screenshots/idm-users-…`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;

use identity_testkit::thirtyfour::{By, Key, WebDriver};
use identity_testkit::{Browser, Service, TestService, eventually};
use idm_users::config::{Config, SCHEMA};
use mailbox::Mailbox;
use serde_json::{Value, json};

const ADMIN: &str = "admin@example.org";
const PASSWORD: &str = "winter-is-coming";
const NEW: &str = "another good one";

static IDM: Service = Service {
    schema: &SCHEMA,
    settings: &[
        "jwt.secret=a secret of a test, of thirty-two bytes or more",
        "mail.transport=smtp",
        "mail.server=127.0.0.1",
        "mail.encryption=none",
    ],
    run: |settings, runtime| Box::pin(async move { idm_users::run(Config::read(&settings)?, runtime).await }),
};

async fn fill(page: &WebDriver, field: &str, text: &str) {
    let field = page.find(By::Id(field)).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(text).await.unwrap();
}

async fn submit(page: &WebDriver) {
    page.find(By::Css("main button"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
}

/// Waits for the page with this heading; between two pages there is none.
async fn comes(page: &WebDriver, heading: &str) {
    eventually(heading, async || {
        let found = page.find(By::Css("main h1")).await.ok()?;
        (found.text().await.ok()? == heading).then_some(())
    })
    .await;
}

/// Waits until the page says this.
async fn says(page: &WebDriver, text: &str) {
    eventually(text, async || {
        let main = page.find(By::Css("main")).await.ok()?;
        main.text().await.ok()?.contains(text).then_some(())
    })
    .await;
}

async fn signs_in(idm: &TestService, password: &str) -> bool {
    let body = json!({"username": ADMIN, "password": password});
    idm.post("/auth")
        .json(&body)
        .send()
        .await
        .unwrap()
        .status()
        .is_success()
}

/// Every field has a label, a field that is wrong says so and why, nothing overflows sideways, and no
/// style or script was refused.
async fn is_accessible(page: &WebDriver) {
    let script = r"
        const problems = [];
        if (document.documentElement.lang === '') problems.push('no language');
        if (document.querySelectorAll('h1').length !== 1) problems.push('not one heading');
        if (document.title === '') problems.push('no title');
        for (const field of document.querySelectorAll('input:not([type=hidden])')) {
            if (field.labels.length === 0) problems.push('no label: ' + field.name);
            for (const id of (field.getAttribute('aria-describedby') || '').split(' ')) {
                if (id && !document.getElementById(id)) problems.push('describes nothing: ' + id);
            }
        }
        if (document.documentElement.scrollWidth > window.innerWidth) problems.push('overflows');
        if (getComputedStyle(document.querySelector('main .card')).borderTopStyle !== 'solid') problems.push('no style');
        return problems;";
    let found = page.execute(script, Vec::new()).await.unwrap();
    assert_eq!(found.json(), &json!([]));
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver"]
async fn the_first_administrator_is_made_in_a_browser() {
    let idm = IDM.start(&["init.code=abcd-efgh-ijkl"]).await;
    let browser = Browser::start().await;
    let page = &browser.page;
    page.goto(format!("{}/init", idm.url)).await.unwrap();
    comes(page, "The first administrator").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-init").await;

    // By keyboard alone: the first stop is the link past the top, then the fields in their order.
    let body = page.find(By::Css("body")).await.unwrap();
    body.send_keys(Key::Tab + "").await.unwrap();
    let first = page.active_element().await.unwrap();
    assert_eq!(first.text().await.unwrap(), "Skip to the content");
    let mut order = Vec::new();
    for _ in 0..5 {
        page.active_element()
            .await
            .unwrap()
            .send_keys(Key::Tab + "")
            .await
            .unwrap();
        let focused = page.active_element().await.unwrap();
        order.push(focused.id().await.unwrap().unwrap_or_default());
    }
    assert_eq!(order, ["code", "username", "pass1", "pass2", ""]);

    fill(page, "code", "wrong").await;
    fill(page, "username", ADMIN).await;
    fill(page, "pass1", PASSWORD).await;
    fill(page, "pass2", PASSWORD).await;
    submit(page).await;
    says(page, "This is not the setup code").await;
    is_accessible(page).await;

    fill(page, "code", "ABCD EFGH IJKL").await;
    fill(page, "username", "nobody").await;
    fill(page, "pass1", "short").await;
    fill(page, "pass2", "short").await;
    submit(page).await;
    says(page, "Enter an email address").await;
    says(page, "too short").await;
    let invalid = page.find_all(By::Css("[aria-invalid=true]")).await.unwrap();
    assert_eq!(invalid.len(), 3);
    is_accessible(page).await;
    browser.screenshots("idm-users-init-wrong").await;

    fill(page, "code", "ABCD EFGH IJKL").await;
    fill(page, "username", ADMIN).await;
    fill(page, "pass1", PASSWORD).await;
    fill(page, "pass2", PASSWORD).await;
    page.active_element()
        .await
        .unwrap()
        .send_keys(Key::Enter + "")
        .await
        .unwrap();
    comes(page, "This system is ready").await;
    says(page, ADMIN).await;
    is_accessible(page).await;
    browser.screenshots("idm-users-ready-made").await;
    assert!(signs_in(&idm, PASSWORD).await);

    page.goto(format!("{}/init", idm.url)).await.unwrap();
    comes(page, "This system is ready").await;
    assert!(page.find_all(By::Css("form")).await.unwrap().is_empty());
    browser.screenshots("idm-users-ready").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver"]
async fn a_forgotten_password_is_replaced_in_a_browser() {
    let mailbox = Mailbox::serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let idm = IDM
        .start(&[&format!("mail.port={}", mailbox.address.port())])
        .await;
    let form = [("username", ADMIN), ("pass1", PASSWORD), ("pass2", PASSWORD)];
    assert_eq!(idm.post("/init").form(&form).send().await.unwrap().status(), 200);
    let browser = Browser::start().await;
    let page = &browser.page;

    page.goto(format!("{}/iforgot", idm.url)).await.unwrap();
    comes(page, "Forgot your password?").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-iforgot").await;
    submit(page).await;
    says(page, "Enter your email address").await;
    fill(page, "username", ADMIN).await;
    submit(page).await;
    comes(page, "Look into your mail").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-asked").await;

    let mail = eventually("the mail comes", async || mailbox.mails().into_iter().next()).await;
    let link = mail.link().unwrap();
    let (_, key) = link.split_once("/reset?k=").unwrap();
    let link = format!("{}/reset?k={key}", idm.url);
    page.goto(&link).await.unwrap();
    comes(page, "Set a new password").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-reset").await;
    fill(page, "pass1", NEW).await;
    fill(page, "pass2", PASSWORD).await;
    submit(page).await;
    says(page, "do not match").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-reset-wrong").await;
    fill(page, "pass1", NEW).await;
    fill(page, "pass2", NEW).await;
    submit(page).await;
    comes(page, "Your password was changed").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-reset-done").await;
    assert!(signs_in(&idm, NEW).await && !signs_in(&idm, PASSWORD).await);

    page.goto(&link).await.unwrap();
    comes(page, "This link does not work").await;
    says(page, "was used already").await;
    is_accessible(page).await;
    browser.screenshots("idm-users-reset-used").await;
    page.goto(format!("{}/reset?k=wrong", idm.url)).await.unwrap();
    says(page, "is not valid").await;
    page.find(By::LinkText("Ask for a new link"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    comes(page, "Forgot your password?").await;

    // The mail's HTML, as a mail program shows it.
    let encoded: Value = json!(mail.html());
    page.goto("about:blank").await.unwrap();
    page.execute(
        "document.open(); document.write(arguments[0]); document.close()",
        vec![encoded],
    )
    .await
    .unwrap();
    assert_eq!(
        page.find(By::LinkText("Set a new password"))
            .await
            .unwrap()
            .attr("href")
            .await
            .unwrap(),
        mail.link()
    );
    browser.screenshots("idm-users-mail").await;
}
