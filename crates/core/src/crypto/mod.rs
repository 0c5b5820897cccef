//! Cryptography: every key, cipher and random number of the services comes from here.

pub mod fernet;
pub mod random;
