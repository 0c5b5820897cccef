//! What tests of faults stand on: processes of the real binaries that can be killed and started again, a
//! Postgres that can crash, freeze and come back, load that goes on meanwhile, and a client that remembers
//! every answer it got, to be compared with the database afterwards.
//!
//! `cargo test -p faults` runs the short form; with `FAULTS=full` in the environment the counts are those
//! that docs/faults.md promises.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]

mod answer;
mod binaries;
mod instance;
mod ledger;
mod length;
mod linking;
mod load;
mod postgres;

pub use answer::{Answer, Pace, ask, client};
pub use binaries::binary;
pub use instance::{Instance, free_port};
pub use ledger::{Ledger, Tally};
pub use length::{is_full, short_or_full, tell};
pub use linking::{begin_link, choose_account, end_link, linking_settings};
pub use load::{Load, Running, grown, random_below, some_moment_after};
pub use postgres::Postgres;
