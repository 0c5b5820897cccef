//! Names that must be unique and that people read: characters that cannot be seen, and words of two alphabets,
//! make one look like another (Unicode Technical Standard 39).

/// Whether a character is not drawn where it stands (`Default_Ignorable_Code_Point` of Unicode): with or without
/// it, a name looks the same.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    matches!(
        u32::from(character),
        0xAD | 0x34F
            | 0x61C
            | 0x115F..=0x1160
            | 0x17B4..=0x17B5
            | 0x180B..=0x180F
            | 0x200B..=0x200F
            | 0x202A..=0x202E
            | 0x2060..=0x206F
            | 0x3164
            | 0xFE00..=0xFE0F
            | 0xFEFF
            | 0xFFA0
            | 0xFFF0..=0xFFF8
            | 0x1_BCA0..=0x1_BCA3
            | 0x1_D173..=0x1_D17A
            | 0xE_0000..=0xE_0FFF
    )
}

/// Alphabets whose letters look alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Cherokee,
}

/// The alphabet of a letter; none for what is of another one, or no letter.
fn alphabet(character: char) -> Option<Alphabet> {
    match u32::from(character) {
        0x41..=0x5A
        | 0x61..=0x7A
        | 0xC0..=0xD6
        | 0xD8..=0xF6
        | 0xF8..=0x2AF
        | 0x1E00..=0x1EFF
        | 0x2C60..=0x2C7F
        | 0xA720..=0xA7FF
        | 0xFF21..=0xFF3A
        | 0xFF41..=0xFF5A => Some(Alphabet::Latin),
        0x370..=0x373 | 0x376..=0x377 | 0x37B..=0x3FF | 0x1F00..=0x1FFF => Some(Alphabet::Greek),
        0x400..=0x52F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => Some(Alphabet::Cyrillic),
        0x531..=0x588 => Some(Alphabet::Armenian),
        0x13A0..=0x13FF | 0xAB70..=0xABBF => Some(Alphabet::Cherokee),
        _ => None,
    }
}

/// Whether a word of `text`, of letters that follow each other, has letters of two alphabets that look alike, as
/// `аdmin` with a Cyrillic а. Words may differ from each other.
#[must_use]
pub fn mixes_alphabets(text: &str) -> bool {
    text.split(|character: char| !character.is_alphabetic() && !is_invisible(character))
        .any(|word| {
            let mut alphabets = word.chars().filter_map(alphabet);
            let first = alphabets.next();
            alphabets.any(|other| Some(other) != first)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_of_one_alphabet() {
        for text in [
            "admin",
            "администратор",
            "διαχειριστής",
            "ΜΑΡΊΟΣ@straße.de",
            "иван.petrov",
            "José-Łukasz_7",
            "山田taro",
            "",
        ] {
            assert!(!mixes_alphabets(text), "{text}");
        }
        for text in [
            "\u{430}dmin",
            "admi\u{578}",
            "r\u{3BF}\u{3BF}t",
            "mei@ex\u{430}mple.org",
            // An invisible character does not divide a word.
            "\u{430}\u{200B}dmin",
        ] {
            assert!(mixes_alphabets(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_drawn_is_invisible() {
        for character in [
            '\u{200B}',
            '\u{200D}',
            '\u{AD}',
            '\u{202E}',
            '\u{FEFF}',
            '\u{3164}',
            '\u{E0041}',
        ] {
            assert!(is_invisible(character), "{character:?}");
        }
        for character in ['a', ' ', '\u{301}', 'ß', '山'] {
            assert!(!is_invisible(character), "{character:?}");
        }
    }
}
