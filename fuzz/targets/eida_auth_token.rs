#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eida_auth::fuzz::token(data));
