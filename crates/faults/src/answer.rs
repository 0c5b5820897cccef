//! What a client learns from a request: an answer, or none.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// A client that asks once, and waits for as long as a service may take.
#[must_use]
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_mins(2))
        .build()
        .unwrap()
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; none when the connection was refused or broke before one came.
    pub status: Option<StatusCode>,
    /// The body, `null` where it is empty, broken off or no JSON.
    pub body: Value,
}

impl Answer {
    /// It was answered that it is done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }

    /// It was answered that it is not done, and why.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| status.is_client_error())
    }

    /// It may be done or not: the connection broke, or the service could not tell (503).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        !self.is_success() && !self.is_refusal()
    }
}

/// Sends a request once.
pub async fn ask(request: RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else {
        return Answer {
            status: None,
            body: Value::Null,
        };
    };
    // A client that has seen 201 has been told that it is done, whatever becomes of the body.
    let status = Some(response.status());
    let text = response.text().await.unwrap_or_default();
    Answer {
        status,
        body: serde_json::from_str(&text).unwrap_or_default(),
    }
}
