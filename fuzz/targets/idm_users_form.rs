#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idm_users::fuzz::form(data));
