//! The inputs of the fuzz targets, without a fuzzer: what was found once is looked at in every test run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As much as a body may have.
const GROWN: usize = 64 * 1024;
/// What an input of that size may take, in a build that is not optimised and on a machine that does other
/// things as well; a reader that is quadratic takes minutes.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is done with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Feeds every target of `package` with all inputs of `fuzz/corpora/<target>`, and with each of them again
/// and again up to 64 KiB, which must not take long.
///
/// That no target is missing here or in `fuzz/targets` is looked at, too.
pub fn replay(package: &str, targets: &[(&str, Target)]) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let prefix = format!("{package}_");
    let named: BTreeSet<String> = targets.iter().map(|(name, _)| (*name).to_owned()).collect();
    for folder in ["corpora", "targets"] {
        let there: BTreeSet<String> = stems(&fuzz.join(folder), &prefix);
        assert_eq!(there, named, "fuzz/{folder} and the targets of {package} differ");
    }
    for (name, target) in targets {
        let inputs = files(&fuzz.join("corpora").join(name));
        assert!(!inputs.is_empty(), "fuzz/corpora/{name} is empty");
        for path in inputs {
            let input = std::fs::read(&path).unwrap();
            eprintln!("{name}: {}", path.display());
            target(&input);
            if !input.is_empty() {
                is_quick(name, *target, &input.repeat(GROWN / input.len() + 1));
            }
        }
    }
}

/// The best of three: others use the machine as well.
fn is_quick(name: &str, target: Target, input: &[u8]) {
    let once = || {
        let began = Instant::now();
        target(input.get(..GROWN).unwrap_or(input));
        began.elapsed()
    };
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(once());
        if best < PATIENCE {
            return;
        }
    }
    panic!("{name}: {GROWN} bytes take {best:?}");
}

fn stems(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let names = files(folder).into_iter();
    names
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with(prefix))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}
