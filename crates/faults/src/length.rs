//! How long the tests are: short by default, full by `FAULTS=full`.

/// Whether `FAULTS=full` asks for the full counts.
///
/// # Panics
/// For any other value: a typing error must not pass for a full run.
#[must_use]
pub fn is_full() -> bool {
    match std::env::var("FAULTS").as_deref() {
        Ok("full") => true,
        Ok("short" | "") | Err(_) => false,
        Ok(other) => panic!("FAULTS={other}: expected full or short"),
    }
}

/// `short`, or `full` in a full run.
#[must_use]
pub fn short_or_full<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// Says on standard error what a test has counted; shown with `--nocapture`.
pub fn tell(test: &str, figures: &str) {
    eprintln!("faults: {test}: {figures}");
}
