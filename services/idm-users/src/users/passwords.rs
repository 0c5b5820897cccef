//! Which passwords can be used: long enough, not too long, and not among those that everybody tries
//! first (NIST SP 800-63B, 3.1.1.2).

use std::collections::HashSet;
use std::sync::LazyLock;

use secrecy::{ExposeSecret, SecretString};

/// The most characters of a password.
const LONGEST: usize = 128;

/// What is asked of a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PasswordRules {
    /// `password.min_length`
    pub(crate) shortest: usize,
}

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("is too short: at least {0} characters")]
    Short(usize),
    #[error("is too long: at most {LONGEST} characters")]
    Long,
    #[error("is one of the passwords that are tried first; take another")]
    Common,
}

/// The usual passwords, a line each: words, names, keyboard walks and years as published lists of
/// leaked passwords show them.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

impl PasswordRules {
    /// Accepts a password that can be used.
    ///
    /// # Errors
    /// [`Unusable`]
    pub(crate) fn check(self, password: &SecretString) -> Result<(), Unusable> {
        let text = password.expose_secret();
        let length = text.chars().count();
        if length < self.shortest {
            Err(Unusable::Short(self.shortest))
        } else if length > LONGEST {
            Err(Unusable::Long)
        } else if is_common(text) {
            Err(Unusable::Common)
        } else {
            Ok(())
        }
    }
}

/// Whether it is a common password in any case, also with the usual digits behind it; or a run of
/// characters, or a few over and over.
fn is_common(text: &str) -> bool {
    let lower = text.to_lowercase();
    let endings = ["", "1", "12", "123", "1234", "12345", "123456"];
    let mut words = endings.iter().filter_map(|ending| lower.strip_suffix(ending));
    words.any(|word| COMMON.contains(word)) || is_run(&lower) || is_repetition(&lower)
}

/// `12345678`, `87654321`, `abcdefgh`.
fn is_run(text: &str) -> bool {
    let steps: HashSet<i64> = text
        .chars()
        .zip(text.chars().skip(1))
        .map(|(one, next)| i64::from(u32::from(next)) - i64::from(u32::from(one)))
        .collect();
    steps.len() == 1 && steps.iter().all(|step| (-1..=1).contains(step))
}

/// `abcabcabc`: up to four characters over and over.
fn is_repetition(text: &str) -> bool {
    let repeats = |length| {
        text.chars()
            .zip(text.chars().skip(length))
            .all(|(one, later)| one == later)
    };
    (1..=4).any(repeats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), Unusable> {
        PasswordRules { shortest: 8 }.check(&SecretString::from(text))
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(check("sevench"), Err(Unusable::Short(8)));
        assert_eq!(check("Übergröß"), Ok(()));
        let text: String = ('a'..='z').chain('A'..='Z').cycle().take(129).collect();
        assert_eq!(check(&text), Err(Unusable::Long));
        assert_eq!(check(&text[..128]), Ok(()));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_in_any_case() {
        for text in [
            "password",
            "Password1",
            "P@ssw0rd",
            "PASSWORD123",
            "qwertyuiop",
            "qwerty123",
            "12345678",
            "123456789",
            "87654321",
            "11111111",
            "abcabcabc",
            "abcd1234",
            "iloveyou",
            "sunshine",
            "football1",
            "letmein123",
            "welcome1",
            "admin123",
            "1q2w3e4r",
            "changeme",
        ] {
            assert_eq!(check(text), Err(Unusable::Common), "{text}");
        }
        for text in [
            "correct horse battery",
            "winter-is-coming",
            "a secret of mine",
            "Tr0ub4dor&3",
            "mei's password",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
