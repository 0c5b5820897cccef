//! The first administrator: `/init`, which works while there is none.

pub(crate) mod api;
mod code;

pub(crate) use code::{Setup, prepare};
