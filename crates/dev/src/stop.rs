//! `cargo dev stop`: ends the launcher of this checkout, wherever it was started.

use std::time::{Duration, Instant};

use identity_core::failure::Failure;
use rustix::process::{Signal, kill_process};

use crate::lock;
use crate::place::Place;
use crate::report::say;

/// Longer than the services and Postgres are given to end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks the launcher to end and waits until it is gone, and Postgres with it.
pub async fn run(place: &Place) -> Result<(), Failure> {
    let path = place.lock_file();
    let Some(pid) = lock::holder(&path)? else {
        say("Nothing to stop: no launcher of this checkout is running.");
        return Ok(());
    };
    say(&format!("Stopping the launcher (process {pid}) …"));
    kill_process(pid, Signal::TERM)
        .map_err(|error| Failure::because(&format!("stopping process {pid}"), error))?;
    let begun = Instant::now();
    while lock::holder(&path)? == Some(pid) {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::Other(format!(
                "process {pid} has not ended within {PATIENCE:?}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say("Stopped. The data are kept for the next start.");
    Ok(())
}
