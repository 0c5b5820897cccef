//! Slows the guessing of passwords: each wrong one beyond a number makes the next try wait twice as
//! long. Counted in Postgres, so that all instances count together.
//!
//! Two counts: of the address, whatever it tries; and of the account, for addresses from which its
//! owner has not signed in before. So a stranger who guesses slows down strangers, and never keeps
//! the owner out.
//!
//! A schema that uses it has the tables
//! `login_failures (bucket text PRIMARY KEY, failures integer, began_at, blocked_until timestamptz)` and
//! `login_addresses (user_id bigint, address text, last_at timestamptz, PRIMARY KEY (user_id, address))`.

use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::config::Limits;
use crate::config::values::Rate;
use crate::db::{Error, GenericClient};

/// The wait after the first wrong password too many.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The bounds of guessing.
#[derive(Debug, Clone)]
pub struct Throttle {
    per_account: Rate,
    per_address: Rate,
}

/// One try: by whom, from where.
#[derive(Debug)]
pub struct Tried {
    account: String,
    address: String,
}

impl Tried {
    /// A try for the account known by `key`, from `address`.
    #[must_use]
    pub fn new(key: &str, address: Option<IpAddr>) -> Self {
        let address = address
            .map(network)
            .map_or_else(String::new, |network| network.to_string());
        Self {
            account: bucket("account", key),
            address: bucket("address", &address),
        }
    }
}

/// Of IPv6 a whole /64: a single subscriber has as many addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Stored as a digest: the table shall not list who is attacked from where.
fn bucket(kind: &str, key: &str) -> String {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(key)
        .finalize();
    format!("{kind}:{}", HEXLOWER.encode(&digest))
}

impl Throttle {
    /// The bounds of `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_account: limits.logins_per_account,
            per_address: limits.logins_per_address,
        }
    }

    /// How long the try has to wait, if at all. `user` is the account's, where there is one.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn wait(
        &self,
        client: &impl GenericClient,
        tried: &Tried,
        user: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Duration>, Error> {
        let sql = "SELECT max(blocked_until) FROM login_failures
                   WHERE blocked_until > $1
                     AND (bucket = $2
                          OR bucket = $3 AND NOT EXISTS (SELECT FROM login_addresses
                                                         WHERE user_id = $4 AND address = $2))";
        let statement = client.prepare_cached(sql).await?;
        // Nobody has the id 0.
        let user = user.unwrap_or(0);
        let row = client
            .query_one(&statement, &[&now, &tried.address, &tried.account, &user])
            .await?;
        let until: Option<Timestamp> = row.try_get(0)?;
        Ok(until.map(|until| until.duration_since(now).unsigned_abs()))
    }

    /// Counts a wrong password, for the account and for the address.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn failed(
        &self,
        client: &impl GenericClient,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<(), Error> {
        for (bucket, rate) in [
            (&tried.account, self.per_account),
            (&tried.address, self.per_address),
        ] {
            // A count that began longer ago than the window begins anew. The first one blocks nobody, also not who came at
            // the same moment and read the time before.
            let sql = "INSERT INTO login_failures (bucket, failures, began_at, blocked_until) VALUES ($1, 1, $2, $3)
                       ON CONFLICT (bucket) DO UPDATE SET
                           failures = CASE WHEN greatest(login_failures.began_at, login_failures.blocked_until) < $3
                                           THEN 1 ELSE login_failures.failures + 1 END,
                           began_at = CASE WHEN greatest(login_failures.began_at, login_failures.blocked_until) < $3
                                           THEN $2 ELSE login_failures.began_at END
                       RETURNING failures";
            let statement = client.prepare_cached(sql).await?;
            let row = client
                .query_one(&statement, &[&bucket, &now, &(now - rate.window)])
                .await?;
            let failures: i32 = row.try_get(0)?;
            if let Some(wait) = wait_after(failures, rate) {
                let sql =
                    "UPDATE login_failures SET blocked_until = greatest(blocked_until, $2) WHERE bucket = $1";
                let statement = client.prepare_cached(sql).await?;
                client.execute(&statement, &[&bucket, &(now + wait)]).await?;
            }
        }
        Ok(())
    }

    /// Notes that `user` has signed in from the address, which from now on is known for them.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn succeeded(
        &self,
        client: &impl GenericClient,
        tried: &Tried,
        user: i64,
        now: Timestamp,
    ) -> Result<(), Error> {
        // Once a day is often enough, and spares a write at most logins.
        let sql = "INSERT INTO login_addresses (user_id, address, last_at) VALUES ($1, $2, $3)
                   ON CONFLICT (user_id, address) DO UPDATE SET last_at = $3
                   WHERE login_addresses.last_at < $4";
        let statement = client.prepare_cached(sql).await?;
        let day_ago = now - SignedDuration::from_hours(24);
        client
            .execute(&statement, &[&user, &tried.address, &now, &day_ago])
            .await?;
        Ok(())
    }
}

/// How long the next try waits after so many wrong ones: doubled with each beyond the rate's count,
/// at most the rate's window.
fn wait_after(failures: i32, rate: Rate) -> Option<Duration> {
    let beyond = u32::try_from(failures).ok()?.checked_sub(rate.count)?;
    let wait = FIRST_WAIT.checked_mul(1_u32.checked_shl(beyond.min(31)).unwrap_or(u32::MAX));
    Some(wait.unwrap_or(rate.window).min(rate.window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_window() {
        let rate = Rate {
            count: 10,
            window: Duration::from_mins(10),
        };
        let waits = [1, 9, 10, 11, 12, 20, 1000]
            .map(|failures| wait_after(failures, rate).map(|wait| wait.as_secs()));
        assert_eq!(
            waits,
            [None, None, Some(1), Some(2), Some(4), Some(600), Some(600)]
        );
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let account = "robb";
        let of = |address: &str| Tried::new(account, Some(address.parse().unwrap())).address;
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    }
}
