//! A client's memory of what it was told, and the comparison with what is stored.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::ops::Add;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::StatusCode;

use crate::answer::Answer;

/// What clients know of the things that they write, each known by a key that they chose.
///
/// A thing is asked for by one client at a time. Once a client does not know what came of a request, it leaves
/// that thing alone: so there is at most one open question about each, and it is the last one.
#[derive(Debug)]
pub struct Ledger<S> {
    things: Mutex<BTreeMap<String, Thing<S>>>,
    tally: Mutex<Tally>,
}

/// `None` stands for: not there.
#[derive(Debug, Clone)]
struct Thing<S> {
    /// What was answered last.
    sure: Option<S>,
    question: Question<S>,
}

#[derive(Debug, Clone)]
enum Question<S> {
    None,
    /// It was asked since that the thing be so, without an answer that tells.
    Open(Option<S>),
}

/// How requests went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered with success.
    pub done: usize,
    /// Answered with 4xx.
    pub refused: usize,
    /// Not sent: nobody listened.
    pub unsent: usize,
    /// Answered with 503.
    pub put_off: usize,
    /// Sent and not answered.
    pub broken: usize,
    /// Answered with another 5xx, which no fault is a reason for.
    pub failed: usize,
}

impl Tally {
    /// Counts how one more request went.
    pub fn count(&mut self, answer: &Answer) {
        let counter = match answer.status {
            Some(status) if status.is_success() => &mut self.done,
            Some(status) if status.is_client_error() => &mut self.refused,
            Some(StatusCode::SERVICE_UNAVAILABLE) => &mut self.put_off,
            Some(_) => &mut self.failed,
            None if answer.is_sent => &mut self.broken,
            None => &mut self.unsent,
        };
        *counter += 1;
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            refused: self.refused + other.refused,
            unsent: self.unsent + other.unsent,
            put_off: self.put_off + other.put_off,
            broken: self.broken + other.broken,
            failed: self.failed + other.failed,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            done,
            refused,
            unsent,
            put_off,
            broken,
            failed,
        } = self;
        write!(
            formatter,
            "{done} done, {refused} refused, {unsent} not sent, {put_off} put off, {broken} without an answer, {failed} failed"
        )
    }
}

impl<S> Default for Ledger<S> {
    fn default() -> Self {
        Self {
            things: Mutex::default(),
            tally: Mutex::default(),
        }
    }
}

impl<S: Clone + Debug + PartialEq> Ledger<S> {
    /// Notes, before it is sent, that the thing `key` shall be `next` (none: gone).
    pub fn asks(&self, key: &str, next: Option<S>) {
        let mut things = self.things();
        let thing = things.entry(key.to_owned()).or_insert(Thing {
            sure: None,
            question: Question::None,
        });
        let is_first = matches!(thing.question, Question::None);
        assert!(is_first, "{key}: the last question is still open");
        thing.question = Question::Open(next);
    }

    /// Notes what came of it. Says whether the client knows now, and may go on with this thing.
    pub fn learns(&self, key: &str, answer: &Answer) -> bool {
        let mut things = self.things();
        let thing = things.get_mut(key).expect("it was asked for");
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let knows = answer.is_success() || answer.is_refusal();
        if knows {
            let question = std::mem::replace(&mut thing.question, Question::None);
            let Question::Open(asked) = question else {
                panic!("{key}: it was asked for")
            };
            if answer.is_success() {
                thing.sure = asked;
            }
        }
        tally.count(answer);
        knows
    }

    /// What the client was last told of `key`.
    #[must_use]
    pub fn sure(&self, key: &str) -> Option<S> {
        self.things().get(key).and_then(|thing| thing.sure.clone())
    }

    /// Everything that is there for sure: the last question about it was answered.
    #[must_use]
    pub fn known(&self) -> Vec<(String, S)> {
        let things = self.things();
        let known = things.iter().filter_map(|(key, thing)| match thing.question {
            Question::None => thing.sure.clone().map(|state| (key.clone(), state)),
            Question::Open(_) => None,
        });
        known.collect()
    }

