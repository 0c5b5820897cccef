//! Patches of a record: JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396).

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use identity_core::http::body::json;
use identity_core::http::{Invalid, Problem};
use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::Value;

use super::model::{Draft, NewToken, ServiceName, User};

/// The media types in which a patch can come, as `Accept-Patch` lists them.
pub const MEDIA_TYPES: &str = "application/json-patch+json, application/merge-patch+json";

/// RFC 5789, 3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// How deep the path of an operation may reach, and how much deeper all copies and moves of a patch
/// may lay what they find. JSON that is read nests at most 128 deep; what patches build of it could
/// otherwise nest deeper than the stack is.
const DEEPEST: usize = 128;

/// How much a patch may copy within a record, in bytes of JSON. Each copy can double what is there:
/// without a bound a few dozen operations fill the memory.
const MOST_COPIED: usize = 256 * 1024;

/// A patch as it was sent.
#[derive(Debug)]
pub enum Patch {
    /// RFC 6902: the operations, and the JSON that they were read from.
    Operations(json_patch::Patch, Value),
    /// RFC 7396.
    Merge(Value),
}

/// Why a patch does not apply.
#[derive(Debug, PartialEq, Eq)]
pub enum PatchError {
    /// An operation failed: its number, from 0, and why.
    Operation(usize, String),
    /// The patched document is no valid record.
    Invalid(Vec<Invalid>),
}

impl Patch {
    /// Reads a patch of `media_type`.
    ///
    /// # Errors
    /// 415 with `Accept-Patch` for another type, 400 for what is no patch.
    pub fn read(media_type: Option<&str>, body: &[u8]) -> Result<Self, Problem> {
        match media_type {
            Some("application/json-patch+json") => {
                let sent = json(body)?;
                let operations = read_operations(&sent).map_err(|error| Problem::invalid(vec![error]))?;
                Ok(Self::Operations(operations, sent))
            }
            Some("application/merge-patch+json") => Ok(Self::Merge(json(body)?)),
            _ => {
                let detail = "A patch must be application/json-patch+json or application/merge-patch+json.";
                let accepted = HeaderValue::from_static(MEDIA_TYPES);
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                    .with_header(ACCEPT_PATCH, accepted))
            }
        }
    }

    /// Applies the patch to `user`.
    ///
    /// Services that `user` has already linked stay valid, whatever `allowed` says by now.
    ///
    /// # Errors
    /// [`PatchError`]; the user is as before.
    pub fn apply(&self, user: &User, allowed: &[ServiceName]) -> Result<Draft, PatchError> {
        let mut document = user.document();
        match self {
            Self::Operations(operations, _) => apply_operations(operations, &mut document)?,
            Self::Merge(patch) => json_patch::merge(&mut document, patch),
        }
        if document.is_object() && document.get("id") != Some(&Value::from(user.id)) {
            return Err(PatchError::Invalid(vec![Invalid::new(
                "/id",
                "cannot be changed",
            )]));
        }
        let linked = user.services.keys().filter_map(|name| name.parse().ok());
        let allowed: Vec<ServiceName> = match allowed {
            [] => Vec::new(),
            allowed => allowed.iter().cloned().chain(linked).collect(),
        };
        let mut draft = Draft::read(document, &allowed).map_err(PatchError::Invalid)?;
        self.remove_nulled_tokens(&mut draft);
        Ok(draft)
    }

    /// The patch for the eyes of others, which made `draft` of `user`: as it was sent, but without
    /// access tokens.
    ///
    /// A JSON Patch can bring a token to its place by many ways. One that mentions tokens at all, or
    /// works outside the record, is told as the difference that it made, in which no token can be.
    pub fn without_secrets(&self, user: &User, draft: &Draft) -> Value {
        match self {
            Self::Merge(sent) => {
                let mut shown = sent.clone();
                strip_tokens(&mut shown);
                shown
            }
            Self::Operations(_, sent) if is_plain(sent) => sent.clone(),
            Self::Operations(..) => {
                let before = user.document();
                let mut after = draft.document();
                after["id"] = user.id.into();
                // A patch can always be written.
                serde_json::to_value(json_patch::diff(&before, &after)).unwrap_or_default()
            }
        }
    }

    /// In a merge patch null removes a member, so that the document cannot tell that a token goes.
    fn remove_nulled_tokens(&self, draft: &mut Draft) {
        let Self::Merge(patch) = self else { return };
        for (name, account) in &mut draft.services {
            let token = patch
                .get("services")
                .and_then(|all| all.get(name.as_str()))
                .and_then(|one| one.get("access_token"));
            if token == Some(&Value::Null) {
                account.access_token = NewToken::Removed;
            }
        }
    }
}

