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

    /// The patch for the eyes of others: without access tokens.
    pub fn without_secrets(&self) -> Value {
        let mut shown = match self {
            Self::Operations(_, sent) | Self::Merge(sent) => sent.clone(),
        };
        if let (Self::Operations(..), Value::Array(operations)) = (self, &mut shown) {
            operations.retain(|operation| !is_about_token(operation));
        }
        strip_tokens(&mut shown);
        shown
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

fn is_about_token(operation: &Value) -> bool {
    let ends_there = |name: &str| {
        let pointer = operation.get(name).and_then(Value::as_str);
        pointer.is_some_and(|pointer| pointer.ends_with("/access_token"))
    };
    ends_there("path") || ends_there("from")
}

fn strip_tokens(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_tokens),
        Value::Object(members) => {
            members.remove("access_token");
            members.values_mut().for_each(strip_tokens);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
