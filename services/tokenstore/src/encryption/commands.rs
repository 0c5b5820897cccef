//! `tokenstore keys`: the way from one encryption key to the next, while the service runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL;
use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use identity_core::failure::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use super::store::{self, COLUMNS};
use crate::state::Shared;

/// What an operator does with encryption keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeysCommand {
    /// Make a key: print it, or add it behind those in a file that `crypto_keys_file` names
    Add {
        /// The file; every instance reads it when it starts
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the keys by their fingerprints, and how many secrets each protects
    List,
    /// Encrypt all secrets anew with the first configured key
    Reencrypt,
    /// Forget that the database needs a key; refused while it does
    Retire {
        /// Its fingerprint, as `list` shows it
        fingerprint: String,
    },
}

/// Prints a new key, for the configuration.
///
/// # Errors
/// None; the form serves the end of a program.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub fn print_new() -> Result<(), Failure> {
    println!("{}", new_key().as_str());
    Ok(())
}

fn new_key() -> Zeroizing<String> {
    Zeroizing::new(BASE64URL.encode(&random::bytes::<32>()))
}

/// Does what was asked and prints it. Instances may run meanwhile, and what is interrupted is taken up by the
/// next call.
///
/// # Errors
/// [`Failure`] when Postgres refuses, a secret cannot be decrypted, or a key is still needed.
pub async fn run(command: KeysCommand, shared: &Shared) -> Result<(), Failure> {
    let failed = |error: Error| Failure::because("the encryption keys", error);
    match command {
        KeysCommand::Add { file: None } => print_new(),
        KeysCommand::Add { file: Some(file) } => add(&file),
        KeysCommand::List => list(shared).await.map_err(failed),
        KeysCommand::Reencrypt => reencrypt(shared).await.map_err(failed),
        KeysCommand::Retire { fingerprint } => retire(shared, &fingerprint).await,
    }
}

/// Behind the others: first all instances must be able to read with it, and only then may one write with it.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn add(file: &Path) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::configuration(format!("{}: {error}", file.display()));
    let old = match std::fs::read_to_string(file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Zeroizing::default(),
        Err(error) => return Err(wrong(error)),
    };
    let known = old.trim_end();
    let comma = if known.is_empty() { "" } else { "," };
    let text = Zeroizing::new(format!("{known}{comma}{}\n", new_key().as_str()));
    // Written beside it and put in its place at once: a file cut short would lock out every secret.
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(wrong)?;
    new.write_all(text.as_bytes())
        .and_then(|()| new.sync_all())
        .map_err(wrong)?;
    if let Ok(metadata) = std::fs::metadata(file) {
        std::fs::set_permissions(&beside, metadata.permissions()).map_err(wrong)?;
    }
    std::fs::rename(&beside, file).map_err(wrong)?;
    println!("Added a key at the end of {}.", file.display());
    println!("Restart all instances, put it first, restart them again, and then: tokenstore keys reencrypt");
    Ok(())
}

/// How many secrets each key protects; under "" what no configured key made.
async fn counts(client: &impl GenericClient, shared: &Shared) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts = BTreeMap::new();
    for column in COLUMNS {
        let mut last = None;
        loop {
            let page = column.page(client, last.as_ref()).await?;
            for secret in &page {
                *counts
                    .entry(secret.maker(&shared.keys).unwrap_or_default().to_owned())
                    .or_default() += 1;
            }
            match page.into_iter().next_back() {
                Some(secret) => last = Some(secret),
                None => break,
            }
        }
    }
    Ok(counts)
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn list(shared: &Shared) -> Result<(), Error> {
    let client = shared.database.client().await?;
    let counts = counts(&client, shared).await?;
    let recorded = store::recorded(&client).await?;
    for (index, fingerprint) in shared.keys.fingerprints().enumerate() {
        let does = match (index, recorded.iter().any(|known| known == fingerprint)) {
            (0, _) => "encrypts",
            (_, true) => "decrypts",
            (_, false) => "decrypts, not needed",
        };
        println!(
            "{fingerprint}  {does}  {} secrets",
            counts.get(fingerprint).copied().unwrap_or_default()
        );
    }
    if let Some(lost) = counts.get("") {
        println!("(no configured key)  {lost} secrets cannot be read");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn reencrypt(shared: &Shared) -> Result<(), Error> {
    let client = shared.database.client().await?;
    for column in COLUMNS {
        let bar = ProgressBar::new(column.count(&client).await?);
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:30} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(column.title());
        let (mut last, mut changed) = (None, 0_u64);
        loop {
            let page = column.page(&client, last.as_ref()).await?;
            for secret in &page {
                changed += u64::from(column.reseal(&client, &shared.keys, secret).await?);
                bar.inc(1);
            }
            match page.into_iter().next_back() {
                Some(secret) => last = Some(secret),
                None => break,
            }
        }
        bar.finish_and_clear();
        println!("{}: {changed} encrypted anew", column.title());
    }
    println!("`tokenstore keys retire FINGERPRINT` forgets a key that is not needed any more.");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn retire(shared: &Shared, fingerprint: &str) -> Result<(), Failure> {
    let failed = |error: Error| Failure::because("the encryption keys", error);
    if shared.keys.fingerprints().next() == Some(fingerprint) {
        return Err(Failure::Other(format!(
            "{fingerprint} is the key that encrypts; put another one first"
        )));
    }
    let client = shared.database.client().await.map_err(failed)?;
    let counts = counts(&client, shared).await.map_err(failed)?;
    // What no configured key can read may be this one's.
    let known = shared.keys.fingerprints().any(|known| known == fingerprint);
    let needed = counts
        .get(if known { fingerprint } else { "" })
        .copied()
        .unwrap_or_default();
    if needed > 0 {
        return Err(Failure::Other(format!(
            "{fingerprint} still protects {needed} secrets: run `tokenstore keys reencrypt` first"
        )));
    }
    match store::forget(&client, fingerprint).await.map_err(failed)? {
        0 => println!("The database does not need {fingerprint}."),
        _ => println!("Retired {fingerprint}: take it out of crypto_keys."),
    }
    Ok(())
}
