//! `cargo dev`: the whole stack on a machine with Rust and nothing else prepared. A private Postgres
//! (or the one of `DATABASE_URL`), the services in this one process, demo data; Ctrl-C ends it all.

mod arguments;
mod database;
mod detach;
mod eida_auth;
mod given;
mod ident;
mod idm_users;
mod launch;
mod lock;
mod log;
mod mail;
mod place;
mod ports;
mod report;
mod running;
mod service;
mod services;
mod stop;
mod tokenstore;

use std::process::ExitCode;

use clap::Parser;
use identity_core::failure::Failure;

use arguments::{Arguments, Command};
use place::Place;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(program(arguments)),
        Err(error) => Err(Failure::because("starting the runtime", error)),
    };
    ended.unwrap_or_else(|failure| {
        report::complain(&failure);
        // 2 says that the command line is wrong, and with that clap has ended before.
        ExitCode::FAILURE
    })
}

async fn program(arguments: Arguments) -> Result<ExitCode, Failure> {
    let place = Place::new(arguments.data_dir.as_deref())?;
    match arguments.command {
        Some(Command::Stop) => stop::run(&place).await?,
        None if arguments.detach => return detach::run().await,
        None => launch::run(&arguments.options, &place).await?,
    }
    Ok(ExitCode::SUCCESS)
}
