//! Where a browser may be sent back to: our own pages, and what the configuration lists. Nothing else, in
//! whatever disguise.

use url::Url;

/// The longest return URL, in bytes.
const LONGEST: usize = 2048;

/// Our own address and those of the configuration.
#[derive(Debug, Clone)]
pub struct ReturnUrls {
    own: Url,
    allowed: Vec<Url>,
}

impl ReturnUrls {
    /// `own` is under which the service is reached, its path ending with a slash.
    #[must_use]
    pub fn new(own: Url, allowed: Vec<Url>) -> Self {
        Self { own, allowed }
    }

    /// Our own address.
    #[must_use]
    pub fn own(&self) -> &Url {
        &self.own
    }

    /// The URL to which `asked` leads; the page where nothing is asked for. None for any other place.
    ///
    /// It is read as a browser reads it (the URL standard), relative to our own address, and given back
    /// written out, so that nothing is left to be read in another way.
    #[must_use]
    pub fn check(&self, asked: Option<&str>) -> Option<Url> {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return Some(self.own.clone());
        };
        // What browsers drop or take for a slash has no place in an honest URL.
        let odd = |character: char| character == '\\' || character.is_control() || character.is_whitespace();
        if asked.len() > LONGEST || asked.contains(odd) {
            return None;
        }
        let url = self.own.join(asked).ok()?;
        if !["http", "https"].contains(&url.scheme())
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return None;
        }
        if url.origin() == self.own.origin() {
            return Some(url);
        }
        self.allowed
            .iter()
            .any(|allowed| url.origin() == allowed.origin() && is_below(url.path(), allowed.path()))
            .then_some(url)
    }
}

/// Whether `path` begins with the parts of `prefix`: `/app` allows `/app/x`, and not `/apple`.
fn is_below(path: &str, prefix: &str) -> bool {
    // Encoded dots and slashes may be decoded by what stands behind that origin.
    let lower = path.to_ascii_lowercase();
    if ["%2e", "%2f", "%5c"]
        .iter()
        .any(|encoded| lower.contains(encoded))
    {
        return false;
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> ReturnUrls {
        let allowed = ["https://app.example.org/", "https://other.example/deep/path"];
        ReturnUrls::new(
            Url::parse("https://store.example/").unwrap(),
            allowed.map(|url| Url::parse(url).unwrap()).to_vec(),
        )
    }

    #[test]
    fn our_own_pages_and_listed_ones_are_allowed() {
        for (asked, to) in [
            ("", "https://store.example/"),
            ("/", "https://store.example/"),
            ("/page?x=1#y", "https://store.example/page?x=1#y"),
            ("page", "https://store.example/page"),
            ("https://store.example/page", "https://store.example/page"),
            ("https://store.example:443/", "https://store.example/"),
            (
                "https://app.example.org/any/where?x=1",
                "https://app.example.org/any/where?x=1",
            ),
            ("HTTPS://APP.EXAMPLE.ORG/", "https://app.example.org/"),
            (
                "https://other.example/deep/path",
                "https://other.example/deep/path",
            ),
            (
                "https://other.example/deep/path/x",
                "https://other.example/deep/path/x",
            ),
        ] {
            let url = urls().check(Some(asked));
            assert_eq!(url.map(String::from).as_deref(), Some(to), "{asked}");
        }
        assert_eq!(urls().check(None).unwrap().as_str(), "https://store.example/");
    }

    #[test]
    fn no_disguise_leads_anywhere_else() {
        for asked in [
            "//evil.example/",
            "///evil.example/",
            "/\\evil.example/",
            "\\\\evil.example/",
            "https:\\\\evil.example/",
            "https:/\\evil.example",
            "https://store.example@evil.example/",
            "https://store.example:x@evil.example/",
            "https://user@store.example/",
            "https://store.example.evil.example/",
            "https://evil.example/https://store.example/",
            "https://store.example:8443/",
            "http://store.example/",
            "https://app.example.org:444/",
            "http://app.example.org/",
            "https://app.example.org.evil.example/",
            "https://app.example.org%2eevil.example/",
            "https://app.example.org%00.evil.example/",
            "https://xapp.example.org/",
            "https://other.example/",
            "https://other.example/deep/pathology",
            "https://other.example/deep/path/../../elsewhere",
            "https://other.example/deep/path/%2e%2e/%2E%2e/elsewhere",
            "https://other.example/deep/path%2f..%2f..%2felsewhere",
            "javascript:alert(1)",
            "data:text/html,x",
            "java\tscript:alert(1)",
            "\thttps://evil.example/",
            " https://evil.example/",
            "/\t/evil.example/",
            "/\n/evil.example/",
            "ftp://store.example/",
            "file:///etc/passwd",
            "https://[::1]/",
            "https://evil.example\u{3002}example/",
            "https:evil.example",
        ] {
            let found = urls().check(Some(asked));
            let ours = found.as_ref().is_some_and(|url| {
                url.host_str() == Some("store.example") && url.scheme() == "https" && url.port().is_none()
            });
            assert!(
                found.is_none() || (ours && asked == "https:evil.example"),
                "{asked}: {found:?}"
            );
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        assert!(urls().check(Some(&long)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_asked_for_stays_on_listed_origins(asked in ".{0,60}") {
            if let Some(url) = urls().check(Some(&asked)) {
                let origins = ["https://store.example", "https://app.example.org", "https://other.example"];
                proptest::prop_assert!(origins.contains(&url.origin().ascii_serialization().as_str()));
            }
        }
    }
}
