//! Advisory locks: of all instances, one does a thing.

use sha2::{Digest, Sha256};

/// The number under which Postgres knows the lock of `schema` for `purpose`.
#[must_use]
pub fn key(schema: &str, purpose: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(schema)
        .chain_update([0])
        .chain_update(purpose)
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | i64::from(*byte))
}
