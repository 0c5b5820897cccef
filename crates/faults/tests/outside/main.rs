//! Faults of what services meet outside: mail servers, providers, other people's databases, strangers who
//! hold connections open. What is killed, stopped and cut off is real. See docs/faults.md.

mod centre;
mod centre_faults;
#[path = "../faults/eida.rs"]
#[expect(dead_code, reason = "the mapping stands in the centre's own database here")]
mod eida;
mod linked;
mod linking;
mod mails;
mod refreshes;
mod strangers;
