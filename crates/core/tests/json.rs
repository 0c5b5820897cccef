//! JSON as it is read from strangers: what `serde_json` reads, but no member twice.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::fmt::Write;

use identity_core::http::body::json;
use proptest::prelude::*;
use serde_json::Value;

/// JSON in which an object may name a member twice, which `serde_json::Value` cannot hold.
#[derive(Debug, Clone)]
enum Loose {
    Leaf(Value),
    Array(Vec<Loose>),
    Object(Vec<(String, Loose)>),
}

impl Loose {
    fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(value) => write!(text, " {value} ").unwrap(),
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    write!(text, "{}:", Value::from(name.as_str())).unwrap();
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    fn names_twice(&self) -> bool {
        match self {
            Self::Leaf(_) => false,
            Self::Array(items) => items.iter().any(Self::names_twice),
            Self::Object(members) => {
                let mut seen = HashSet::new();
                members
                    .iter()
                    .any(|(name, value)| !seen.insert(name) || value.names_twice())
            }
        }
    }
}

fn loose() -> impl Strategy<Value = Loose> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ]
    .prop_map(Loose::Leaf);
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Loose::Array),
            // Few names, so that some come twice.
            proptest::collection::vec(("[a-d]|\\PC", inner), 0..4).prop_map(Loose::Object),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_read_as_serde_reads_it_unless_a_member_comes_twice(document in loose()) {
        let mut text = String::new();
        document.write(&mut text);
        match json(text.as_bytes()) {
            Ok(value) => {
                prop_assert!(!document.names_twice());
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
            Err(problem) => {
                prop_assert!(document.names_twice(), "{}: {}", text, problem.detail());
                prop_assert_eq!(problem.status().as_u16(), 400);
            }
        }
    }

    #[test]
    fn what_serde_refuses_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = json(&bytes) {
            prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).unwrap());
        }
    }

    #[test]
    fn what_looks_like_json_does_not_break_it(text in r#"[\[\]{}",:0-9eE+.\\u truefalsn-]{0,60}"#) {
        let strict = json(text.as_bytes());
        let serde = serde_json::from_str::<Value>(&text);
        prop_assert!(strict.is_err() || serde.is_ok());
    }
}
