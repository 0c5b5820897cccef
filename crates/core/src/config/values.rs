//! The forms in which settings are written: durations, sizes, address ranges, lists.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A span of time: `30s`, `10m`, `72h`, `7d`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A century: with a longer time no point in time can be computed.
const LONGEST_SPAN: Duration = Duration::from_hours(100 * 366 * 24);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => humantime::parse_duration(text).ok(),
        };
        span.filter(|span| *span <= LONGEST_SPAN)
            .map(Self)
            .ok_or_else(|| expected_span(text))
    }
}

fn expected_span(text: &str) -> String {
    format!("expected a duration like `30s`, `10m` or `72h`, or a number of seconds, found `{text}`")
}

/// When a running service gives up on an unreachable Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageExit {
    /// After this long; zero is at the first failure.
    After(Duration),
    /// Never: it answers 503 until Postgres is back.
    Never,
}

impl FromStr for OutageExit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let Span(span) = text
            .parse()
            .map_err(|_| format!("expected a duration, 0 or `never`, found `{text}`"))?;
        Ok(Self::After(span))
    }
}

/// A rate: `10/10m` is ten within ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least one.
    pub count: u32,
    /// Within which time.
    pub window: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a rate like `10/10m`, found `{text}`");
        let (count, window) = text.split_once('/').ok_or_else(expected)?;
        let count = count
            .trim()
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(expected)?;
        let Span(window) = window.trim().parse().map_err(|_| expected())?;
        if window.is_zero() {
            Err(expected())
        } else {
            Ok(Self { count, window })
        }
    }
}

/// An address range: a CIDR, or a bare address as a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(pub IpNet);

impl Range {
    /// Whether `address` lies in the range; an IPv4 address written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        range
            .map(Self)
            .map_err(|_| format!("expected an address range like `10.0.0.0/8`, found `{text}`"))
    }
}

/// The address a listener binds: `127.0.0.1:5000`, `[::]:5000` or `localhost:5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind(pub SocketAddr);

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let resolved = text
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next());
        resolved
            .map(Self)
            .ok_or_else(|| format!("expected an address and a port like `127.0.0.1:5000`, found `{text}`"))
    }
}

/// Whether outgoing requests may go to private addresses: never, always, or to these ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowPrivate {
    /// Only public addresses.
    No,
    /// Any address.
    Yes,
    /// Public addresses and these.
    Ranges(Vec<Range>),
}

impl<'de> Deserialize<'de> for AllowPrivate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = AllowPrivate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true, false or a list of address ranges")
            }

            fn visit_bool<E: Error>(self, allowed: bool) -> Result<AllowPrivate, E> {
                Ok(if allowed {
                    AllowPrivate::Yes
                } else {
                    AllowPrivate::No
                })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AllowPrivate, E> {
                match text {
                    "true" => Ok(AllowPrivate::Yes),
                    "false" => Ok(AllowPrivate::No),
                    list => {
                        let ranges = list
                            .split(',')
                            .map(|range| range.trim().parse().map_err(E::custom));
                        ranges.collect::<Result<_, _>>().map(AllowPrivate::Ranges)
                    }
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AllowPrivate, A::Error> {
                let mut ranges = Vec::new();
                while let Some(range) = list.next_element()? {
                    ranges.push(range);
                }
                Ok(AllowPrivate::Ranges(ranges))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

/// One secret or several: a list, or a text with commas between them.
#[derive(Debug, Clone, Default)]
pub struct Secrets(pub Vec<SecretString>);

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = list(deserializer)?;
        Ok(Self(texts.into_iter().map(SecretString::from).collect()))
    }
}

/// A list of texts, or one text with commas between them; blanks around an item do not count.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text, or a list of texts")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(ToOwned::to_owned)
                .collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element::<String>()? {
                texts.push(text.trim().to_owned());
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(List)
}

/// Reads a text or a number by the type's own text form.
fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(deserializer: D) -> Result<T, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text or a number")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer
        .deserialize_any(Text)?
        .parse()
        .map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for OutageExit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}
