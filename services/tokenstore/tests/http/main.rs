//! tokenstore as its users meet it: over HTTP, against a real Postgres and an OpenID provider that can be slow,
//! down, and worse. A file for each thing it does; those of attacks are named after what they try.

mod api_keys;
mod attacks;
mod bearer;
mod configuration;
mod cors;
mod encryption;
mod foreign_pages;
mod fresh_tokens;
mod imports;
mod keeping;
mod links;
mod pages;
mod presets;
mod processes;
mod quirks;
mod revocation;
mod signing_in;
mod storage;
mod token_attacks;
mod visitor;
mod world;
