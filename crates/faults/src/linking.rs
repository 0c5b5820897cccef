//! tokenstore with a provider, and how a program links somebody's account there.

use identity_testkit::Provider;
use reqwest::{Client, RequestBuilder, StatusCode, Url};

use crate::answer::{Answer, ask};

/// tokenstore on `database`, where people are known to `login` and can link accounts of `idp` as `idp1`.
#[must_use]
pub fn linking_settings(database: &str, login: &Provider, idp: &Provider) -> Vec<String> {
    [
        format!("database.postgres.url={database}").as_str(),
        "crypto_keys=0123456789abcdef0123456789abcdef",
        "outgoing.allow_private=true",
        // However many processes there are, they are one service.
        "server.public_url=http://store.example.org",
        &format!("oidc.discovery_url={}", login.discovery_url()),
        "oidc.client_id=tokenstore",
        "oidc.client_secret=a secret/of+ours",
        &format!("providers.idp1.discovery_url={}", idp.discovery_url()),
        "providers.idp1.client_id=tokenstore",
        "providers.idp1.client_secret=a secret/of+ours",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Begins a link at the process `url`.
pub fn begin_link(http: &Client, url: &str, bearer: &str) -> RequestBuilder {
    let begin = http.post(format!("{url}/api/v1.0/idp1/authorize"));
    begin.bearer_auth(bearer)
}

/// Chooses `account` at the provider, which asks, when the link was `begun`. Gives the path by which the browser comes
/// back; none when it was not begun.
pub async fn choose_account(http: &Client, begun: &Answer, account: &str) -> Option<String> {
    let to = begun.location.as_ref().filter(|_| begun.is_success())?;
    let back = ask(http.post(to).form(&[("account", account)])).await.location?;
    let back = Url::parse(&back).unwrap();
    Some(format!("{}?{}", back.path(), back.query().unwrap()))
}

/// Comes back by `path` to the process `url`, which may be another one. "Linked" is told by a redirect without an error;
/// here it is 200.
pub async fn end_link(http: &Client, url: &str, bearer: &str, path: &str) -> Answer {
    let sent = http.get(format!("{url}{path}")).bearer_auth(bearer);
    let answer = ask(sent).await;
    let to = answer.location.as_deref();
    if answer.status == Some(StatusCode::FOUND) && to.is_some_and(|to| !to.contains("error=")) {
        return Answer {
            status: Some(StatusCode::OK),
            ..answer
        };
    }
    answer
}
