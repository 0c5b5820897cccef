//! `cargo dev --detach`: the launcher once more, in the background, whose report is passed on until all is
//! ready.

use std::io::Write;
use std::process::{ExitCode, Stdio};

use identity_core::failure::Failure;
use identity_core::runtime::Stop;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::report::END;

/// Starts it and returns when it is ready: with status 0, or when it has ended: with its own.
pub async fn run() -> Result<ExitCode, Failure> {
    let interrupted = Stop::at_signals();
    let starting = |error| Failure::because("starting the launcher in the background", error);
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--detach");
    let mut child = Command::new(std::env::current_exe().map_err(starting)?)
        .arg("--detached")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(starting)?;
    if pass_on(&mut child, &interrupted).await.map_err(starting)? {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().await.map_err(starting)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Prints what the child prints until its report ends (gives true) or it does. Stops it if we are stopped.
async fn pass_on(child: &mut Child, interrupted: &Stop) -> std::io::Result<bool> {
    let Some(mut report) = child.stdout.take() else {
        return Ok(false);
    };
    let mut buffer = [0; 4096];
    let mut asked = false;
    loop {
        tokio::select! {
            read = report.read(&mut buffer) => {
                let text = buffer.get(..read?).unwrap_or_default();
                let (text, ready) = text.strip_suffix(&[END]).map_or((text, false), |text| (text, true));
                let mut stdout = std::io::stdout();
                let _ = stdout.write_all(text).and_then(|()| stdout.flush());
                if ready || text.is_empty() {
                    return Ok(ready);
                }
            }
            () = interrupted.said(), if !asked => {
                asked = true;
                if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
                    kill_process(pid, Signal::TERM)?;
                }
            }
        }
    }
}
