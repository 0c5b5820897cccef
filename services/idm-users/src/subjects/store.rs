//! Subjects in Postgres.

use identity_core::db::tokio_postgres::types::{ToSql, Type};
use identity_core::db::tokio_postgres::{self, Row};
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use serde_json::Value;

use super::dates::Moment;
use super::model::{Subject, grams, order_key, search_key};
use super::query::ListQuery;

/// The columns of [`subject_of`].
const SUBJECT: &str = "sssid, name, bday, bday_at, email, date_invited, invited_at, date_consented, consented_at, \
    date_enrolled, enrolled_at, date_withdrawn, withdrawn_at, enrolled_by_hand, withdrawn_by_hand, extra, created, \
    changed";

fn subject_of(row: &Row) -> Result<Subject, Error> {
    let date = |column: usize| -> Result<Option<Moment>, tokio_postgres::Error> {
        let text: Option<String> = row.try_get(column)?;
        let at: Option<Timestamp> = row.try_get(column + 1)?;
        Ok(text.zip(at).map(|(text, at)| Moment { text, at }))
    };
    let extra: Value = row.try_get(15)?;
    Ok(Subject {
        sssid: row.try_get(0)?,
        name: row.try_get(1)?,
        bday: date(2)?.ok_or_else(|| Error::corrupt("a subject has no birthday"))?,
        email: row.try_get(4)?,
        dates: [date(5)?, date(7)?, date(9)?, date(11)?],
        by_hand: [row.try_get(13)?, row.try_get(14)?],
        extra: extra.as_object().cloned().unwrap_or_default(),
        created: row.try_get(16)?,
        changed: row.try_get(17)?,
    })
}

/// The subject of this SSSID.
pub(crate) async fn find(client: &impl GenericClient, sssid: &str) -> Result<Option<Subject>, Error> {
    let sql = format!("SELECT {SUBJECT} FROM subjects WHERE sssid = $1");
    find_by(client, &sql, sssid).await
}

/// The subject of this SSSID, which nobody else changes until the transaction ends; nor its links,
/// before each change of which the subject is locked.
pub(crate) async fn lock(transaction: &impl GenericClient, sssid: &str) -> Result<Option<Subject>, Error> {
    let sql = format!("SELECT {SUBJECT} FROM subjects WHERE sssid = $1 FOR UPDATE");
    find_by(transaction, &sql, sssid).await
}

async fn find_by(client: &impl GenericClient, sql: &str, sssid: &str) -> Result<Option<Subject>, Error> {
    // Postgres takes no NUL, and no SSSID has one.
    if sssid.contains('\0') {
        return Ok(None);
    }
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_opt(&statement, &[&sssid]).await?;
    row.as_ref().map(subject_of).transpose()
}

/// The values of all columns that follow from the subject's members.
struct Columns {
    extra: Value,
    sssid_key: String,
    name_key: String,
    name_grams: Vec<String>,
    name_order: String,
    email_order: Option<String>,
}

impl Columns {
    fn of(subject: &Subject) -> Self {
        let name_key = search_key(&subject.name);
        Self {
            extra: Value::Object(subject.extra.clone()),
            sssid_key: search_key(&subject.sssid),
            name_grams: grams(&name_key),
            name_key,
            name_order: order_key(&subject.name),
            email_order: subject.email.as_deref().map(order_key),
        }
    }
}

/// All columns of a subject but the moment of its making, from `$1` on.
fn parameters<'a>(subject: &'a Subject, columns: &'a Columns) -> Vec<&'a (dyn ToSql + Sync)> {
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &subject.sssid,
        &subject.name,
        &subject.bday.text,
        &subject.bday.at,
        &subject.email,
        &subject.changed,
        &columns.extra,
        &columns.sssid_key,
        &columns.name_key,
        &columns.name_grams,
        &columns.name_order,
        &columns.email_order,
    ];
    for by_hand in &subject.by_hand {
        values.push(by_hand);
    }
    for date in &subject.dates {
        match date {
            Some(Moment { text, at }) => values.extend([text as &(dyn ToSql + Sync), at]),
            None => values.extend([&None::<String> as &(dyn ToSql + Sync), &None::<Timestamp>]),
        }
    }
    values
}

