//! A browser as far as HTTP sees it: it keeps cookies for the service, and follows redirects to others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::world::expect;

/// A browser.
pub struct Visitor {
    pub home: Url,
    pub cookies: Mutex<BTreeMap<String, String>>,
    http: Client,
}

impl Visitor {
    /// One that knows nothing yet of the service at `home`.
    pub fn new(home: &str) -> Self {
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        Self {
            home: Url::parse(home).unwrap(),
            cookies: Mutex::default(),
            http: http.build().unwrap(),
        }
    }

    /// Another browser with the same cookies, at another instance.
    pub fn at(&self, home: &str) -> Self {
        let other = Self::new(home);
        *other.cookies.lock().unwrap() = self.cookies.lock().unwrap().clone();
        other
    }

    /// Begins a request to a path of the service, or to any URL; cookies go to the service only.
    pub fn request(&self, method: Method, address: &str) -> RequestBuilder {
        let url = self.home.join(address).unwrap();
        let request = self.http.request(method, url.clone());
        let cookies = self.cookies.lock().unwrap();
        if url.origin() != self.home.origin() || cookies.is_empty() {
            return request;
        }
        let pairs: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        request.header(COOKIE, pairs.join("; "))
    }

    /// A request as one of the service's own pages sends it.
    pub fn own(&self, method: Method, path: &str) -> RequestBuilder {
        let origin = self.home.origin().ascii_serialization();
        self.request(method, path)
            .header("origin", origin)
            .header("sec-fetch-site", "same-origin")
    }

    /// Sends a request and keeps the cookies that come.
    pub async fn send(&self, request: RequestBuilder) -> Response {
        let answer = request.send().await.unwrap();
        if answer.url().origin() == self.home.origin() {
            let mut cookies = self.cookies.lock().unwrap();
            for set in answer.headers().get_all(SET_COOKIE) {
                let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                if attributes.contains("Max-Age=0") {
                    cookies.remove(name);
                } else {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        answer
    }

    /// One GET, no redirect followed.
    pub async fn get(&self, address: &str) -> Response {
        self.send(self.request(Method::GET, address)).await
    }

    /// One POST of one of our own pages.
    pub async fn post(&self, path: &str) -> Response {
        self.send(self.own(Method::POST, path)).await
    }

    /// The JSON at a path.
    pub async fn json(&self, path: &str) -> Value {
        expect(self.get(path).await, StatusCode::OK).await
    }

    /// A GET whose redirects are followed.
    pub async fn walk(&self, address: &str) -> Response {
        let mut answer = self.get(address).await;
        for _ in 0..10 {
            let Some(to) = location(&answer) else { break };
            answer = self.get(to.as_str()).await;
        }
        answer
    }

    /// Walks until the next address is below `prefix`, which is given and not asked.
    pub async fn walk_until(&self, address: &str, prefix: &str) -> Url {
        let mut to = self.home.join(address).unwrap();
        for _ in 0..10 {
            if to.as_str().starts_with(prefix) {
                return to;
            }
            to = location(&self.get(to.as_str()).await).unwrap();
        }
        panic!("never came to {prefix}");
    }

    /// Walks to where the provider sends the browser back to end a link, and gives that address.
    pub async fn to_callback(&self, provider: &str) -> Url {
        let prefix = format!("{}api/v1.0/{provider}/redirect_uri", self.home);
        self.walk_until(&format!("/api/v1.0/{provider}/authorize"), &prefix)
            .await
    }

    /// Links the account at `provider`.
    pub async fn link(&self, provider: &str) {
        let back = self.to_callback(provider).await;
        let answer = self.get(back.as_str()).await;
        assert_eq!(
            answer.status(),
            StatusCode::FOUND,
            "{}",
            answer.text().await.unwrap()
        );
        let to = location(&answer).unwrap();
        assert_eq!(to.query(), None, "no error");
    }

    /// The access token of `provider`.
    pub async fn token(&self, provider: &str) -> Value {
        self.json(&format!("/api/v1.0/{provider}/token")).await
    }
}

/// Where an answer leads.
pub fn location(answer: &Response) -> Option<Url> {
    if !answer.status().is_redirection() {
        return None;
    }
    let to = answer.headers().get(LOCATION)?.to_str().unwrap();
    Some(answer.url().join(to).unwrap())
}

/// A parameter of a URL.
pub fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
