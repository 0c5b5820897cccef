//! Pages of a list, there and back by the Link header (RFC 8288).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;
use std::collections::BTreeMap;

use identity_testkit::TestService;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use reqwest::StatusCode;
use tokio::runtime::Runtime;

use crate::IDENT;
use crate::people::{expect, header, make};

/// A page: the ids of its records, and its links by their relation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    ids: Vec<i64>,
    links: BTreeMap<String, String>,
}

async fn page(ident: &TestService, path: &str) -> Page {
    let answer = ident.get(path).send().await.unwrap();
    let links = header(&answer, "link");
    let links = links.split(", ").filter(|link| !link.is_empty()).map(|link| {
        let (target, relation) = link.split_once(">; rel=").unwrap();
        assert!(!relation.contains('"'), "an unquoted token: {link}");
        (relation.to_owned(), target.strip_prefix('<').unwrap().to_owned())
    });
    let links = links.collect();
    let records = expect(answer, StatusCode::OK).await;
    let ids = records.as_array().unwrap().iter();
    let ids = ids.map(|record| record["id"].as_i64().unwrap()).collect();
    Page { ids, links }
}

/// The page and all that follow it by `relation`.
async fn walk(ident: &TestService, path: &str, relation: &str) -> Vec<Page> {
    let mut pages = vec![page(ident, path).await];
    while let Some(next) = pages.last().unwrap().links.get(relation) {
        let next = page(ident, &next.clone()).await;
        pages.push(next);
        assert!(pages.len() < 1000, "a walk without end");
    }
    pages
}

fn ids(pages: &[Page]) -> Vec<Vec<i64>> {
    pages.iter().map(|page| page.ids.clone()).collect()
}

async fn five() -> TestService {
    let ident = IDENT.start(&[]).await;
    for (number, name) in ["Robb", "Jon", "Robb", "Arya", "Robb"].iter().enumerate() {
        make(&ident, name, &format!("{number}@x")).await;
    }
    ident
}

/// The Link header of this list.
async fn link(ident: &TestService, path: &str) -> String {
    header(&ident.get(path).send().await.unwrap(), "link")
}