/// The columns of [`parameters`].
const COLUMNS: &str = "sssid, name, bday, bday_at, email, changed, extra, sssid_key, name_key, name_grams, name_order, \
    email_order, enrolled_by_hand, withdrawn_by_hand, date_invited, invited_at, date_consented, consented_at, \
    date_enrolled, enrolled_at, date_withdrawn, withdrawn_at";
const PLACES: &str =
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22";

/// Makes a subject; false where the SSSID is taken.
pub(crate) async fn insert(client: &impl GenericClient, subject: &Subject) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO subjects ({COLUMNS}, created) VALUES ({PLACES}, $6) ON CONFLICT (sssid) DO NOTHING"
    );
    let statement = client.prepare_cached(&sql).await?;
    let columns = Columns::of(subject);
    Ok(client.execute(&statement, &parameters(subject, &columns)).await? == 1)
}

/// Writes all members of a subject.
pub(super) async fn update(client: &impl GenericClient, subject: &Subject) -> Result<(), Error> {
    let sql = format!("UPDATE subjects SET ({COLUMNS}) = ROW ({PLACES}) WHERE sssid = $1");
    let statement = client.prepare_cached(&sql).await?;
    let columns = Columns::of(subject);
    client.execute(&statement, &parameters(subject, &columns)).await?;
    Ok(())
}

/// Lets `date_enrolled` and `date_withdrawn` follow the subject's links, unless they are set by hand.
pub(crate) async fn follow_links(
    transaction: &impl GenericClient,
    sssid: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "WITH followed AS (
                   SELECT (array_agg(linked_on ORDER BY linked_at)
                               FILTER (WHERE linked_at IS NOT NULL AND withdrawn_at IS NULL))[1] AS date_enrolled,
                          min(linked_at) FILTER (WHERE withdrawn_at IS NULL) AS enrolled_at,
                          (array_agg(withdrawn_on ORDER BY withdrawn_at DESC)
                               FILTER (WHERE withdrawn_at IS NOT NULL))[1] AS date_withdrawn,
                          max(withdrawn_at) AS withdrawn_at
                   FROM links WHERE sssid = $1)
               UPDATE subjects s SET
                   date_enrolled = CASE WHEN enrolled_by_hand THEN s.date_enrolled ELSE f.date_enrolled END,
                   enrolled_at = CASE WHEN enrolled_by_hand THEN s.enrolled_at ELSE f.enrolled_at END,
                   date_withdrawn = CASE WHEN withdrawn_by_hand THEN s.date_withdrawn ELSE f.date_withdrawn END,
                   withdrawn_at = CASE WHEN withdrawn_by_hand THEN s.withdrawn_at ELSE f.withdrawn_at END,
                   changed = $2
               FROM followed f
               WHERE sssid = $1
                 AND (NOT enrolled_by_hand AND s.enrolled_at IS DISTINCT FROM f.enrolled_at
                      OR NOT withdrawn_by_hand AND s.withdrawn_at IS DISTINCT FROM f.withdrawn_at)";
    let statement = transaction.prepare_cached(sql).await?;
    transaction.execute(&statement, &[&sssid, &now]).await?;
    Ok(())
}

