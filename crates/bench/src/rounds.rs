//! Rounds: what is compared is measured in turns, in several short rounds each, so that a machine that
//! is slower for a while is slower for both.

use std::time::Duration;

use identity_core::failure::Failure;

/// What the rounds of two measurements came to.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// The median of what was measured.
    pub measured: f64,
    /// The median of the floor.
    pub floor: f64,
    /// The median of the rounds' ratios.
    pub ratio: f64,
    /// The smallest and the largest of these ratios.
    pub spread: (f64, f64),
}

/// How many rounds a figure that is taken for `time` has, and how long each is: of whole seconds, which
/// is what the load generators count in.
pub fn rounds(time: Duration) -> (u64, Duration) {
    let count = (time.as_secs() / 2).clamp(2, 5);
    (count, Duration::from_secs((time.as_secs() / count).max(1)))
}

/// Measures both in turns, each for `time` in all.
pub async fn compare(
    time: Duration,
    measured: impl AsyncFn(Duration) -> Result<f64, Failure>,
    floor: impl AsyncFn(Duration) -> Result<f64, Failure>,
) -> Result<Compared, Failure> {
    let (count, each) = rounds(time);
    let (mut values, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let beside = floor(each).await?;
        let value = measured(each).await?;
        values.push(value);
        floors.push(beside);
        ratios.push(value / beside);
    }
    let ratio = median(&mut ratios);
    let ends = ratios.first().zip(ratios.last());
    Ok(Compared {
        measured: median(&mut values),
        floor: median(&mut floors),
        ratio,
        spread: ends.map_or((ratio, ratio), |(&least, &most)| (least, most)),
    })
}

/// The value in the middle; puts them in order. Of none it is not a number.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|index| values.get(index));
    lower.map_or(upper, |lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_taken_in_rounds_of_whole_seconds() {
        for (seconds, expected) in [(20, (5, 4)), (8, (4, 2)), (2, (2, 1)), (1, (2, 1))] {
            let (count, each) = rounds(Duration::from_secs(seconds));
            assert_eq!((count, each.as_secs()), expected, "{seconds}");
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&mut []).is_nan());
    }
}
