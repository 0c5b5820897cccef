//! How long answers take, compared as somebody would who wants to learn from it.

use std::time::Instant;

/// How often each is tried.
const TRIES: usize = 200;
/// What share of the time nobody can make use of through a network: a hash takes tens of milliseconds.
const NOTHING: f64 = 0.1;
/// How many standard errors a difference lies from none before it is one.
const CERTAIN: f64 = 6.0;

/// Tries each of `kinds` many times.
///
/// # Panics
/// When one takes another time than the first, by more than [`NOTHING`] and than chance.
pub async fn expect_alike<const N: usize>(kinds: [&str; N], mut attempt: impl AsyncFnMut(&str)) {
    let mut rounds = Vec::with_capacity(TRIES);
    for round in 0..TRIES {
        // Compared are those that follow each other, each as often the first: whatever else the machine does slows
        // them alike.
        let mut times = [0.0; N];
        for place in 0..N {
            let kind = (round + place) % N;
            let began = Instant::now();
            attempt(kinds[kind]).await;
            times[kind] = began.elapsed().as_secs_f64();
        }
        rounds.push(times);
    }
    for (index, kind) in kinds.iter().enumerate().skip(1) {
        let ratios = rounds.iter().map(|times| (times[index] / times[0]).ln());
        let (middle, error) = middle(ratios.collect());
        assert!(
            middle.abs() < f64::max(NOTHING, CERTAIN * error),
            "{kind:?} takes {:.2} times as long as {:?}",
            middle.exp(),
            kinds[0],
        );
    }
}

/// The median, and its standard error as the spread of the middle half tells it.
fn middle(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[values.len() * share / 4];
    // Of a normal distribution the middle half is 1.349 standard deviations wide, and a median's standard error is
    // 1.253 times the mean's.
    let deviation = (at(3) - at(1)) / 1.349;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let root = (values.len() as f64).sqrt();
    (at(2), 1.253 * deviation / root)
}
