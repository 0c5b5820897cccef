//! The examples of both specifications, and patches of all kinds of any record.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::super::model::{Account, Email};
use super::super::store::shown;
use super::*;

/// Applies a JSON Patch to any document.
fn applied(document: &str, patch: &str) -> Result<Value, String> {
    let mut document = json(document.as_bytes()).map_err(|problem| problem.to_string())?;
    let patch = Patch::read(Some("application/json-patch+json"), patch.as_bytes());
    let Patch::Operations(operations, _) = patch.map_err(|problem| problem.to_string())? else {
        panic!("a JSON Patch was read as another one");
    };
    apply_operations(&operations, &mut document).map_err(|error| format!("{error:?}"))?;
    Ok(document)
}

/// RFC 6902, appendix A: the document, the patch, and what comes of it unless it fails.
const JSON_PATCHES: [(&str, &str, &str, Option<&str>); 16] = [
    (
        "A.1",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux"}]"#,
        Some(r#"{"baz": "qux", "foo": "bar"}"#),
    ),
    (
        "A.2",
        r#"{"foo": ["bar", "baz"]}"#,
        r#"[{"op": "add", "path": "/foo/1", "value": "qux"}]"#,
        Some(r#"{"foo": ["bar", "qux", "baz"]}"#),
    ),
    (
        "A.3",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "remove", "path": "/baz"}]"#,
        Some(r#"{"foo": "bar"}"#),
    ),
    (
        "A.4",
        r#"{"foo": ["bar", "qux", "baz"]}"#,
        r#"[{"op": "remove", "path": "/foo/1"}]"#,
        Some(r#"{"foo": ["bar", "baz"]}"#),
    ),
    (
        "A.5",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "replace", "path": "/baz", "value": "boo"}]"#,
        Some(r#"{"baz": "boo", "foo": "bar"}"#),
    ),
    (
        "A.6",
        r#"{"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}"#,
        r#"[{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]"#,
        Some(r#"{"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}"#),
    ),
    (
        "A.7",
        r#"{"foo": ["all", "grass", "cows", "eat"]}"#,
        r#"[{"op": "move", "from": "/foo/1", "path": "/foo/3"}]"#,
        Some(r#"{"foo": ["all", "cows", "eat", "grass"]}"#),
    ),
    (
        "A.8",
        r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#,
        r#"[{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]"#,
        Some(r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#),
    ),
    (
        "A.9",
        r#"{"baz": "qux"}"#,
        r#"[{"op": "test", "path": "/baz", "value": "bar"}]"#,
        None,
    ),
    (
        "A.10",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/child", "value": {"grandchild": {}}}]"#,
        Some(r#"{"foo": "bar", "child": {"grandchild": {}}}"#),
    ),
    (
        "A.11",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]"#,
        Some(r#"{"foo": "bar", "baz": "qux"}"#),
    ),
    (
        "A.12",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz/bat", "value": "qux"}]"#,
        None,
    ),
    (
        "A.13",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]"#,
        None,
    ),
    (
        "A.14",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": 10}]"#,
        Some(r#"{"/": 9, "~1": 10}"#),
    ),
    (
        "A.15",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": "10"}]"#,
        None,
    ),
    (
        "A.16",
        r#"{"foo": ["bar"]}"#,
        r#"[{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]"#,
        Some(r#"{"foo": ["bar", ["abc", "def"]]}"#),
    ),
];

#[test]
fn the_examples_of_json_patch_come_out_as_they_should() {
    for (name, document, patch, expected) in JSON_PATCHES {
        let expected = expected.map(|expected| serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(applied(document, patch).ok(), expected, "{name}");
    }
}

#[test]
fn lists_and_pointers_are_taken_strictly() {
    for (document, patch, expected) in [
        // At the end, but not beyond; an index has no needless zeros and no sign.
        (
            "[1]",
            r#"[{"op": "add", "path": "/1", "value": 2}]"#,
            Some("[1, 2]"),
        ),
        ("[1]", r#"[{"op": "add", "path": "/2", "value": 2}]"#, None),
        (
            "[1, 2]",
            r#"[{"op": "replace", "path": "/01", "value": 3}]"#,
            None,
        ),
        (
            "[1, 2]",
            r#"[{"op": "replace", "path": "/+1", "value": 3}]"#,
            None,
        ),
        ("[1, 2]", r#"[{"op": "remove", "path": "/1e0"}]"#, None),
        ("[1, 2]", r#"[{"op": "remove", "path": "/-"}]"#, None),
        ("[1, 2]", r#"[{"op": "test", "path": "/-", "value": 2}]"#, None),
        // Null is a value, and no value is none.
        (
            r#"{"a": null}"#,
            r#"[{"op": "test", "path": "/a", "value": null}]"#,
            Some(r#"{"a": null}"#),
        ),
        ("{}", r#"[{"op": "test", "path": "/a", "value": null}]"#, None),
        (
            "{}",
            r#"[{"op": "add", "path": "/a", "value": null}]"#,
            Some(r#"{"a": null}"#),
        ),
        // The empty name is one, and the empty pointer is the whole.
        (
            "{}",
            r#"[{"op": "add", "path": "/", "value": 1}]"#,
            Some(r#"{"": 1}"#),
        ),
        ("{}", r#"[{"op": "add", "path": "", "value": 1}]"#, Some("1")),
        (
            r#"{"a": {"b": 1}}"#,
            r#"[{"op": "copy", "from": "/a", "path": ""}]"#,
            Some(r#"{"b": 1}"#),
        ),
        // A prefix of a name is not above it.
        (
            r#"{"a": 1}"#,
            r#"[{"op": "move", "from": "/a", "path": "/ab"}]"#,
            Some(r#"{"ab": 1}"#),
        ),
        (
            r#"{"a": {"b": 1}}"#,
            r#"[{"op": "move", "from": "/a", "path": "/a/b"}]"#,
            None,
        ),
        (
            r#"{"a": 1}"#,
            r#"[{"op": "move", "from": "/a", "path": "/a"}]"#,
            Some(r#"{"a": 1}"#),
        ),
        // Objects are equal in any order, lists are not.
        (
            r#"{"a": {"x": 1, "y": [1, 2]}}"#,
            r#"[{"op": "test", "path": "/a", "value": {"y": [1, 2], "x": 1}}]"#,
            Some(r#"{"a": {"x": 1, "y": [1, 2]}}"#),
        ),
        (
            r#"{"a": [1, 2]}"#,
            r#"[{"op": "test", "path": "/a", "value": [2, 1]}]"#,
            None,
        ),
    ] {
        let expected = expected.map(|expected| serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(applied(document, patch).ok(), expected, "{document} {patch}");
    }
}

/// RFC 7396, appendix A: the document, the patch, and what comes of it.
const MERGE_PATCHES: [(&str, &str, &str); 15] = [
    (r#"{"a": "b"}"#, r#"{"a": "c"}"#, r#"{"a": "c"}"#),
    (r#"{"a": "b"}"#, r#"{"b": "c"}"#, r#"{"a": "b", "b": "c"}"#),
    (r#"{"a": "b"}"#, r#"{"a": null}"#, "{}"),
    (r#"{"a": "b", "b": "c"}"#, r#"{"a": null}"#, r#"{"b": "c"}"#),
    (r#"{"a": ["b"]}"#, r#"{"a": "c"}"#, r#"{"a": "c"}"#),
    (r#"{"a": "c"}"#, r#"{"a": ["b"]}"#, r#"{"a": ["b"]}"#),
    (
        r#"{"a": {"b": "c"}}"#,
        r#"{"a": {"b": "d", "c": null}}"#,
        r#"{"a": {"b": "d"}}"#,
    ),
    (r#"{"a": [{"b": "c"}]}"#, r#"{"a": [1]}"#, r#"{"a": [1]}"#),
    (r#"["a", "b"]"#, r#"["c", "d"]"#, r#"["c", "d"]"#),
    (r#"{"a": "b"}"#, r#"["c"]"#, r#"["c"]"#),
    (r#"{"a": "foo"}"#, "null", "null"),
    (r#"{"a": "foo"}"#, r#""bar""#, r#""bar""#),
    (r#"{"e": null}"#, r#"{"a": 1}"#, r#"{"e": null, "a": 1}"#),
    ("[1, 2]", r#"{"a": "b", "c": null}"#, r#"{"a": "b"}"#),
    ("{}", r#"{"a": {"bb": {"ccc": null}}}"#, r#"{"a": {"bb": {}}}"#),
];

#[test]
fn the_examples_of_merge_patch_come_out_as_they_should() {
    for (document, patch, expected) in MERGE_PATCHES {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let Ok(Patch::Merge(merged)) = Patch::read(Some("application/merge-patch+json"), patch.as_bytes())
        else {
            panic!("no merge patch: {patch}");
        };
        let mut document = read(document);
        json_patch::merge(&mut document, &merged);
        assert_eq!(document, read(expected), "{patch}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-cÄßΣ'~/\u{1F43A}][a-cÄßΣ'~/ \u{1F43A}]{0,5}[a-c]"
}

fn user() -> impl Strategy<Value = User> {
    let services = prop::collection::btree_map("[ab]{1,2}", text(), 0..4);
    (text(), text(), services).prop_map(|(name, email, services)| User {
        id: 7,
        name,
        email,
        services: services
            .into_iter()
            .map(|(service, id)| (service, Account { id }))
            .collect(),
        version: 3,
    })
}

/// Pointers into a record, and some that lead nowhere.
fn pointer() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "id",
        "name",
        "email",
        "services",
        "a",
        "ab",
        "access_token",
        "-",
        "0",
        "1",
        "",
        "~01",
    ]);
    prop_oneof![
        2 => prop::collection::vec(parts, 0..5)
            .prop_map(|parts| parts.into_iter().flat_map(|part| ["/", part]).collect()),
        3 => prop::sample::select(vec![
            "/name", "/email", "/services", "/services/a", "/services/ab", "/services/a/id", "/services/b/access_token",
        ])
        .prop_map(ToOwned::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        Just(json!(7)),
        text().prop_map(Value::from),
        text().prop_map(|id| json!({"id": id})),
        text().prop_map(|token| json!({"id": "1", "access_token": token})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let names = prop::sample::select(vec!["id", "name", "email", "services", "a", "access_token", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    (name, pointer(), pointer(), value())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
}

fn patch() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        prop::collection::vec(operation(), 0..6)
            .prop_map(|operations| ("application/json-patch+json", operations.into())),
        value().prop_map(|value| ("application/merge-patch+json", value)),
    ]
}

fn read((media_type, patch): &(&'static str, Value)) -> Patch {
    Patch::read(Some(media_type), patch.to_string().as_bytes()).unwrap()
}

/// The user that the draft makes of user 7.
fn user_of(draft: &Draft) -> User {
    User {
        id: 7,
        name: draft.name.clone(),
        email: draft.email.text.clone(),
        services: shown(&draft.services),
        version: 4,
    }
}

proptest! {
    #[test]
    fn a_patched_record_is_valid_or_refused(user in user(), patch in patch()) {
        let patch = read(&patch);
        match patch.apply(&user, &[]) {
            Ok(draft) => {
                let patched = user_of(&draft);
                let again = Draft::read(patched.document(), &[]).unwrap();
                prop_assert_eq!(user_of(&again), patched);
                prop_assert_eq!(Email::new(draft.email.text.clone()), draft.email);
            }
            Err(PatchError::Invalid(errors)) => prop_assert!(!errors.is_empty()),
            Err(PatchError::Operation(index, detail)) => {
                let Patch::Operations(operations, _) = &patch else {
                    panic!("a merge patch has no operations");
                };
                prop_assert!(index < operations.0.len() && !detail.is_empty());
            }
        }
    }

    #[test]
    fn one_record_can_be_patched_to_any_other(from in user(), to in user()) {
        let mut nulls: BTreeMap<&String, Value> =
            from.services.keys().map(|service| (service, Value::Null)).collect();
        nulls.extend(to.services.iter().map(|(service, account)| (service, json!({"id": account.id}))));
        let merge = json!({"name": to.name, "email": to.email, "services": nulls});
        let whole = json!([{"op": "replace", "path": "", "value": to.document()}]);
        let parts = json!([
            {"op": "test", "path": "", "value": from.document()},
            {"op": "replace", "path": "/name", "value": to.name},
            {"op": "add", "path": "/email", "value": to.email},
            {"op": "replace", "path": "/services", "value": to.document()["services"]},
            {"op": "test", "path": "", "value": to.document()},
        ]);
        for patch in [
            ("application/merge-patch+json", merge),
            ("application/json-patch+json", whole),
            ("application/json-patch+json", parts),
        ] {
            let draft = read(&patch).apply(&from, &[]).unwrap();
            let patched = user_of(&draft);
            prop_assert_eq!(patched.document(), to.document());
        }
    }

    #[test]
    fn what_is_read_as_a_patch_never_ends_the_service(body in prop::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\":,a-z0-9/~-]{0,64}") {
        for media_type in ["application/json-patch+json", "application/merge-patch+json"] {
            drop(Patch::read(Some(media_type), &body));
            drop(Patch::read(Some(media_type), text.as_bytes()));
        }
    }
}