#[tokio::test]
async fn the_links_are_those_that_exist() {
    let ident = five().await;
    for (path, expected) in [
        ("/?page_size=1", "</?page_size=1&after_id=1>; rel=next"),
        (
            "/?page_size=1&after_id=1",
            "</?page_size=1&after_id=2>; rel=next, </?page_size=1&before_id=2>; rel=previous, </?page_size=1>; rel=first",
        ),
        (
            "/?page_size=2&after_id=3",
            "</?page_size=2&before_id=4>; rel=previous, </?page_size=2>; rel=first",
        ),
        ("/?page_size=5", ""),
        ("/?page_size=4", "</?page_size=4&after_id=4>; rel=next"),
        ("/?page_size=5&after_id=0", ""),
        (
            "/?page_size=2&before_id=3",
            "</?page_size=2&after_id=2>; rel=next",
        ),
        (
            "/?before_id=5&page_size=2",
            "</?page_size=2&after_id=4>; rel=next, </?page_size=2&before_id=3>; rel=previous, </?page_size=2>; rel=first",
        ),
        (
            "/?page_size=2&before_id=9223372036854775807",
            "</?page_size=2&before_id=4>; rel=previous, </?page_size=2>; rel=first",
        ),
        (
            "/?after_id=2",
            "</?page_size=100&before_id=3>; rel=previous, </?page_size=100>; rel=first",
        ),
        // Also from beyond the ends there is a way back.
        (
            "/?page_size=2&after_id=77",
            "</?page_size=2&before_id=78>; rel=previous, </?page_size=2>; rel=first",
        ),
        (
            "/?page_size=2&before_id=1",
            "</?page_size=2&after_id=0>; rel=next",
        ),
        (
            "/?page_size=2&after_id=9223372036854775807",
            "</?page_size=2&before_id=9223372036854775807>; rel=previous, </?page_size=2>; rel=first",
        ),
        ("/?name=nobody", ""),
        ("/?name=nobody&after_id=2", ""),
    ] {
        assert_eq!(link(&ident, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn the_links_keep_the_filters() {
    let ident = five().await;
    let pages = walk(&ident, "/?name=rob&page_size=1", "next").await;
    assert_eq!(ids(&pages), [[1], [3], [5]]);
    let back = walk(&ident, &pages[2].links["previous"], "previous").await;
    assert_eq!(ids(&back), [[3], [1]]);
    let first = page(&ident, &pages[2].links["first"]).await;
    assert_eq!(first, pages[0]);

    let awkward = "%27%5C%26%7C%21%3A%2A%28%29%3E%2C%3B%22%20%C3%A9%2B%25";
    make(&ident, "'\\&|!:*()>,;\" é+%", "6@x").await;
    make(&ident, "'\\&|!:*()>,;\" é+%", "7@x").await;
    let pages = walk(&ident, &format!("/?page_size=1&name={awkward}"), "next").await;
    assert_eq!(ids(&pages), [[6], [7]]);
    let previous = page(&ident, &pages[1].links["previous"]).await;
    assert_eq!(previous, pages[0]);
    let filtered = page(&ident, "/?page_size=1&after_id=1&name=r&email=nobody").await;
    assert!(filtered.links.is_empty(), "{filtered:?}");
}

#[tokio::test]
async fn records_that_come_and_go_disturb_no_walk() {
    let ident = five().await;
    let second = page(&ident, "/?page_size=2&after_id=2").await;
    assert_eq!(second.ids, [3, 4]);
    for id in [2, 4] {
        let deleted = ident.delete(&format!("/{id}")).send().await.unwrap();
        assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    }
    make(&ident, "New", "new@x").await;
    assert_eq!(page(&ident, &second.links["next"]).await.ids, [5, 6]);
    assert_eq!(page(&ident, &second.links["previous"]).await.ids, [1]);
}

/// What the walks must have visited: the ids of those whose name begins so.
type Expected = BTreeMap<i64, bool>;

/// Deletes or makes records as the changes say: `Some(true)` a Robb, `Some(false)` a Jon.
async fn change(ident: &TestService, expected: &mut Expected, changes: &[Option<bool>]) {
    for change in changes {
        if let Some(is_robb) = change {
            // No other record that is still there was made behind this one.
            let email = format!("{}@x", expected.last_key_value().map_or(0, |(id, _)| *id));
            let id = make(ident, if *is_robb { "Robb" } else { "Jon" }, &email).await;
            expected.insert(id, *is_robb);
        } else if let Some(middle) = expected.keys().nth(expected.len() / 2).copied() {
            let deleted = ident.delete(&format!("/{middle}")).send().await.unwrap();
            assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
            expected.remove(&middle);
        }
    }
}

async fn check_walks(ident: &TestService, expected: &[i64], query: &str, size: usize) {
    let start = format!("/?page_size={size}{query}");
    let there = walk(ident, &start, "next").await;
    assert_eq!(
        ids(&there).concat(),
        expected,
        "every record once, in order: {start}"
    );
    let (last, full) = there.split_last().unwrap();
    assert!(full.iter().all(|page| page.ids.len() == size), "{there:?}");
    assert!(last.ids.len() <= size && (full.is_empty() || !last.ids.is_empty()));

    // Back from the last page, the same pages; the first one, too, is the one of the start.
    let mut back = vec![last.clone()];
    if let Some(previous) = last.links.get("previous") {
        back.extend(walk(ident, previous, "previous").await);
    }
    back.reverse();
    assert_eq!(ids(&back), ids(&there), "{start}");
    for (there, back) in there.iter().zip(&back) {
        assert_eq!(
            there.links, back.links,
            "the links of a page do not depend on the way to it"
        );
    }

    // From the end the pages are cut differently, but each record is met once, too.
    let end = format!("/?page_size={size}&before_id={}{query}", i64::MAX);
    let mut from_end = ids(&walk(ident, &end, "previous").await);
    from_end.reverse();
    assert_eq!(from_end.concat(), expected, "{end}");
    for first in there.iter().filter_map(|page| page.links.get("first")) {
        assert_eq!(page(ident, first).await, there[0]);
    }
}

#[test]
fn walks_there_and_back_meet_every_record_once_whatever_is_there() {
    let runtime = Runtime::new().unwrap();
    let ident = runtime.block_on(IDENT.start(&[]));
    let expected = Cell::new(Expected::new());
    let change_of = prop::option::weighted(0.7, any::<bool>());
    let strategy = (prop::collection::vec(change_of, 0..8), 1_usize..9);
    let config = Config {
        cases: 16,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&strategy, |(changes, size)| {
        runtime.block_on(async {
            let mut there = expected.take();
            change(&ident, &mut there, &changes).await;
            let all: Vec<i64> = there.keys().copied().collect();
            let robbs = there.iter().filter(|(_, is_robb)| **is_robb);
            let robbs: Vec<i64> = robbs.map(|(id, _)| *id).collect();
            check_walks(&ident, &all, "", size).await;
            check_walks(&ident, &robbs, "&name=ROB", size).await;
            expected.set(there);
        });
        Ok(())
    });
    run.unwrap();
}

/// The words by which a name is found: between blanks, and behind what is no letter or digit.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in name.to_lowercase().split_whitespace() {
        words.push(word.to_owned());
        let characters: Vec<char> = word.chars().collect();
        for at in 1..characters.len() {
            if characters[at].is_alphanumeric() && !characters[at - 1].is_alphanumeric() {
                words.push(characters[at..].iter().collect());
            }
        }
    }
    words
}

fn is_found(name: &str, search: &str) -> bool {
    let words = words(name);
    let search = search.to_lowercase();
    search
        .split_whitespace()
        .all(|search| words.iter().any(|word| word.starts_with(search)))
}

#[test]
fn a_search_finds_what_a_plain_search_of_all_names_finds() {
    let runtime = Runtime::new().unwrap();
    let ident = runtime.block_on(IDENT.start(&[]));
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    // Few characters, so that a search often finds something.
    let texts = "[abAé0'\\\\&|!:*()<>., -]{1,8}";
    let names: Vec<(i64, String)> = runtime.block_on(async {
        let mut names = Vec::new();
        while names.len() < 60 {
            let name = texts.new_tree(&mut runner).unwrap().current();
            if !name.trim().is_empty() {
                let id = make(&ident, &name, &format!("{}@x", names.len())).await;
                names.push((id, name));
            }
        }
        names
    });
    let run = runner.run(&"[abAé0'\\\\&|!:*()<>., -]{0,3}", |search| {
        let expected = names.iter().filter(|(_, name)| is_found(name, &search));
        let expected: Vec<i64> = expected.map(|(id, _)| *id).collect();
        let found = runtime.block_on(async {
            let list = ident.get("/").query(&[("name", &search)]).send().await.unwrap();
            expect(list, StatusCode::OK).await
        });
        let found: Vec<i64> = found
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|record| record["id"].as_i64())
            .collect();
        prop_assert_eq!(found, expected);
        Ok(())
    });
    run.unwrap();
}
