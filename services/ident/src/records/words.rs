//! How texts are compared: addresses as a whole, names by the beginnings of their words.

use identity_core::http::names::is_invisible;
use unicode_normalization::UnicodeNormalization;

/// The most bytes of a word by which a name is found; Postgres takes 2046.
const LONGEST_WORD: usize = 2000;

/// A text as it is compared: normalised (NFKC), regardless of case, and without what cannot be seen.
///
/// By way of the large letters, since of one there can be several small ones (σ and ς), or a small
/// letter can be two large ones (ß).
pub fn comparable(text: &str) -> String {
    text.chars()
        .filter(|character| !is_invisible(*character))
        .nfkc()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect()
}

/// The words of a name by whose beginnings it is found, as they are compared.
///
/// Words are what blanks divide, and also what begins behind a hyphen, an apostrophe or the like:
/// "Jean-Luc" is found by "jean", "jean-l" and "luc".
pub fn words_of_name(name: &str) -> Vec<String> {
    let mut words: Vec<String> = comparable(name)
        .split_whitespace()
        .flat_map(beginnings)
        .map(bounded)
        .collect();
    words.sort();
    words.dedup();
    words
}

/// The words of a search for names: as they are written, divided by blanks.
pub fn words_of_search(search: &str) -> Vec<String> {
    comparable(search).split_whitespace().map(bounded).collect()
}

/// The word, and its ends that begin with a letter or digit behind something else.
fn beginnings(word: &str) -> impl Iterator<Item = &str> {
    let mut inside = true;
    let ends = word.char_indices().filter_map(move |(at, character)| {
        let begins = character.is_alphanumeric() && !inside;
        inside = character.is_alphanumeric();
        begins.then(|| word.get(at..)).flatten()
    });
    std::iter::once(word).chain(ends)
}

/// As much of a word as Postgres takes. Normalised, the characters of a name can be eighteen times
/// as many.
fn bounded(word: &str) -> String {
    let (bounded, _) = word.split_at(word.floor_char_boundary(LONGEST_WORD));
    bounded.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_found_by_words_and_by_what_follows_a_hyphen() {
        assert_eq!(
            words_of_name("Jean-Luc  O'Brien"),
            ["brien", "jean-luc", "luc", "o'brien"]
        );
        assert_eq!(words_of_name("(Bob)"), ["(bob)", "bob)"]);
        assert_eq!(words_of_search(" jean-l "), ["jean-l"]);
    }

    #[test]
    fn no_word_is_longer_than_postgres_takes() {
        let square = "\u{3316}".repeat(255);
        for words in [words_of_name(&square), words_of_search(&square)] {
            assert!(
                words.len() == 1
                    && words
                        .iter()
                        .all(|word| word.len() > 1900 && word.len() <= LONGEST_WORD)
            );
        }
    }

    /// Letters of several scripts, some of which change their number with their case, and signs.
    const NAME: &str = "[a-cA-CäÄßẞéÉσςΣжЖ王９Ｆﬁ0-1'’&|!:*() .,-]{1,24}";

    fn finds(search: &str, name: &str) -> bool {
        let words = words_of_name(name);
        words_of_search(search)
            .iter()
            .all(|search| words.iter().any(|word| word.starts_with(search.as_str())))
    }

    proptest! {
        /// Whatever beginnings of words are taken, in whatever order and case, the name is found.
        #[test]
        fn a_name_is_found_by_all_beginnings_of_its_words(
            name in NAME,
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..9, 0_u8..3), 1..4),
        ) {
            let words: Vec<&str> = name.split_whitespace().collect();
            prop_assume!(!words.is_empty());
            let search: Vec<String> = cuts
                .iter()
                .map(|(index, length, case)| {
                    let cut: String = index.get(&words).chars().take(*length).collect();
                    match case {
                        0 => cut,
                        1 => cut.to_uppercase(),
                        _ => cut.to_lowercase(),
                    }
                })
                .collect();
            prop_assert!(finds(&search.join(" "), &name), "{search:?}");
        }

        /// What is found is what a plain comparison of every word finds.
        #[test]
        fn a_search_finds_what_begins_so_and_nothing_else(name in "[abé'9 -]{1,10}", search in "[abÉ'9 -]{0,4}") {
            let begins = |part: &str| {
                let name = name.to_lowercase();
                name.match_indices(part).any(|(at, _)| {
                    let before = name[..at].chars().next_back();
                    let inside_a_word = before.is_some_and(|before| !before.is_whitespace());
                    let behind_a_sign = before.is_some_and(|before| !before.is_alphanumeric())
                        && part.starts_with(char::is_alphanumeric);
                    !inside_a_word || behind_a_sign
                })
            };
            let expected = search.to_lowercase().split_whitespace().all(begins);
            prop_assert_eq!(finds(&search, &name), expected);
        }

        /// Of any text at all.
        #[test]
        fn a_text_is_never_too_much(text in any::<String>()) {
            for word in words_of_name(&text).iter().chain(&words_of_search(&text)) {
                prop_assert!(!word.is_empty() && word.len() <= LONGEST_WORD);
            }
            prop_assert!(finds(&text, &text));
        }
    }
}
