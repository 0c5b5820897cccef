//! The query of a list of records: filters and pages.

use std::collections::HashSet;

use actix_web::http::header::HeaderValue;
use identity_core::http::{Invalid, Problem};
use url::form_urlencoded;

use super::model::{Email, ServiceName, checked_text, escaped};
use super::words::words_of_search;

/// How many records a page has unless it is said.
const PAGE_SIZE: usize = 100;
/// The most records of a page.
const LARGEST_PAGE: usize = 1000;
/// The most characters of a filter.
const LONGEST_FILTER: usize = 320;

/// Which records, and which page of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub filters: Filters,
    pub page_size: usize,
    pub from: From,
}

/// Every filter narrows what the others leave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// The address, as it is compared.
    pub email: Option<String>,
    /// The words of which every one begins some word of the name.
    pub name_words: Vec<String>,
    /// The service and the account there.
    pub account: Option<(ServiceName, String)>,
    /// The filters as they were given, for links.
    given: Vec<(String, String)>,
}

/// Where a page begins, in the order of ids.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub enum From {
    /// With the first record.
    #[default]
    Start,
    /// With the first record behind this id.
    After(i64),
    /// It ends with the last record before this id.
    Before(i64),
}

/// What lies around a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Around {
    /// The ids of the first and the last record of the page.
    pub ends: Option<(i64, i64)>,
    /// Whether records lie before it.
    pub before: bool,
    /// Whether records lie behind it.
    pub behind: bool,
}

impl ListQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 with every parameter that is unknown, repeated or malformed.
    pub fn read(query: &str) -> Result<Self, Problem> {
        let mut reading = Reading::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            reading.parameter(&name, &value);
        }
        reading.finish().map_err(Problem::invalid)
    }

    /// The `Link` header (RFC 8288) of this page of the list at `path`: the relations that exist, as unquoted tokens.
    #[must_use]
    pub fn links(&self, path: &str, around: &Around) -> Option<HeaderValue> {
        let mut links = Vec::new();
        // A page behind the last record has no ends; where it begins still tells what is before it.
        let (first, last) = around.ends.unwrap_or(match self.from {
            From::Start => (i64::MIN, i64::MAX),
            From::After(id) => (id.saturating_add(1), id),
            From::Before(id) => (id, id.saturating_sub(1)),
        });
        if around.behind {
            links.push(format!(
                "<{}>; rel=next",
                self.link(path, Some(("after_id", last)))
            ));
        }
        if around.before {
            links.push(format!(
                "<{}>; rel=previous",
                self.link(path, Some(("before_id", first)))
            ));
            links.push(format!("<{}>; rel=first", self.link(path, None)));
        }
        // The parameters are encoded, so that the header's value cannot be invalid.
        (!links.is_empty())
            .then(|| HeaderValue::try_from(links.join(", ")).ok())
            .flatten()
    }

    fn link(&self, path: &str, position: Option<(&str, i64)>) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
        query.append_pair("page_size", &self.page_size.to_string());
        if let Some((name, id)) = position {
            query.append_pair(name, &id.to_string());
        }
        query.extend_pairs(&self.filters.given);
        query.finish()
    }
}

#[derive(Default)]
struct Reading {
    query: ListQuery,
    seen: HashSet<String>,
    service: Option<ServiceName>,
    service_id: Option<String>,
    errors: Vec<Invalid>,
}

impl Reading {
    fn parameter(&mut self, name: &str, value: &str) {
        let read = if self.seen.insert(name.to_owned()) {
            self.value(name, value)
        } else {
            Err("is given twice".to_owned())
        };
        match read {
            Ok(()) if matches!(name, "email" | "name" | "service" | "service_id") => {
                self.query.filters.given.push((name.to_owned(), value.to_owned()));
            }
            Ok(()) => {}
            Err(detail) => self
                .errors
                .push(Invalid::new(format!("/{}", escaped(name)), detail)),
        }
    }

    fn value(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || checked_text(value, LONGEST_FILTER);
        match name {
            "email" => self.query.filters.email = Some(Email::new(text()?).key),
            // Of no word at all, every record has all.
            "name" if value.trim().is_empty() => {}
            "name" => self.query.filters.name_words = words_of_search(&text()?),
            "service" => self.service = Some(value.parse()?),
            "service_id" => self.service_id = Some(text()?),
            "page_size" => self.query.page_size = page_size(value)?,
            "after_id" => self.from(From::After(id(value)?))?,
            "before_id" => self.from(From::Before(id(value)?))?,
            _ => return Err("is not known".to_owned()),
        }
        Ok(())
    }

    fn from(&mut self, from: From) -> Result<(), String> {
        if self.query.from != From::Start {
            return Err("after_id and before_id exclude each other".to_owned());
        }
        self.query.from = from;
        Ok(())
    }

    fn finish(mut self) -> Result<ListQuery, Vec<Invalid>> {
        let seen = |name: &str| self.seen.contains(name);
        for (name, other) in [("service", "service_id"), ("service_id", "service")] {
            if seen(name) && !seen(other) {
                self.errors.push(Invalid::new(
                    format!("/{other}"),
                    format!("is needed beside {name}"),
                ));
            }
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        if self.query.page_size == 0 {
            self.query.page_size = PAGE_SIZE;
        }
        self.query.filters.account = self.service.zip(self.service_id);
        Ok(self.query)
    }
}

fn page_size(value: &str) -> Result<usize, String> {
    let size = value
        .parse()
        .ok()
        .filter(|size| (1..=LARGEST_PAGE).contains(size));
    size.ok_or_else(|| format!("expected a number from 1 to {LARGEST_PAGE}"))
}

fn id(value: &str) -> Result<i64, String> {
    let id = value.parse().ok().filter(|id| *id >= 0);
    id.ok_or_else(|| "expected the id of a record".to_owned())
}
