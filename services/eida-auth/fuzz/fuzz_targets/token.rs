//! Strangers' tokens: whatever is posted is refused or read, in bounded time and memory.
//!
//! `cargo +nightly fuzz run token -- -max_len=65536 -max_total_time=600`, with the messages of ../tests/messages/made
//! as the first inputs.
#![no_main]

use eida_auth::openpgp::{Keys, Policy, parse};
use eida_auth::tokens::Content;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = Content::read(body);
    if let Ok(signed) = parse(body) {
        assert!(signed.content.len() <= 1 << 20);
        let _ = Content::read(&signed.content);
        // No key is trusted, so nothing can be accepted.
        let policy = Policy { accept_sha1: true };
        assert!(Keys::default().verify(signed, policy, 1_790_000_000).is_err());
    }
});
