//! A mail: what it says, as text and as HTML.

use askama::Template;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest time between two tries, in seconds.
const LONGEST_PAUSE: u64 = 3_600;
/// A mail that could not be sent for so long is given up, in seconds.
pub(super) const GIVE_UP_AFTER: i64 = 72 * 3_600;

/// A mail to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) recipient: String,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    subject: String,
    text: String,
    html: String,
}

#[derive(Template)]
#[template(path = "mails/reset.txt", escape = "none")]
struct ResetText<'a> {
    link: &'a str,
    site: &'a str,
    until: &'a str,
}

#[derive(Template)]
#[template(path = "mails/reset.html")]
struct ResetHtml<'a> {
    link: &'a str,
    site: &'a str,
    until: &'a str,
}

#[derive(Template)]
#[template(path = "mails/changed.txt", escape = "none")]
struct ChangedText<'a> {
    username: &'a str,
    site: &'a str,
    at: &'a str,
}

#[derive(Template)]
#[template(path = "mails/changed.html")]
struct ChangedHtml<'a> {
    username: &'a str,
    site: &'a str,
    at: &'a str,
}

impl Mail {
    /// The link with which a forgotten password is replaced, at `site` until `until`.
    ///
    /// # Errors
    /// None that our own templates could have.
    pub(crate) fn reset(
        username: &str,
        link: &str,
        site: &str,
        until: Timestamp,
    ) -> Result<Self, askama::Error> {
        let until = minute(until);
        let until = until.as_str();
        Ok(Self {
            recipient: username.to_owned(),
            subject: "Set a new password".to_owned(),
            text: ResetText { link, site, until }.render()?,
            html: ResetHtml { link, site, until }.render()?,
        })
    }

    /// That the password was changed by such a link.
    ///
    /// # Errors
    /// None that our own templates could have.
    pub(crate) fn changed(username: &str, site: &str, at: Timestamp) -> Result<Self, askama::Error> {
        let at = minute(at);
        let at = at.as_str();
        Ok(Self {
            recipient: username.to_owned(),
            subject: "Your password was changed".to_owned(),
            text: ChangedText { username, site, at }.render()?,
            html: ChangedHtml { username, site, at }.render()?,
        })
    }

    /// All but the recipient, for storage.
    pub(super) fn content(&self) -> String {
        let content = Content {
            subject: self.subject.clone(),
            text: self.text.clone(),
            html: self.html.clone(),
        };
        // Texts can always be written.
        serde_json::to_string(&content).unwrap_or_default()
    }

    /// A mail as it was stored.
    pub(super) fn stored(recipient: String, content: &str) -> Option<Self> {
        let Content { subject, text, html } = serde_json::from_str(content).ok()?;
        Some(Self {
            recipient,
            subject,
            text,
            html,
        })
    }
}

fn minute(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// How long to wait after so many failed tries: doubled with each, at most an hour or the first wait.
pub(super) fn pause(first: std::time::Duration, attempts: i32) -> std::time::Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
    let longest = first.max(std::time::Duration::from_secs(LONGEST_PAUSE));
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let minute = Duration::from_mins(1);
        let pauses = [1, 2, 3, 6, 7, 100].map(|attempts| pause(minute, attempts).as_secs());
        assert_eq!(pauses, [60, 120, 240, 1920, 3600, 3600]);
        let day = Duration::from_hours(24);
        assert_eq!(pause(day, 5), day);
    }

    #[test]
    fn what_is_told_in_html_cannot_become_html() {
        let mail = Mail::changed(
            "<b>@example.org",
            "https://idm.example.org",
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        assert!(!mail.html.contains("<b>"));
        assert!(mail.text.contains("<b>@example.org"));
    }
}
