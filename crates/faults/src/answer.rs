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
    /// The status; none when there was no connection, or it broke before one came.
    pub status: Option<StatusCode>,
    /// Whether there was a connection; without one nothing was sent.
    pub is_sent: bool,
    /// The body, `null` where it is empty, broken off or no JSON.
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
                body: Value::Null,
            };
        }
    };
    // A client that has seen 201 has been told that it is done, whatever becomes of the body.
    let status = Some(response.status());
    let text = response.text().await.unwrap_or_default();
    Answer {
        status,
        is_sent: true,
        body: serde_json::from_str(&text).unwrap_or_default(),
    }
}
