//! A subject, what makes it valid, and what a change of it may change.

use std::collections::BTreeSet;

use identity_core::http::Invalid;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::dates::{Moment, shown};

/// The most characters of an SSSID, a name or an address.
const LONGEST_TEXT: usize = 255;
/// What is a subject's own, and never one of its other members.
const KNOWN: [&str; 12] = [
    "sssid",
    "name",
    "bday",
    "email",
    "date_invited",
    "date_consented",
    "date_enrolled",
    "date_withdrawn",
    "created",
    "changed",
    "_id",
    "type",
];

/// The dates of a subject, in their order.
pub(crate) const DATES: [&str; 4] = [
    "date_invited",
    "date_consented",
    "date_enrolled",
    "date_withdrawn",
];

/// A study subject.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) sssid: String,
    pub(crate) name: String,
    pub(crate) bday: Moment,
    pub(crate) email: Option<String>,
    /// As [`DATES`].
    pub(crate) dates: [Option<Moment>; 4],
    /// Whether `date_enrolled` and `date_withdrawn` do not follow the links.
    pub(crate) by_hand: [bool; 2],
    pub(crate) extra: Map<String, Value>,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
}

impl Subject {
    /// Whether the subject may get links.
    pub(crate) fn has_consented(&self) -> bool {
        self.dates.get(1).is_some_and(Option::is_some)
    }

    /// Whether the subject takes part no more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.dates.get(3).is_some_and(Option::is_some)
    }

    /// Reads a new subject.
    ///
    /// # Errors
    /// All that is wrong.
    pub(crate) fn read(members: Map<String, Value>, now: Timestamp) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let wish = Wish::read(&members, &mut errors);
        for (name, missing) in [
            ("sssid", wish.sssid.is_none()),
            ("name", wish.name.is_none()),
            ("bday", wish.bday.is_none()),
        ] {
            if missing
                && !errors
                    .iter()
                    .any(|error| error.pointer.trim_start_matches('/') == name)
            {
                errors.push(Invalid::new(format!("/{name}"), "is missing"));
            }
        }
        match wish {
            Wish {
                sssid: Some(sssid),
                name: Some(name),
                bday: Some(bday),
                email,
                no_email: _,
                dates,
            } if errors.is_empty() => Ok(Self {
                sssid,
                name,
                bday,
                email,
                by_hand: [2, 3].map(|date: usize| dates.get(date).is_some_and(Option::is_some)),
                dates,
                extra: other_members(members),
                created: now,
                changed: now,
            }),
            _ => Err(errors),
        }
    }

    /// The subject as it is shown.
    pub(crate) fn document(&self) -> Value {
        let mut members = self.extra.clone();
        members.insert("sssid".to_owned(), json!(self.sssid));
        members.insert("name".to_owned(), json!(self.name));
        members.insert("bday".to_owned(), json!(self.bday.text));
        if let Some(email) = &self.email {
            members.insert("email".to_owned(), json!(email));
        }
        for (name, date) in DATES.iter().zip(&self.dates) {
            members.insert((*name).to_owned(), json!(date.as_ref().map(|date| &date.text)));
        }
        members.insert("created".to_owned(), json!(shown(self.created)));
        members.insert("changed".to_owned(), json!(shown(self.changed)));
        Value::Object(members)
    }

    /// Changes what `members` name, and gives a line for each change: old → new.
    ///
    /// # Errors
    /// [`Refused`]
    pub(crate) fn change(
        &mut self,
        members: Map<String, Value>,
        now: Timestamp,
    ) -> Result<Vec<String>, Refused> {
        let mut errors = Vec::new();
        let wish = Wish::read(&members, &mut errors);
        if !errors.is_empty() {
            return Err(Refused::Invalid(errors));
        }
        let mut changes = Vec::new();
        let mut note = |name: &str, old: &Value, new: &Value| {
            // A member of others' may be called as it likes; Postgres takes no NUL in a text.
            let name = name.replace('\0', "");
            changes.push(format!("changed {name}: {} → {}", in_words(old), in_words(new)));
        };
        for (index, name) in DATES.iter().enumerate() {
            let given = members.contains_key(*name);
            let new = wish.dates.get(index).cloned().flatten();
            let Some(old) = self.dates.get_mut(index).filter(|_| given) else {
                continue;
            };
            match (&old, &new) {
                (Some(old), Some(new)) if old.at == new.at => {}
                (Some(_), _) => return Err(Refused::DateIsSet(name)),
                (None, None) => {}
                (None, Some(date)) => {
                    note(name, &Value::Null, &json!(date.text));
                    if let Some(by_hand) = index.checked_sub(2).and_then(|index| self.by_hand.get_mut(index))
                    {
                        *by_hand = true;
                    }
                    *old = new;
                }
            }
        }
        if let Some(name) = wish.name.filter(|name| *name != self.name) {
            note("name", &json!(self.name), &json!(name));
            self.name = name;
        }
        if let Some(bday) = wish.bday.filter(|bday| bday.text != self.bday.text) {
            note("bday", &json!(self.bday.text), &json!(bday.text));
            self.bday = bday;
        }
        if (wish.email.is_some() || wish.no_email) && wish.email != self.email {
            note("email", &json!(self.email), &json!(wish.email));
            self.email = wish.email;
        }
        for (name, new) in other_members(members) {
            let old = self.extra.get(&name).cloned();
            if old.as_ref() != Some(&new) {
                note(&name, &old.unwrap_or_default(), &new);
                self.extra.insert(name, new);
            }
        }
        if !changes.is_empty() {
            self.changed = now;
        }
        Ok(changes)
    }
}

