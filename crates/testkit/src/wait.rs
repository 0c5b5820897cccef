//! Waiting for what must come, without guessing how long it takes.

use std::time::{Duration, Instant};

/// Within this time what must come has come, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `question` until it has an answer.
///
/// # Panics
/// When none came within half a minute, naming `what` was awaited.
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