    /// How the requests went so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares with all that is `stored`: what was answered with success is there, what was not answered is there
    /// in whole or not at all, and nothing is there that nobody asked for. Gives how many requests without an
    /// answer turned out to be done, and how many not.
    ///
    /// # Panics
    /// With the differences.
    pub fn agree(&self, stored: &BTreeMap<String, S>) -> (usize, usize) {
        let (differences, done, not_done) = self.compare(stored);
        let first: Vec<&str> = differences.iter().take(10).map(String::as_str).collect();
        let count = differences.len();
        assert!(differences.is_empty(), "{count} differ:\n{}", first.join("\n"));
        (done, not_done)
    }

    fn compare(&self, stored: &BTreeMap<String, S>) -> (Vec<String>, usize, usize) {
        let things = self.things();
        let (mut done, mut not_done) = (0, 0);
        let mut differences: Vec<String> = stored
            .iter()
            .filter(|(key, _)| !things.contains_key(*key))
            .map(|(key, found)| format!("{key} is {found:?}, and nobody asked for it"))
            .collect();
        for (key, thing) in &*things {
            let found = stored.get(key).cloned();
            match &thing.question {
                Question::Open(asked) if found == *asked => done += 1,
                Question::Open(_) if found == thing.sure => not_done += 1,
                Question::None if found == thing.sure => {}
                _ => differences.push(format!("{key} is {found:?}, and known is {thing:?}")),
            }
        }
        (differences, done, not_done)
    }

    fn things(&self) -> MutexGuard<'_, BTreeMap<String, Thing<S>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn answer(status: Option<u16>) -> Answer {
        Answer {
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
            is_sent: true,
            location: None,
            text: String::new(),
            body: Value::Null,
        }
    }

    /// A ledger in which `a` is 1 for sure, and was then asked to become 2, with this answer.
    fn ledger(status: Option<u16>) -> Ledger<u8> {
        let ledger = Ledger::default();
        ledger.asks("a", Some(1));
        assert!(ledger.learns("a", &answer(Some(201))));
        ledger.asks("a", Some(2));
        let knows = ledger.learns("a", &answer(status));
        assert_eq!(knows, status.is_some_and(|status| status < 500));
        ledger
    }

    fn agrees(ledger: &Ledger<u8>, stored: &[(&str, u8)]) -> bool {
        let stored = stored
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect();
        ledger.compare(&stored).0.is_empty()
    }

    #[test]
    fn what_was_answered_must_be_so() {
        let done = ledger(Some(200));
        assert!(agrees(&done, &[("a", 2)]));
        assert!(!agrees(&done, &[("a", 1)]), "lost");
        assert!(!agrees(&done, &[]), "gone");
        assert!(!agrees(&done, &[("a", 2), ("b", 1)]), "nobody asked for b");
        let refused = ledger(Some(409));
        assert!(agrees(&refused, &[("a", 1)]));
        assert!(!agrees(&refused, &[("a", 2)]), "refused and done all the same");
    }

    #[test]
    fn what_was_not_sent_is_not_done() {
        let ledger = Ledger::default();
        ledger.asks("a", Some(1));
        let nobody = Answer {
            is_sent: false,
            ..answer(None)
        };
        assert!(ledger.learns("a", &nobody));
        assert!(agrees(&ledger, &[]));
        assert!(!agrees(&ledger, &[("a", 1)]));
    }

    #[test]
    fn what_was_not_answered_may_be_so_or_not() {
        for unknown in [ledger(None), ledger(Some(503)), ledger(Some(500))] {
            assert!(agrees(&unknown, &[("a", 1)]));
            assert!(agrees(&unknown, &[("a", 2)]));
            assert!(!agrees(&unknown, &[("a", 3)]), "half done");
            assert!(!agrees(&unknown, &[]), "gone");
        }
        assert_eq!(ledger(Some(500)).tally().failed, 1);
        assert_eq!(ledger(Some(500)).known(), []);
        assert_eq!(ledger(Some(200)).known(), [("a".to_owned(), 2)]);
        assert_eq!(ledger(None).agree(&BTreeMap::from([("a".to_owned(), 2)])), (1, 0));
    }
}
