//! Faults as they come: what is killed, stopped and cut off is real. See docs/faults.md.

mod ident_kills;
mod people;
