//! Where programs are looked for, and in which order, with directories made up for it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use private_postgres::{Places, Programs};
use tempfile::TempDir;

/// A made-up machine. Its directory is given without links, as programs are found.
struct Machine {
    root: PathBuf,
    _dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            root: dir.path().canonicalize().unwrap(),
            _dir: dir,
        }
    }

    /// Puts the programs `names` into the directory `dir`, which it gives.
    fn put(&self, dir: &str, names: &[&str]) -> PathBuf {
        let dir = self.root.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        for name in names {
            write_script(&dir.join(name), "exit 0");
        }
        dir
    }

    /// What is found with these directories, relative to ours, on the PATH.
    fn search(&self, path: &[&str]) -> Option<PathBuf> {
        let path = std::env::join_paths(path.iter().map(|dir| self.root.join(dir))).unwrap();
        self.search_path(path)
    }

    fn search_path(&self, path: OsString) -> Option<PathBuf> {
        let places = Places {
            path,
            versions: self.root.join("versions"),
            pg_config: self.root.join("pg_config"),
        };
        Programs::search(&places).map(|programs| programs.dir().to_owned())
    }
}

fn write_script(path: &Path, line: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const BOTH: &[&str] = &["initdb", "postgres"];

#[test]
fn the_path_comes_first_then_the_newest_version_then_what_pg_config_says() {
    let machine = Machine::new();
    let last = machine.put("last", BOTH);
    write_script(
        &machine.root.join("pg_config"),
        &format!("[ \"$1\" = --bindir ] && echo {}", last.display()),
    );
    assert_eq!(machine.search(&["b"]), Some(last));

    let old = machine.put("versions/9.6/bin", BOTH);
    assert_eq!(machine.search(&["b"]), Some(old));
    let newer = machine.put("versions/10/bin", BOTH);
    machine.put("versions/latest/bin", BOTH);
    assert_eq!(machine.search(&["b"]), Some(newer));

    let on_path = machine.put("b", BOTH);
    assert_eq!(machine.search(&["a", "b"]), Some(on_path));
    let earlier = machine.put("a", BOTH);
    assert_eq!(machine.search(&["a", "b"]), Some(earlier));
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    let machine = Machine::new();
    write_script(&machine.root.join("pg_config"), "echo error >&2; exit 1");
    assert_eq!(machine.search(&["a"]), None);
    assert_eq!(machine.search_path(OsString::new()), None);
}

#[test]
fn both_programs_have_to_be_in_one_directory_and_executable() {
    let machine = Machine::new();
    machine.put("a", &["initdb"]);
    let b = machine.put("b", &["postgres"]);
    assert_eq!(machine.search(&["a", "b"]), None);
    std::fs::write(b.join("initdb"), "not a program").unwrap();
    assert_eq!(machine.search(&["a", "b"]), None);
    machine.put("versions/17/bin", &["postgres"]);
    let older = machine.put("versions/16/bin", BOTH);
    assert_eq!(machine.search(&["a", "b"]), Some(older));
}

#[test]
fn links_are_followed_to_where_the_other_programs_are() {
    let machine = Machine::new();
    let real = machine.put("real", &["initdb", "postgres", "pg_dump"]);
    let links = machine.put("links", &[]);
    for name in BOTH {
        symlink(real.join(name), links.join(name)).unwrap();
    }
    assert_eq!(machine.search(&["links"]), Some(real));
}

#[test]
fn links_to_a_program_that_goes_by_its_name_are_not_followed() {
    let machine = Machine::new();
    let manager = machine.put("manager", &["run-the-right-version"]);
    let shims = machine.put("shims", &[]);
    for name in BOTH {
        symlink(manager.join("run-the-right-version"), shims.join(name)).unwrap();
    }
    assert_eq!(machine.search(&["shims"]), Some(shims));
}

#[test]
fn a_relative_directory_on_the_path_is_passed_over() {
    let machine = Machine::new();
    assert_eq!(machine.search_path(OsString::from("relative:.:")), None);
}
