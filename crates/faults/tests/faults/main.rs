//! Faults as they come: what is killed, stopped and cut off is real. See docs/faults.md.

mod eida;
mod eida_kills;
mod events;
mod ident_kills;
mod idm_users_kills;
mod line_cuts;
mod people;
mod postgres_faults;
mod stops;
mod subjects;
mod token_families;
