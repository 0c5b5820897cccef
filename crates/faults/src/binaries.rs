//! Where the binaries of the services are: beside the tests, in cargo's folder for this profile.
//!
//! `cargo test --workspace` has just built them there for the services' own tests. `cargo test -p faults` builds no
//! binary of another package; then, or when sources are newer than what is there, they are built here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

const SERVICES: [&str; 4] = ["ident", "tokenstore", "idm-users", "eida-auth"];

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// The path of the program of `service`, which is there and up to date.
#[must_use]
pub fn binary(service: &str) -> PathBuf {
    FOLDER.get_or_init(prepare).join(service)
}

/// The folder with the binaries.
fn prepare() -> PathBuf {
    // …/target/debug/deps/faults-0123456789abcdef
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap().to_owned();
    if !SERVICES.iter().all(|service| is_fresh(&folder, service)) {
        build(&folder);
    }
    folder
}

/// The folder of the workspace.
fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("crates/faults lies two levels down")
}

/// Whether the binary is there and nothing that it is made of is newer.
fn is_fresh(folder: &Path, service: &str) -> bool {
    let Ok(built) = folder.join(service).metadata().and_then(|about| about.modified()) else {
        return false;
    };
    [
        format!("services/{service}/src"),
        format!("services/{service}/templates"),
        format!("services/{service}/default.toml"),
        format!("services/{service}/Cargo.toml"),
        format!("migrations/{service}"),
        "crates/core/src".to_owned(),
        "crates/core/Cargo.toml".to_owned(),
        "Cargo.lock".to_owned(),
    ]
    .iter()
    .filter_map(|path| newest(&root().join(path)))
    .all(|changed| changed <= built)
}

/// When anything in `path` was last changed; none where there is nothing.
fn newest(path: &Path) -> Option<SystemTime> {
    let about = path.metadata().ok()?;
    let own = about.modified().ok();
    let within = std::fs::read_dir(path).into_iter().flatten().flatten();
    within.filter_map(|entry| newest(&entry.path())).chain(own).max()
}

/// Builds all four, with the same libraries as these tests: see this package's Cargo.toml.
fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--bins",
        "--profile",
        profile,
        "--package",
        "faults",
    ]);
    for service in SERVICES {
        command.args(["--package", service]);
    }
    // The outer cargo's words about this package are not for the inner one.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR")
        {
            command.env_remove(name);
        }
    }
    let built = command
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(root())
        .status()
        .unwrap();
    assert!(built.success(), "the services can be built");
}
