//! A line of the mapping, and its form as CSV.

use std::collections::BTreeMap;
use std::io::Read;

/// The columns of the CSV, in this order.
pub const COLUMNS: [&str; 4] = ["epos_name", "network", "start_year", "end_year"];

/// The longest path and the longest code of a network, in characters.
const LONGEST_PATH: usize = 1000;
const LONGEST_CODE: usize = 64;
/// Years in which there can be networks; 9999 stands for those without an end.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// The members of one path may see one network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// The path of the membership, as tokens name it.
    pub epos_name: String,
    /// The network's code.
    pub network: String,
    /// The first year in which the code is this network's.
    pub start_year: i32,
    /// The last.
    pub end_year: i32,
}

/// A line that is no mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub why: String,
}

/// Reads mappings as CSV, of which the first line names the columns.
///
/// # Errors
/// Every line that is none.
pub fn read_csv(input: impl Read) -> Result<Vec<Mapping>, Vec<BadLine>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .comment(Some(b'#'))
        .has_headers(false)
        .from_reader(input);
    let mut bad = Vec::new();
    let mut found: BTreeMap<Mapping, u64> = BTreeMap::new();
    let mut first = true;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                bad.push(BadLine {
                    line,
                    why: "it is not CSV in UTF-8".to_owned(),
                });
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        // The reader knows only comments that begin with the line, and would take one behind spaces for a name.
        if record.get(0).is_some_and(|field| field.starts_with('#')) {
            continue;
        }
        if std::mem::take(&mut first) {
            if !record.iter().eq(COLUMNS) {
                let why = format!("expected the names of the columns, {}", COLUMNS.join(","));
                bad.push(BadLine { line, why });
            }
            continue;
        }
        match Mapping::of(&record) {
            Err(why) => bad.push(BadLine { line, why }),
            Ok(mapping) => {
                if let Some(earlier) = found.get(&mapping) {
                    let why = format!("the same as line {earlier}");
                    bad.push(BadLine { line, why });
                } else {
                    found.insert(mapping, line);
                }
            }
        }
    }
    if first {
        let why = format!("expected the names of the columns, {}", COLUMNS.join(","));
        bad.push(BadLine { line: 1, why });
    }
    if bad.is_empty() {
        let mut lines: Vec<_> = found.into_iter().collect();
        lines.sort_by_key(|(_, line)| *line);
        Ok(lines.into_iter().map(|(mapping, _)| mapping).collect())
    } else {
        Err(bad)
    }
}

impl Mapping {
    /// The fields of one line; all that is wrong is told.
    fn of(record: &csv::StringRecord) -> Result<Self, String> {
        let fields: Vec<&str> = record.iter().collect();
        let [path, network, start, end] = fields.as_slice() else {
            return Err(format!("expected 4 fields, found {}", record.len()));
        };
        let mut wrong = Vec::new();
        if !is_word(path, LONGEST_PATH) || path.contains(';') {
            wrong.push("epos_name: expected a path without semicolons".to_owned());
        }
        if !is_word(network, LONGEST_CODE) {
            wrong.push("network: expected a code".to_owned());
        }
        let mut year = |name: &str, text: &str| {
            let year = text.parse::<i32>().ok().filter(|year| YEARS.contains(year));
            if year.is_none() {
                wrong.push(format!("{name}: expected a year, found `{text}`"));
            }
            year.unwrap_or_default()
        };
        let (start_year, end_year) = (year("start_year", start), year("end_year", end));
        if wrong.is_empty() && end_year < start_year {
            wrong.push("end_year: expected a year not before start_year".to_owned());
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        Ok(Self {
            epos_name: (*path).to_owned(),
            network: (*network).to_owned(),
            start_year,
            end_year,
        })
    }

    /// Its fields as text.
    #[must_use]
    pub fn fields(&self) -> [String; 4] {
        [
            self.epos_name.clone(),
            self.network.clone(),
            self.start_year.to_string(),
            self.end_year.to_string(),
        ]
    }
}

fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapping(epos_name: &str, network: &str, start_year: i32, end_year: i32) -> Mapping {
        Mapping {
            epos_name: epos_name.to_owned(),
            network: network.to_owned(),
            start_year,
            end_year,
        }
    }

    #[test]
    fn lines_are_read_in_their_order() {
        let text = "epos_name,network,start_year,end_year\n# AlpArray\n/epos/b,Z3,2015,2022\n\n\"/epos/a\", FR ,1994,9999\r\n";
        let expected = vec![
            mapping("/epos/b", "Z3", 2015, 2022),
            mapping("/epos/a", "FR", 1994, 9999),
        ];
        assert_eq!(read_csv(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn every_bad_line_is_named_by_its_number() {
        let text = "epos_name,network,start_year,end_year\n/epos/a,Z3,2015,2022\n/epos/a,Z3,2015\n,,x,99999\n/epos/a,Z3,2015,2022\n/epos/a;/b,Z3,2022,2015\n";
        let bad = read_csv(text.as_bytes()).unwrap_err();
        let lines: Vec<u64> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        assert_eq!(bad[0].why, "expected 4 fields, found 3");
        assert_eq!(
            bad[1].why,
            "epos_name: expected a path without semicolons; network: expected a code; start_year: expected a year, \
             found `x`; end_year: expected a year, found `99999`"
        );
        assert_eq!(bad[2].why, "the same as line 2");
        assert!(bad[3].why.starts_with("epos_name"));
        let backwards = "epos_name,network,start_year,end_year\n/epos/a,Z3,2022,2015\n";
        assert!(
            read_csv(backwards.as_bytes()).unwrap_err()[0]
                .why
                .contains("not before")
        );
        for text in ["", "/epos/a,Z3,2015,2022\n", "epos_name,network\n"] {
            let bad = read_csv(text.as_bytes()).unwrap_err();
            assert!(
                bad[0].line == 1 && bad[0].why.contains("names of the columns"),
                "{text}"
            );
        }
        assert!(read_csv(&b"epos_name,network,start_year,end_year\n\xff,Z3,2015,2022\n"[..]).is_err());
    }

    proptest! {
        #[test]
        fn any_input_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_csv(&bytes[..]);
        }
    }
}
