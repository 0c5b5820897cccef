//! What a list of subjects is asked for.

use std::collections::HashSet;

use identity_core::http::Invalid;

use super::model::search_key;

/// The most subjects of a page.
const LARGEST_PAGE: i64 = 500;
/// The most characters of a search.
const LONGEST_SEARCH: usize = 255;

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// In the form in which it is compared.
    pub(crate) search: Option<String>,
    pub(crate) status: Option<i16>,
    pub(crate) order: Order,
    pub(crate) descending: bool,
    pub(crate) offset: i64,
    pub(crate) page: i64,
}

/// By which member the list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    member: &'static str,
    /// The column that keeps the order.
    pub(crate) column: &'static str,
    /// Whether it may be empty: what is empty comes first, and in descending order last.
    pub(crate) nullable: bool,
}

const ORDERS: [Order; 10] = [
    order("sssid", "sssid", false),
    order("name", "name_order", false),
    order("bday", "bday_at", false),
    order("email", "email_order", true),
    order("date_invited", "invited_at", true),
    order("date_consented", "consented_at", true),
    order("date_enrolled", "enrolled_at", true),
    order("date_withdrawn", "withdrawn_at", true),
    order("created", "created", false),
    order("changed", "changed", false),
];

const fn order(member: &'static str, column: &'static str, nullable: bool) -> Order {
    Order {
        member,
        column,
        nullable,
    }
}

impl ListQuery {
    /// Reads a query string. What is given empty is not given; what we do not know is left alone.
    ///
    /// # Errors
    /// All that is wrong.
    pub(crate) fn read(query: &str) -> Result<Self, Vec<Invalid>> {
        let [bysssid, ..] = ORDERS;
        let mut read = Self {
            search: None,
            status: None,
            order: bysssid,
            descending: false,
            offset: 0,
            page: 50,
        };
        let mut errors = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            let outcome = read.take(&name, &value);
            let detail = if outcome == Ok(false) || seen.insert(name.clone().into_owned()) {
                outcome.map(|_| ())
            } else {
                Err("is given twice".to_owned())
            };
            errors.extend(
                detail
                    .err()
                    .map(|detail| Invalid::new(format!("/{name}"), detail)),
            );
        }
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    /// Takes one parameter; whether it is one of ours.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "search" if value.chars().count() > LONGEST_SEARCH => {
                return Err(format!("is longer than {LONGEST_SEARCH} characters"));
            }
            // No SSSID and no name has control characters, and Postgres takes no NUL.
            "search" => self.search = Some(search_key(value).replace('\0', "\u{1}")),
            "offset" => self.offset = number(value, 0, i64::MAX, "expected a number from 0 on")?,
            "perpage" => self.page = number(value, 1, LARGEST_PAGE, "expected a number from 1 to 500")?,
            "status" => {
                let status = number(value, 0, 3, "expected 0, 1, 2 or 3")?;
                self.status = Some(i16::try_from(status).unwrap_or_default());
            }
            "ordercol" => {
                let known = ORDERS.iter().find(|order| order.member == value);
                self.order = *known.ok_or_else(|| {
                    let members: Vec<_> = ORDERS.iter().map(|order| order.member).collect();
                    format!("expected one of {}", members.join(", "))
                })?;
            }
            "orderdir" => match value.to_ascii_lowercase().as_str() {
                "asc" => self.descending = false,
                "desc" => self.descending = true,
                _ => return Err("expected asc or desc".to_owned()),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number(text: &str, least: i64, most: i64, expected: &str) -> Result<i64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_given_has_its_default() {
        let read = ListQuery::read("search=&status=&_=1732440000").unwrap();
        assert_eq!((read.offset, read.page, read.descending), (0, 50, false));
        assert_eq!(
            (read.order.member, read.search, read.status),
            ("sssid", None, None)
        );
    }

    #[test]
    fn everything_malformed_is_told_at_once() {
        let wrong = "offset=-1&perpage=501&status=4&ordercol=type&orderdir=up";
        assert_eq!(ListQuery::read(wrong).unwrap_err().len(), 5);
        for wrong in [
            "perpage=0",
            "offset=+1",
            "offset=1e3",
            "status=enrolled",
            "offset=1&offset=2",
        ] {
            assert!(ListQuery::read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".*") {
            let _ = ListQuery::read(&query);
        }
    }
}