fn read_operations(sent: &Value) -> Result<json_patch::Patch, Invalid> {
    let Value::Array(sent) = sent else {
        return Err(Invalid::new("", "expected a list of operations (RFC 6902)"));
    };
    let read = sent.iter().enumerate().map(|(index, operation)| {
        let invalid = |detail: String| Invalid::new(format!("/{index}"), detail);
        // Derived readers also take a list for an object and a number for a name.
        if !operation.get("op").is_some_and(Value::is_string) {
            return Err(invalid(
                "expected an object with the operation's name as op".to_owned(),
            ));
        }
        PatchOperation::deserialize(operation)
            .map_err(|error| invalid(format!("expected an operation of JSON Patch: {error}")))
    });
    read.collect::<Result<_, _>>().map(json_patch::Patch)
}

fn apply_operations(operations: &json_patch::Patch, document: &mut Value) -> Result<(), PatchError> {
    let mut left = Left {
        bytes: MOST_COPIED,
        levels: DEEPEST,
    };
    for (index, operation) in operations.0.iter().enumerate() {
        left.spend(operation, document)
            .map_err(|detail| PatchError::Operation(index, detail.to_owned()))?;
        json_patch::patch(document, std::slice::from_ref(operation))
            .map_err(|error| PatchError::Operation(index, error.kind.to_string()))?;
    }
    Ok(())
}

/// What a patch may still do: without bounds, a small one can fill the memory or the stack.
struct Left {
    /// How much it may copy.
    bytes: usize,
    /// How much deeper it may lay what it finds.
    levels: usize,
}

impl Left {
    fn spend(&mut self, operation: &PatchOperation, document: &Value) -> Result<(), &'static str> {
        let depth = operation.path().count();
        if depth > DEEPEST {
            return Err("the path reaches too deep");
        }
        let from = match operation {
            PatchOperation::Copy(copy) => &copy.from,
            PatchOperation::Move(moved) => &moved.from,
            _ => return Ok(()),
        };
        let deeper = depth.saturating_sub(from.count());
        self.levels = self
            .levels
            .checked_sub(deeper)
            .ok_or("the patch nests too deep")?;
        if let (PatchOperation::Copy(_), Ok(source)) = (operation, from.resolve(document)) {
            self.bytes = self
                .bytes
                .checked_sub(size(source))
                .ok_or("the patch copies too much")?;
        }
        Ok(())
    }
}

/// About how many bytes of JSON a value is.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(members) => {
            members
                .iter()
                .map(|(name, value)| name.len() + size(value) + 4)
                .sum::<usize>()
                + 2
        }
        Value::String(text) => text.len() + 2,
        _ => 8,
    }
}

/// Whether every operation stays within the record and none mentions an access token.
fn is_plain(operations: &Value) -> bool {
    let within = |operation: &Value, name: &str| {
        operation.get(name).and_then(Value::as_str).is_none_or(|pointer| {
            let first = pointer.split('/').nth(1).unwrap_or_default();
            ["", "id", "name", "email", "services"].contains(&first) && !pointer.contains("access_token")
        })
    };
    let plain = |operation: &Value| {
        within(operation, "path")
            && within(operation, "from")
            && !operation.get("value").is_some_and(mentions_token)
    };
    operations
        .as_array()
        .is_some_and(|operations| operations.iter().all(plain))
}

fn mentions_token(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(mentions_token),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name == "access_token" || mentions_token(value)),
        _ => false,
    }
}

/// Takes the tokens out of a merge patch, in which they stand where accounts have them.
fn strip_tokens(patch: &mut Value) {
    let accounts = patch.get_mut("services").and_then(Value::as_object_mut);
    for account in accounts.into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(account) = account.as_object_mut() {
            account.remove("access_token");
        }
    }
}

#[cfg(test)]
mod tests;
