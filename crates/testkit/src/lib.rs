//! What the tests of the services stand on: a private Postgres with a database for each test, the
//! service itself on a port of its own, a clock to turn, a receiver that fails and hangs, a network
//! that can be cut, and the real binary where a process must be killed.
//!
//! Everything ends with the test, also with one that is killed. A part that does not come up panics:
//! a test has nobody to hand an error to.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]

mod browser;
mod certificates;
mod cluster;
mod corpus;
mod database;
mod forge;
mod issuer;
mod nginx;
mod process;
mod provider;
mod proxy;
mod receiver;
mod service;
mod wait;

pub use browser::{Browser, Colours, Window};
pub use certificates::{Authority, Certified};
pub use corpus::replay;
pub use database::TestDatabase;
pub use forge::{Forge, forgeries, part_of, signed_by_mac, unsigned};
pub use issuer::ForeignIssuer;
pub use process::{Process, command, output};
pub use provider::{Account, Answer, Provider, Refreshing, Ways};
pub use proxy::{Cut, Proxy, Target};
pub use receiver::{Behaviour, Received, Receiver};
pub use rustix::process::Signal;
pub use service::{Service, TestService};
pub use thirtyfour;
pub use wait::eventually;
