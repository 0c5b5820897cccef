//! Dates of ISO 8601: a day, or a day with time and offset. Kept as they were written, and compared by
//! the moment that they name.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// What is expected of a date.
pub(crate) const EXPECTED: &str =
    "expected a date like 2026-11-24 or 2026-11-24T09:30:00+01:00, of the years 1900 to 2100";

/// A date as it was written, and the moment that it names: of a day its beginning in UTC.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) text: String,
    pub(crate) at: Timestamp,
}

impl Moment {
    /// Reads a date between the years 1900 and 2100.
    ///
    /// # Errors
    /// [`EXPECTED`]
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let at = moment(text).ok_or(EXPECTED)?;
        Ok(Self {
            text: text.to_owned(),
            at,
        })
    }

    /// A moment that we have seen ourselves, to the second: what is sent back as it was shown must be
    /// the same.
    pub(crate) fn of(at: Timestamp) -> Self {
        let at = whole_seconds(at);
        Self { text: shown(at), at }
    }
}

/// Stricter than jiff, which reads more than ISO 8601: blanks for `T`, times without an offset.
fn moment(text: &str) -> Option<Timestamp> {
    let (day, time) = text.split_at_checked(10)?;
    let digits = |range: std::ops::Range<usize>| {
        day.as_bytes()
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let hyphens = day.as_bytes().get(4) == Some(&b'-') && day.as_bytes().get(7) == Some(&b'-');
    let is_day = digits(0..4) && digits(5..7) && digits(8..10) && hyphens;
    if !is_day || !(1900..=2100).contains(&day.get(..4)?.parse::<i16>().ok()?) {
        return None;
    }
    let date: Date = day.parse().ok()?;
    if time.is_empty() {
        return date.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    }
    let rest = time.strip_prefix('T')?;
    let allowed = |byte: u8| byte.is_ascii_digit() || b":.,+-Z".contains(&byte);
    if !rest.bytes().all(allowed) {
        return None;
    }
    text.parse().ok()
}

/// A moment as it is shown: in UTC, to the second.
pub(crate) fn shown(at: Timestamp) -> String {
    whole_seconds(at).to_string()
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_and_moments_are_read_and_kept_as_written() {
        for (text, moment) in [
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("1900-01-01", "1900-01-01T00:00:00Z"),
            ("2100-12-31", "2100-12-31T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2026-11-24T09:30:00Z", "2026-11-24T09:30:00Z"),
            ("2026-11-24T09:30:00+01:00", "2026-11-24T08:30:00Z"),
            ("2026-11-24T09:30:00.123-0500", "2026-11-24T14:30:00.123Z"),
        ] {
            let read = Moment::parse(text).unwrap();
            assert_eq!((read.text.as_str(), read.at.to_string().as_str()), (text, moment));
        }
    }

    #[test]
    fn what_is_no_date_of_these_centuries_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11",
            "24.11.2026",
            "11/24/2026",
            "2026-13-01",
            "2026-02-30",
            "2025-02-29",
            "1899-12-31",
            "2101-01-01",
            "20261124",
            "2026-1-1",
            "2026-11-24 09:30:00Z",
            "2026-11-24T09:30:00",
            "2026-11-24T25:00:00Z",
            "2026-11-24T09:30:00[Europe/Berlin]",
            "+002026-11-24",
            "tomorrow",
            "２０２６-11-24",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = Moment::parse(&text);
        }

        #[test]
        fn every_day_of_these_centuries_is_read(year in 1900_i16..=2100, month in 1_i8..=12, day in 1_i8..=28) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert!(Moment::parse(&text).is_ok());
        }
    }
}
