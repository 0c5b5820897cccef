//! Temporary logins: made for a token, written with what they may see, answered once.
//!
//! `one` writes where everything is in our own database, by one statement. `two` writes where a data
//! centre's databases are used, so that whatever fails leaves nothing half-done.

pub mod api;
mod issue;
mod ledger;
mod model;
mod one;
mod two;

pub use issue::{Issued, Outcome, Writer};
pub use ledger::Ledger;
pub(crate) use two::{end_account, end_privileges};

pub use model::{Login, Maker, Network};
