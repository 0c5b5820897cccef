//! Cryptography: every key, cipher and random number of the services comes from here.

pub mod fernet;
pub mod issuer;
pub mod jwt;
pub mod password;
pub mod pss;
pub mod random;
pub mod token;
pub mod webhook;
