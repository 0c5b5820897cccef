//! A row of the audit trail, and the chain of hashes.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What the first row carries for the hash of the one before it.
pub(super) const BEGINNING: [u8; 32] = [0; 32];

/// What is noted of a change.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(super) actor: Option<String>,
    pub(super) kind: &'static str,
    pub(super) object: String,
    pub(super) sssid: Option<String>,
    pub(super) action: String,
}

impl Entry {
    /// Of a user.
    pub(crate) fn of_user(username: &str, action: impl Into<String>) -> Self {
        Self {
            actor: None,
            kind: "user",
            object: username.to_owned(),
            sssid: None,
            action: action.into(),
        }
    }

    /// Of a subject.
    pub(crate) fn of_subject(sssid: &str, action: impl Into<String>) -> Self {
        Self {
            actor: None,
            kind: "subject",
            object: sssid.to_owned(),
            sssid: Some(sssid.to_owned()),
            action: action.into(),
        }
    }

    /// Of a link, in the history of its subject.
    pub(crate) fn of_link(link: Uuid, sssid: &str, action: impl Into<String>) -> Self {
        Self {
            actor: None,
            kind: "link",
            object: link.to_string(),
            sssid: Some(sssid.to_owned()),
            action: action.into(),
        }
    }

    /// By whom; none: by nobody who has signed in.
    pub(crate) fn by(mut self, actor: Option<&str>) -> Self {
        self.actor = actor.map(ToOwned::to_owned);
        self
    }
}

/// A row as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) at: Timestamp,
    pub(super) actor: Option<String>,
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) sssid: Option<String>,
    pub(super) action: String,
    pub(super) previous_hash: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Row {
    /// The row that follows one of `seq` and `hash`.
    pub(super) fn following(seq: i64, hash: &[u8], entry: &Entry, at: Timestamp) -> Self {
        let mut row = Self {
            seq: seq.saturating_add(1),
            at,
            actor: entry.actor.clone(),
            kind: entry.kind.to_owned(),
            object: entry.object.clone(),
            sssid: entry.sssid.clone(),
            action: entry.action.clone(),
            previous_hash: hash.to_vec(),
            hash: Vec::new(),
        };
        row.hash = row.digest().to_vec();
        row
    }

    /// SHA-256 of the previous hash and all columns, each a text with its length before it; of what is
    /// none the length is the largest number.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut add = |text: Option<&str>| {
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            hasher.update(length.to_be_bytes());
            hasher.update(text.unwrap_or_default());
        };
        add(Some(&data_encoding::HEXLOWER.encode(&self.previous_hash)));
        add(Some(&self.seq.to_string()));
        add(Some(&self.at.as_microsecond().to_string()));
        add(self.actor.as_deref());
        add(Some(&self.kind));
        add(Some(&self.object));
        add(self.sssid.as_deref());
        add(Some(&self.action));
        hasher.finalize().into()
    }

    /// What is wrong with the row, coming after one of `seq` and `hash`.
    pub(super) fn fault_after(&self, seq: i64, hash: &[u8]) -> Option<&'static str> {
        if self.seq != seq.saturating_add(1) {
            Some("a row before it is missing")
        } else if self.previous_hash != hash {
            Some("it does not carry the hash of the row before it")
        } else if self.hash != self.digest() {
            Some("its own hash is not that of its content")
        } else {
            None
        }
    }
}

/// A change as the frontends see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    #[schema(example = "2026-11-24T09:15:00Z")]
    pub(super) datetime: String,
    /// Who did it; missing where nobody had signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<String>,
    #[schema(example = "[Link] created")]
    pub(super) action: String,
}

impl Row {
    /// A row as it is exported.
    pub(super) fn exported(&self) -> Exported<'_> {
        Exported {
            seq: self.seq,
            datetime: self.at.to_string(),
            actor: self.actor.as_deref(),
            kind: &self.kind,
            object: &self.object,
            sssid: self.sssid.as_deref(),
            action: &self.action,
            previous_hash: data_encoding::HEXLOWER.encode(&self.previous_hash),
            hash: data_encoding::HEXLOWER.encode(&self.hash),
        }
    }
}

/// A row of an export.
#[derive(Debug, Serialize)]
pub(super) struct Exported<'a> {
    seq: i64,
    datetime: String,
    actor: Option<&'a str>,
    kind: &'a str,
    object: &'a str,
    sssid: Option<&'a str>,
    action: &'a str,
    previous_hash: String,
    hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_can_be_changed_without_the_hash_changing() {
        let entry = Entry::of_subject("S1", "created").by(Some("mei@example.org"));
        let row = Row::following(0, &BEGINNING, &entry, Timestamp::UNIX_EPOCH);
        assert_eq!(row.fault_after(0, &BEGINNING), None);
        let changes: [fn(&mut Row); 8] = [
            |row| row.at = Timestamp::from_microsecond(1).unwrap(),
            |row| row.actor = None,
            |row| row.kind = "link".to_owned(),
            |row| row.object = "S2".to_owned(),
            |row| row.sssid = None,
            |row| row.action.push('.'),
            |row| row.previous_hash = vec![1; 32],
            // A letter that moves from one column to the next.
            |row| {
                row.object.push_str("created");
                row.action = String::new();
            },
        ];
        for change in changes {
            let mut changed = row.clone();
            change(&mut changed);
            assert!(changed.fault_after(0, &BEGINNING).is_some(), "{changed:?}");
        }
        assert!(row.fault_after(1, &BEGINNING).is_some());
        assert!(row.fault_after(0, &[1; 32]).is_some());
    }
}
