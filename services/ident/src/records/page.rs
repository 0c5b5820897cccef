//! A page of people's records, found by what a query says.

use identity_core::db::tokio_postgres::types::{ToSql, Type};
use identity_core::db::{Error, tokio_postgres};

use super::model::User;
use super::query::{Around, Filters, From, ListQuery};
use super::store::{USER, quoted, user_of};

/// One page, in the order of ids, and what lies around it.
pub async fn list(client: &tokio_postgres::Client, query: &ListQuery) -> Result<(Vec<User>, Around), Error> {
    let mut conditions = Conditions::of(&query.filters);
    // One more than the page holds tells whether another follows.
    let limit = i64::try_from(query.page_size)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let filters = conditions.sql.clone();
    let (position, other_side, order) = match query.from {
        From::Start => (String::new(), "false".to_owned(), "ASC"),
        From::After(id) => {
            let id = conditions.parameter(id, Type::INT8);
            (
                format!(" AND u.id > {id}"),
                format!("EXISTS (SELECT FROM users u WHERE u.id <= {id}{filters})"),
                "ASC",
            )
        }
        From::Before(id) => {
            let id = conditions.parameter(id, Type::INT8);
            (
                format!(" AND u.id < {id}"),
                format!("EXISTS (SELECT FROM users u WHERE u.id >= {id}{filters})"),
                "DESC",
            )
        }
    };
    let limit = conditions.parameter(limit, Type::INT8);
    // The left side gives a row also for an empty page, whose surroundings are asked for too.
    let sql = format!(
        "SELECT p.*, around.other_side FROM (SELECT {other_side} AS other_side) around \
         LEFT JOIN (SELECT {USER} AS services FROM users u WHERE true{position}{filters} \
                    ORDER BY u.id {order} LIMIT {limit}) p ON true"
    );
    let rows = client.query_typed(&sql, &conditions.values()).await?;
    let other_side = rows
        .first()
        .map(|row| row.try_get(5))
        .transpose()?
        .unwrap_or(false);
    let found = rows
        .iter()
        .filter(|row| row.try_get::<_, Option<i64>>(0).is_ok_and(|id| id.is_some()));
    let mut users = found.map(user_of).collect::<Result<Vec<_>, _>>()?;
    let more = users.len() > query.page_size;
    users.truncate(query.page_size);
    let (before, behind) = match query.from {
        From::Before(_) => {
            users.reverse();
            (more, other_side)
        }
        From::Start | From::After(_) => (other_side, more),
    };
    let ends = users
        .first()
        .zip(users.last())
        .map(|(first, last)| (first.id, last.id));
    Ok((users, Around { ends, before, behind }))
}

/// The conditions of the filters with their values. The statement is planned for each call, since
/// how best to search depends on how common the words are.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    fn of(filters: &Filters) -> Self {
        let mut conditions = Self::default();
        if let Some(email) = &filters.email {
            let email = conditions.parameter(email.clone(), Type::TEXT);
            conditions.and(&format!("u.email_key = {email}"));
        }
        if !filters.name_words.is_empty() {
            let words = conditions.parameter(search_of(&filters.name_words), Type::TEXT);
            conditions.and(&format!("u.name_words @@ {words}::text::tsquery"));
        }
        if let Some((service, id)) = &filters.account {
            let service = conditions.parameter(service.as_str().to_owned(), Type::TEXT);
            let id = conditions.parameter(id.clone(), Type::TEXT);
            conditions.and(&format!(
                "u.id = (SELECT a.user_id FROM linked_accounts a WHERE a.service = {service} AND a.account_id = {id})"
            ));
        }
        conditions
    }

    fn and(&mut self, condition: &str) {
        self.sql.extend([" AND ", condition]);
    }

    /// Adds a value and gives its name in the statement.
    fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// A tsquery: every word as the beginning of one, quoted so that none is an operator.
fn search_of(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("{}:*", quoted(word)))
        .collect::<Vec<_>>()
        .join(" & ")
}
