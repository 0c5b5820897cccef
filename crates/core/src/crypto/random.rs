//! Random numbers from the operating system.

use uuid::Uuid;

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no random source: nothing that follows would be safe.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "without a random source the process must not go on"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random source");
    bytes
}

/// A random UUID (RFC 9562, version 4).
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}