/// What a list is narrowed down to.
struct Filter {
    condition: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Filter {
    fn of(query: &ListQuery) -> Self {
        let mut conditions = vec!["true".to_owned()];
        let mut values: Vec<(Box<dyn ToSql + Sync + Send>, Type)> = Vec::new();
        if let Some(status) = query.status {
            values.push((Box::new(status), Type::INT2));
            conditions.push(format!("status = ${}", values.len()));
        }
        if let Some(search) = &query.search {
            let first = values.len() + 1;
            values.push((Box::new(search.clone()), Type::TEXT));
            values.push((Box::new(format!("{}%", escaped(search))), Type::TEXT));
            let grams = grams(search);
            // What is shorter than three characters has no trigrams, and is looked for in every name.
            let by_grams = if grams.is_empty() {
                String::new()
            } else {
                values.push((Box::new(grams), Type::TEXT_ARRAY));
                format!("name_grams @> ${} AND ", first + 2)
            };
            conditions.push(format!(
                "(sssid_key LIKE ${like} OR bday LIKE ${like} OR {by_grams}strpos(name_key, ${first}) > 0)",
                like = first + 1
            ));
        }
        Self {
            condition: conditions.join(" AND "),
            values,
        }
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let values = self.values.iter();
        values
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// A page of the list, and how many there are in all.
///
/// The best plan depends on what is searched for, so nothing is prepared.
pub(super) async fn list(
    client: &tokio_postgres::Client,
    query: &ListQuery,
) -> Result<(Vec<Subject>, i64), Error> {
    let filter = Filter::of(query);
    let (direction, nulls) = match (query.descending, query.order.nullable) {
        (false, false) => ("ASC", ""),
        (true, false) => ("DESC", ""),
        (false, true) => ("ASC", " NULLS FIRST"),
        (true, true) => ("DESC", " NULLS LAST"),
    };
    let (column, condition) = (query.order.column, &filter.condition);
    let part = format!("LIMIT {} OFFSET {}", query.page, query.offset);
    if query.search.is_some() {
        // Whoever is found is found once, for the count and for the page.
        let sql = format!(
            "WITH found AS MATERIALIZED (SELECT sssid AS wanted, {column} AS place FROM subjects WHERE {condition}),
                  page AS (SELECT * FROM found ORDER BY place {direction}{nulls}, wanted {direction} {part})
             SELECT {SUBJECT}, counted FROM (SELECT count(*) AS counted FROM found) total
             LEFT JOIN (page JOIN subjects ON sssid = wanted) ON true
             ORDER BY place {direction}{nulls}, wanted {direction}"
        );
        let rows = client.query_typed(&sql, &filter.values()).await?;
        let total = number(rows.first(), COUNTED)?;
        // An empty page has a row for the count alone.
        let filled = rows
            .iter()
            .filter(|row| matches!(row.try_get(0), Ok(Some::<&str>(_))));
        return Ok((filled.map(subject_of).collect::<Result<_, _>>()?, total));
    }
    let order = format!("{column} {direction}{nulls}, sssid {direction}");
    let count = format!("SELECT count(*) FROM subjects WHERE {condition}");
    // The inner half walks along an index, and only the rows of the page are looked up.
    let page = format!(
        "SELECT {SUBJECT} FROM (SELECT sssid AS wanted FROM subjects WHERE {condition} ORDER BY {order} {part}) page
         JOIN subjects ON sssid = wanted ORDER BY {order}"
    );
    let values = filter.values();
    // Both go out at once.
    let counted = client.query_typed(&count, &values);
    let (counted, rows) = tokio::try_join!(counted, client.query_typed(&page, &values))?;
    let subjects = rows.iter().map(subject_of).collect::<Result<_, _>>()?;
    Ok((subjects, number(counted.first(), 0)?))
}

/// The column behind those of [`SUBJECT`].
const COUNTED: usize = 18;

fn number(row: Option<&Row>, column: usize) -> Result<i64, Error> {
    let row = row.ok_or_else(|| Error::corrupt("a count has no row"))?;
    Ok(row.try_get(column)?)
}

/// A text for LIKE, which stands for nothing but itself.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

/// Up to `most` subjects whose SSSIDs come behind `sssid`.
pub(super) async fn list_after(
    client: &impl GenericClient,
    sssid: &str,
    most: i64,
) -> Result<Vec<Subject>, Error> {
    let sql = format!("SELECT {SUBJECT} FROM subjects WHERE sssid > $1 ORDER BY sssid LIMIT $2");
    let rows = client.query(&sql, &[&sssid, &most]).await?;
    rows.iter().map(subject_of).collect()
}