/// Why a change is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What is not valid in it.
    Invalid(Vec<Invalid>),
    /// A date that is set stays as it is.
    DateIsSet(&'static str),
}

/// The members that we know, as far as they are given and valid.
struct Wish {
    sssid: Option<String>,
    name: Option<String>,
    bday: Option<Moment>,
    email: Option<String>,
    /// The address is to be taken away.
    no_email: bool,
    dates: [Option<Moment>; 4],
}

impl Wish {
    fn read(members: &Map<String, Value>, errors: &mut Vec<Invalid>) -> Self {
        let required = |name: &str, errors: &mut Vec<Invalid>| {
            members.get(name).and_then(|value| {
                text(value)
                    .map_err(|detail| errors.push(Invalid::new(format!("/{name}"), detail)))
                    .ok()
            })
        };
        let date = |name: &str, errors: &mut Vec<Invalid>| match members.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => value
                .as_str()
                .ok_or(super::dates::EXPECTED)
                .and_then(Moment::parse)
                .map_err(|detail| errors.push(Invalid::new(format!("/{name}"), detail)))
                .ok(),
        };
        let sssid = required("sssid", errors);
        let name = required("name", errors);
        let bday = match members.get("bday") {
            Some(Value::Null) => {
                errors.push(Invalid::new("/bday", "is empty"));
                None
            }
            Some(Value::String(text)) if text.trim().is_empty() => {
                errors.push(Invalid::new("/bday", "is empty"));
                None
            }
            _ => date("bday", errors),
        };
        let no_email = members.get("email").is_some_and(|email| {
            email.is_null() || email.as_str().is_some_and(|text| text.trim().is_empty())
        });
        let email = if no_email { None } else { required("email", errors) };
        Self {
            sssid,
            name,
            bday,
            email,
            no_email,
            dates: DATES.map(|name| date(name, errors)),
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim);
    match text {
        None if value.is_null() => Err("is empty".to_owned()),
        None => Err("expected a text".to_owned()),
        Some("") => Err("is empty".to_owned()),
        Some(text) if text.chars().any(char::is_control) => Err("has control characters".to_owned()),
        Some(text) if text.chars().count() > LONGEST_TEXT => {
            Err(format!("is longer than {LONGEST_TEXT} characters"))
        }
        Some(text) => Ok(text.to_owned()),
    }
}

/// What is kept as it came.
fn other_members(members: Map<String, Value>) -> Map<String, Value> {
    members
        .into_iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .collect()
}

/// A value for a person who reads the audit trail.
fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        value => value.to_string().replace('\u{0}', ""),
    }
}

/// How a text is compared in a search: normalised (NFKC), in lower case.
pub(crate) fn search_key(text: &str) -> String {
    // Small letters of one large one can stand in another order than marks behind them.
    text.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

/// How a name is put in order: without case and accents.
pub(crate) fn order_key(text: &str) -> String {
    let plain: String = text
        .nfkd()
        .filter(|character| !is_combining_mark(*character))
        .collect();
    plain.to_lowercase()
}

/// Every three neighbouring characters of a search key.
pub(crate) fn grams(key: &str) -> Vec<String> {
    let characters: Vec<char> = key.chars().collect();
    let grams: BTreeSet<String> = characters
        .windows(3)
        .map(|three| three.iter().collect())
        .collect();
    grams.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn subject() -> Subject {
        let document =
            json!({"sssid": "S-1", "name": "Mei Tanimoto", "bday": "1976-04-12", "site": {"room": 1.5}});
        Subject::read(members(&document), Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let document = json!({"sssid": " ", "bday": "yesterday", "email": 7, "date_invited": "2026-02-30"});
        let errors = Subject::read(members(&document), Timestamp::UNIX_EPOCH).unwrap_err();
        let mut wrong: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        wrong.sort_unstable();
        assert_eq!(wrong, ["/bday", "/date_invited", "/email", "/name", "/sssid"]);
    }

    #[test]
    fn a_change_tells_old_and_new_and_a_set_date_stays() {
        let mut subject = subject();
        let wish =
            json!({"sssid": "S-1", "name": "Mei T.", "date_invited": "2026-01-01", "site": null, "new": [1]});
        let mut changes = subject.change(members(&wish), Timestamp::UNIX_EPOCH).unwrap();
        changes.sort();
        assert_eq!(
            changes,
            [
                "changed date_invited: nothing → \"2026-01-01\"",
                "changed name: \"Mei Tanimoto\" → \"Mei T.\"",
                "changed new: nothing → [1]",
                "changed site: {\"room\":1.5} → nothing",
            ]
        );
        let same = json!({"date_invited": "2026-01-01T00:00:00Z", "date_consented": null});
        assert!(
            subject
                .change(members(&same), Timestamp::UNIX_EPOCH)
                .unwrap()
                .is_empty()
        );
        for other in [json!("2026-01-02"), Value::Null] {
            let refused = subject.change(members(&json!({ "date_invited": other })), Timestamp::UNIX_EPOCH);
            assert!(matches!(refused, Err(Refused::DateIsSet("date_invited"))));
        }
    }

    #[test]
    fn no_line_of_the_audit_trail_has_a_nul_whatever_a_member_is_called() {
        let wish = json!({"a\u{0}b": "c\u{0}d"});
        let changes = subject().change(members(&wish), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(changes, ["changed ab: nothing → \"c\\u0000d\""]);
    }

    #[test]
    fn keys_find_and_order_names_of_all_kinds() {
        assert_eq!(search_key("Ｍeì"), "meì");
        assert_eq!(order_key("Ärger Élan"), "arger elan");
        assert_eq!(grams("anna"), ["ann", "nna"]);
        assert!(grams("an").is_empty());
    }
}
