//! Lists of records: filters, and what they refuse.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use futures_util::future::join_all;
use identity_testkit::TestService;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::people::{expect, header, kind, make, make_from, pointers, problem};

/// The names on the page that these parameters mean, in its order.
async fn names(ident: &TestService, parameters: &[(&str, &str)]) -> Vec<String> {
    let list = ident.get("/").query(parameters).send().await.unwrap();
    let list = expect(list, StatusCode::OK).await;
    let records = list.as_array().unwrap();
    let ids: Vec<_> = records.iter().map(|record| record["id"].as_i64()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    records
        .iter()
        .map(|record| record["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Makes a record for each name.
async fn with_names(names: &[&str]) -> TestService {
    let ident = IDENT.start(&[]).await;
    for (number, name) in names.iter().enumerate() {
        make(&ident, name, &format!("{number}@x")).await;
    }
    ident
}

#[tokio::test]
async fn without_filters_all_are_listed_as_they_are_shown() {
    let ident = IDENT.start(&[]).await;
    let empty = ident.get("/").send().await.unwrap();
    assert_eq!(header(&empty, "link"), "");
    assert_eq!(expect(empty, StatusCode::OK).await, json!([]));
    let mut expected = Vec::new();
    for number in (0..5).rev() {
        let document = json!({"name": format!("Robb {number}"), "email": format!("{number}@x"), "services": {"github": {"id": number.to_string()}}});
        let id = make_from(&ident, &document).await;
        expected.push(crate::people::record(&ident, id).await);
    }
    let list = ident.get("/").send().await.unwrap();
    assert_eq!(header(&list, "link"), "", "there is nothing around it");
    assert_eq!(expect(list, StatusCode::OK).await, Value::Array(expected));
}

#[tokio::test]
async fn an_address_is_found_exactly_and_in_any_case() {
    let ident = IDENT.start(&[]).await;
    make(&ident, "Robb", "King.Robb+1@Deceased.North").await;
    make(&ident, "Jon", "jon@wall").await;
    make(&ident, "Quote", "o'brien%_\\@x").await;
    for (email, found) in [
        ("King.Robb+1@Deceased.North", Some("Robb")),
        ("king.robb+1@deceased.north", Some("Robb")),
        ("KING.ROBB+1@DECEASED.NORTH", Some("Robb")),
        (" king.robb+1@deceased.north ", Some("Robb")),
        ("ｋing.robb+1@deceased.north", Some("Robb")),
        ("king.robb 1@deceased.north", None),
        ("king.robb+1@deceased", None),
        ("robb+1@deceased.north", None),
        ("%", None),
        ("___@wall", None),
        (".*", None),
        ("jon@wall' OR '1'='1", None),
        ("O'BRIEN%_\\@x", Some("Quote")),
    ] {
        let expected: Vec<&str> = found.into_iter().collect();
        assert_eq!(names(&ident, &[("email", email)]).await, expected, "{email}");
    }
    // A plus that is not encoded is a blank, as everywhere in queries.
    let raw = ident
        .get("/?email=king.robb+1@deceased.north")
        .send()
        .await
        .unwrap();
    assert_eq!(expect(raw, StatusCode::OK).await, json!([]));
}

#[tokio::test]
async fn a_name_is_found_by_the_beginnings_of_its_words() {
    let ident = with_names(&[
        "Robb Stark",
        "Jon Snow",
        "Arya Stark",
        "Robert Baratheon",
        "Stannis \u{3000} Baratheon",
        "Jean-Luc O'Brien",
        "Åsa Öström",
        "ΜΑΡΊΑ Παπαδοπούλου",
        "王 小明",
        "Ｆｕｌｌ Width",
        "Straße",
    ])
    .await;
    for (search, expected) in [
        ("robb", &["Robb Stark"][..]),
        ("rob", &["Robb Stark", "Robert Baratheon"]),
        ("ROB", &["Robb Stark", "Robert Baratheon"]),
        ("obb", &[]),
        ("robbs", &[]),
        ("stark", &["Robb Stark", "Arya Stark"]),
        (
            "st",
            &["Robb Stark", "Arya Stark", "Stannis \u{3000} Baratheon", "Straße"],
        ),
        ("stark robb", &["Robb Stark"]),
        ("S r", &["Robb Stark"]),
        (" \t stark   ROBB ", &["Robb Stark"]),
        ("stark snow", &[]),
        ("stark stark", &["Robb Stark", "Arya Stark"]),
        ("robb stark tully", &[]),
        ("bar stan", &["Stannis \u{3000} Baratheon"]),
        ("jean", &["Jean-Luc O'Brien"]),
        ("jean-luc", &["Jean-Luc O'Brien"]),
        ("luc", &["Jean-Luc O'Brien"]),
        ("brien jean-", &["Jean-Luc O'Brien"]),
        ("o'b", &["Jean-Luc O'Brien"]),
        ("-luc", &[]),
        ("ÅSA", &["Åsa Öström"]),
        ("a\u{30a}sa ö", &["Åsa Öström"]),
        ("asa", &[]),
        ("μαρ παπ", &["ΜΑΡΊΑ Παπαδοπούλου"]),
        ("王", &["王 小明"]),
        ("小 王", &["王 小明"]),
        ("full", &["Ｆｕｌｌ Width"]),
        ("ｗｉｄ", &["Ｆｕｌｌ Width"]),
        ("STRASS", &["Straße"]),
        ("the", &[]),
    ] {
        assert_eq!(names(&ident, &[("name", search)]).await, expected, "{search}");
    }
    let all = names(&ident, &[]).await.len();
    for nothing in ["", " ", "\u{a0}\t"] {
        assert_eq!(
            names(&ident, &[("name", nothing)]).await.len(),
            all,
            "{nothing:?}"
        );
    }
}

#[tokio::test]
async fn the_case_of_a_word_never_matters_also_at_its_end() {
    let ident = with_names(&["ΓΙΏΡΓΟΣ", "Γιώργος", "γιώργοσα"]).await;
    for search in ["γιώργος", "ΓΙΏΡΓΟΣ", "γιώργοσ"] {
        assert_eq!(names(&ident, &[("name", search)]).await.len(), 3, "{search}");
    }
}

#[tokio::test]
async fn no_character_of_a_search_has_a_meaning() {
    let special = [
        "'", "''", "\\", "\\\\", "\\'", "'\\", "&", "|", "!", ":", "*", ":*", "(", ")", "()", "<->", "%",
        "_", "$1", "\"", ";--", "#", "?", "{}", "[]", ".", ",", "+", "~", "@", "/",
    ];
    let name_of = |character: &str| format!("x{character}y {character}");
    let owned: Vec<String> = special.iter().map(|character| name_of(character)).collect();
    let ident = with_names(&owned.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let begins = |text: &str, search: &str| text.split_whitespace().any(|word| word.starts_with(search));
    for character in special {
        for search in [
            format!("x{character}y"),
            format!("x{character}"),
            character.to_owned(),
        ] {
            let expected: Vec<_> = owned.iter().filter(|name| begins(name, &search)).collect();
            let found = names(&ident, &[("name", &search)]).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{search}");
            assert!(found.contains(&name_of(character)), "{search}");
        }
    }
    for operators in [
        "x & y", "x | q", "!x", "x:*", "x:A", "q | x", "x <-> y", "'x", "x*",
    ] {
        let found = names(&ident, &[("name", operators)]).await;
        assert!(found.len() < 3, "taken literally: {operators}: {found:?}");
    }
}

#[tokio::test]
async fn the_owner_of_a_linked_account_is_found() {
    let ident = IDENT.start(&[]).await;
    for (name, service, account) in [
        ("Robb", "github", "25"),
        ("Jon", "facebook", "25"),
        ("Arya", "github", "Needle"),
        ("Bran", "x-1_y", "' OR 1=1 --"),
    ] {
        let document = json!({"name": name, "email": name, "services": {service: {"id": account}}});
        make_from(&ident, &document).await;
    }
    for (service, account, found) in [
        ("github", "25", Some("Robb")),
        ("github", " 25 ", Some("Robb")),
        ("facebook", "25", Some("Jon")),
        ("github", "Needle", Some("Arya")),
        ("github", "needle", None),
        ("github", "2", None),
        ("github", "026", None),
        ("gitlab", "25", None),
        ("x-1_y", "' OR 1=1 --", Some("Bran")),
    ] {
        let expected: Vec<&str> = found.into_iter().collect();
        let parameters = [("service", service), ("service_id", account)];
        assert_eq!(names(&ident, &parameters).await, expected, "{service} {account}");
        let turned = [("service_id", account), ("service", service)];
        assert_eq!(names(&ident, &turned).await, expected, "in any order");
    }
}

#[tokio::test]
async fn filters_narrow_each_other() {
    let ident = IDENT.start(&[]).await;
    for (name, email) in [("Robb Stark", "robb@north"), ("Arya Stark", "arya@north")] {
        let document = json!({"name": name, "email": email, "services": {"github": {"id": email}}});
        make_from(&ident, &document).await;
    }
    let (robb, arya) = ("robb@north", "arya@north");
    let cases: &[(&[(&str, &str)], usize)] = &[
        (&[("name", "stark"), ("email", robb)], 1),
        (&[("name", "arya"), ("email", robb)], 0),
        (&[("email", robb), ("service", "github"), ("service_id", robb)], 1),
        (&[("email", robb), ("service", "github"), ("service_id", arya)], 0),
        (
            &[("name", "stark"), ("service", "github"), ("service_id", arya)],
            1,
        ),
        (
            &[("name", "robb"), ("service", "github"), ("service_id", arya)],
            0,
        ),
        (
            &[
                ("name", "s r"),
                ("email", "ROBB@north"),
                ("service", "github"),
                ("service_id", robb),
                ("page_size", "1"),
                ("after_id", "0"),
            ],
            1,
        ),
        (&[("name", "stark"), ("after_id", "1")], 1),
        (&[("name", "robb"), ("after_id", "1")], 0),
        (&[("name", "robb"), ("before_id", "2")], 1),
    ];
    for (parameters, found) in cases {
        assert_eq!(names(&ident, parameters).await.len(), *found, "{parameters:?}");
    }
}

#[tokio::test]
async fn what_is_no_parameter_or_malformed_is_refused_by_name() {
    let ident = with_names(&["Robb"]).await;
    let long = format!("name={}", "x".repeat(321));
    for (query, expected) in [
        ("page_size=0", &["/page_size"][..]),
        ("page_size=1001", &["/page_size"]),
        ("page_size=-1", &["/page_size"]),
        ("page_size=x", &["/page_size"]),
        ("page_size=1.5", &["/page_size"]),
        ("page_size=", &["/page_size"]),
        ("page_size", &["/page_size"]),
        ("page_size=99999999999999999999", &["/page_size"]),
        ("page_size=1&page_size=1", &["/page_size"]),
        ("after_id=x", &["/after_id"]),
        ("after_id=-1", &["/after_id"]),
        ("after_id=", &["/after_id"]),
        ("after_id=9223372036854775808", &["/after_id"]),
        ("after_id=1&after_id=1", &["/after_id"]),
        ("before_id=x", &["/before_id"]),
        ("before_id=-1", &["/before_id"]),
        ("before_id=1.0", &["/before_id"]),
        ("after_id=1&before_id=2", &["/before_id"]),
        ("before_id=2&after_id=1", &["/after_id"]),
        ("service=github", &["/service_id"]),
        ("service_id=25", &["/service"]),
        ("service=github&service_id=", &["/service_id"]),
        ("service=&service_id=25", &["/service"]),
        ("service=GitHub&service_id=25", &["/service"]),
        ("service=git%20hub&service_id=25", &["/service"]),
        ("service=a&service=b&service_id=25", &["/service"]),
        ("email=", &["/email"]),
        ("email=%20", &["/email"]),
        ("email=a%00b", &["/email"]),
        ("email=a&email=a", &["/email"]),
        ("name=a%00b", &["/name"]),
        ("name=a%0Ab", &["/name"]),
        ("name=a&name=b", &["/name"]),
        (&long, &["/name"]),
        ("id=1", &["/id"]),
        ("Name=x", &["/Name"]),
        ("nonsense", &["/nonsense"]),
        ("a/b~c=1", &["/a~1b~0c"]),
        ("q=1&page_size=0&after_id=x", &["/q", "/page_size", "/after_id"]),
    ] {
        let refused = problem(ident.get(&format!("/?{query}")), StatusCode::BAD_REQUEST).await;
        assert_eq!(kind(&refused), "invalid", "{query}");
        assert_eq!(pointers(&refused), expected, "{query}");
    }
    for query in [
        "",
        "&",
        "page_size=1",
        "page_size=1000",
        "after_id=0",
        "before_id=9223372036854775807",
    ] {
        let list = ident.get(&format!("/?{query}")).send().await.unwrap();
        let list = expect(list, StatusCode::OK).await;
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{query}");
    }
}

#[tokio::test]
async fn a_page_has_a_hundred_records_unless_it_is_said() {
    let ident = IDENT.start(&[]).await;
    for batch in 0..11 {
        let numbers = (0..if batch == 10 { 1 } else { 10 }).map(|number| batch * 10 + number);
        join_all(numbers.map(async |number| make(&ident, "Robb", &format!("{number}@x")).await)).await;
    }
    let page = ident.get("/").send().await.unwrap();
    assert_eq!(header(&page, "link"), "</?page_size=100&after_id=100>; rel=next");
    let page = expect(page, StatusCode::OK).await;
    assert_eq!(page.as_array().map(Vec::len), Some(100));
    assert_eq!(page[99]["id"], 100);
    let all = ident.get("/?page_size=1000").send().await.unwrap();
    assert_eq!(header(&all, "link"), "");
    assert_eq!(
        expect(all, StatusCode::OK).await.as_array().map(Vec::len),
        Some(101)
    );
}
