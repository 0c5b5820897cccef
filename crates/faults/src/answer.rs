//! What a client learns from a request: an answer, or none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// Before what is away is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// A client that asks once, where it is told to and nowhere else, and waits for as long as a service may take.
#[must_use]
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(Duration::from_mins(2))
        .build()
        .unwrap()
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; none when there was no connection, or it broke before one came.
    pub status: Option<StatusCode>,
    /// Whether there was a connection; without one nothing was sent.
    pub is_sent: bool,
    /// Where it leads to, if it is a redirect.
    pub location: Option<String>,
    /// The body, empty where it broke off.
    pub text: String,
    /// The same, `null` where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// It was answered that it is done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }

    /// It is not done: that was the answer, or nobody was there to be asked.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !self.is_sent || self.status.is_some_and(|status| status.is_client_error())
    }

    /// It may be done or not: the connection broke, or the service could not tell (503).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        !self.is_success() && !self.is_refusal()
    }

    /// It may succeed when it is asked again.
    #[must_use]
    pub fn is_worth_repeating(&self) -> bool {
        !self.is_sent || self.is_unknown()
    }
}

/// Sends a request once.
pub async fn ask(request: RequestBuilder) -> Answer {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            return Answer {
                status: None,
                is_sent: !error.is_connect(),
                location: None,
                text: String::new(),
                body: Value::Null,
            };
        }
    };
    // A client that has seen 201 has been told that it is done, whatever becomes of the body.
    let status = Some(response.status());
    let location = response.headers().get("location");
    let location = location.and_then(|to| to.to_str().ok().map(str::to_owned));
    let text = response.text().await.unwrap_or_default();
    Answer {
        status,
        is_sent: true,
        location,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    }
}

/// How clients under load ask: as politely as any, and noting how long they wait for an answer.
#[derive(Debug, Default)]
pub struct Pace {
    /// In milliseconds.
    slowest: AtomicU64,
}

impl Pace {
    /// Sends a request once; what is away is not asked at full speed.
    pub async fn ask(&self, request: RequestBuilder) -> Answer {
        let began = Instant::now();
        let answer = ask(request).await;
        let took = began.elapsed().as_millis().try_into().unwrap();
        self.slowest.fetch_max(took, Ordering::Relaxed);
        if answer.is_worth_repeating() {
            tokio::time::sleep(PAUSE).await;
        }
        answer
    }

    /// How long the slowest request took that ended since this was last asked.
    pub fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest.swap(0, Ordering::Relaxed))
    }
}
