//! Faults as they come: what is killed, stopped and cut off is real. See docs/faults.md.

mod accounts;
mod eida;
mod events;
mod kills;
mod line_cuts;
mod logins;
mod people;
mod postgres_faults;
mod stops;
mod subjects;
mod token_families;
mod work;
