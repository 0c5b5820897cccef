//! A mail that was taken.

use mail_parser::{Message, MessageParser};

/// A mail, with the envelope that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whom the envelope says it is from.
    pub from: String,
    /// For whom it is.
    pub to: Vec<String>,
    /// With which name the sender signed in, if it did.
    pub signed_in: Option<String>,
    /// The mail as it came.
    pub source: String,
}

impl Mail {
    fn parsed<T>(&self, read: impl FnOnce(&Message<'_>) -> Option<T>) -> Option<T> {
        MessageParser::default()
            .parse(self.source.as_bytes())
            .and_then(|message| read(&message))
    }

    /// The subject, decoded.
    #[must_use]
    pub fn subject(&self) -> String {
        self.parsed(|message| message.subject().map(ToOwned::to_owned))
            .unwrap_or_default()
    }

    /// The text, decoded.
    #[must_use]
    pub fn text(&self) -> String {
        self.parsed(|message| message.body_text(0).map(std::borrow::Cow::into_owned))
            .unwrap_or_default()
    }

    /// The HTML, decoded.
    #[must_use]
    pub fn html(&self) -> String {
        self.parsed(|message| message.body_html(0).map(std::borrow::Cow::into_owned))
            .unwrap_or_default()
    }

    /// A header as it stands in the source, without its fold.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let raw = self.parsed(|message| message.header_raw(name).map(ToOwned::to_owned));
        raw.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The first line of the text that is an address of the web and nothing else.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        let text = self.text();
        let mut lines = text.lines().map(str::trim);
        let is_link = |line: &&str| line.starts_with("http") && line.contains("://") && !line.contains(' ');
        lines.find(is_link).map(ToOwned::to_owned)
    }
}
