//! What a page's form sends.

use actix_web::http::StatusCode;
use identity_core::http::Problem;
use secrecy::SecretString;

use crate::users::PasswordRules;

/// The fields of `application/x-www-form-urlencoded`.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body; what is no form has no fields.
    pub(crate) fn read(body: &[u8]) -> Self {
        let fields = url::form_urlencoded::parse(body);
        Self(
            fields
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first of the fields `names` that is there; else an empty text.
    pub(crate) fn first(&self, names: &[&str]) -> &str {
        self.find(names).unwrap_or_default()
    }

    fn find(&self, names: &[&str]) -> Option<&str> {
        let mut found = names
            .iter()
            .filter_map(|wanted| self.0.iter().find(|(name, _)| name == wanted));
        found.next().map(|(_, value)| value.as_str())
    }

    /// The new password.
    pub(crate) fn password(&self) -> SecretString {
        SecretString::from(self.first(&["pass1", "password"]))
    }

    /// What is wrong with the new password, which is asked for twice.
    pub(crate) fn wrong_password(&self, rules: PasswordRules) -> Option<String> {
        if let Err(unusable) = rules.check(&self.password()) {
            return Some(format!("The password {unusable}."));
        }
        let again = self.find(&["pass2"]);
        let same = again.map_or(self.find(&["pass1"]).is_none(), |again| {
            again == self.first(&["pass1", "password"])
        });
        (!same).then(|| "The two passwords do not match.".to_owned())
    }
}

/// 403 for a form that another site's page has sent.
pub(crate) fn from_elsewhere() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "This form must be sent from the service's own page.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(body: &str) -> Option<String> {
        Form::read(body.as_bytes()).wrong_password(PasswordRules { shortest: 8 })
    }

    #[test]
    fn a_password_is_given_twice_and_the_same() {
        assert_eq!(wrong("pass1=winter-is-coming&pass2=winter-is-coming"), None);
        assert!(
            wrong("pass1=winter-is-coming&pass2=winter-is-over")
                .unwrap()
                .contains("not match")
        );
        assert!(wrong("pass1=winter-is-coming").unwrap().contains("not match"));
        assert!(wrong("pass1=short&pass2=short").unwrap().contains("too short"));
        assert!(wrong("").unwrap().contains("too short"));
    }
}
