//! Temporary logins: made for a token, written with what they may see, answered once.
//!
//! `one` writes where everything is in our own database, by one statement for all that are asked for at
//! the same time. `two` writes where a data centre's databases are used, so that whatever fails leaves
//! nothing half-done, with the statements of `centre`.

pub mod api;
mod centre;
mod issue;
mod ledger;
mod model;
mod one;
mod two;

pub(crate) use centre::{end_account, end_privileges};
pub use issue::{Issued, Outcome, Writer};
pub use ledger::Ledger;
pub use one::Logins;

pub use model::{Login, Maker, Network};
