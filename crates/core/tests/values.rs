//! The forms in which settings are written.

use std::net::IpAddr;
use std::time::Duration;

use identity_core::config::values::{Bind, OutageExit, Range, Span};
use proptest::prelude::*;

#[test]
fn a_span_is_a_number_of_seconds_or_has_units() {
    for (text, expected) in [
        ("0", Duration::ZERO),
        ("90", Duration::from_secs(90)),
        ("1.5", Duration::from_millis(1500)),
        ("90s", Duration::from_secs(90)),
        ("1m30s", Duration::from_secs(90)),
        ("7d", Duration::from_hours(7 * 24)),
    ] {
        assert_eq!(text.parse(), Ok(Span(expected)), "{text}");
    }
    for text in [
        "",
        "-1",
        "nan",
        "inf",
        "1e300",
        "soon",
        "5 parsecs",
        "1000y",
        "10 s s",
    ] {
        let refused = text.parse::<Span>().unwrap_err();
        assert!(refused.contains(&format!("found `{text}`")), "{refused}");
    }
}

#[test]
fn an_outage_ends_a_service_after_a_span_or_never() {
    assert_eq!("never".parse(), Ok(OutageExit::Never));
    assert_eq!("0".parse(), Ok(OutageExit::After(Duration::ZERO)));
    assert!("Never".parse::<OutageExit>().unwrap_err().contains("`never`"));
}

#[test]
fn a_range_is_a_network_or_one_address() {
    let contains =
        |range: &str, address: &str| range.parse::<Range>().unwrap().contains(address.parse().unwrap());
    assert!(contains("10.0.0.0/8", "10.255.0.1"));
    assert!(!contains("10.0.0.0/8", "11.0.0.1"));
    assert!(contains("10.1.2.3", "10.1.2.3") && !contains("10.1.2.3", "10.1.2.4"));
    assert!(
        contains("10.0.0.0/8", "::ffff:10.1.2.3"),
        "the same address, written as IPv6"
    );
    assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "::1"));
    assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "2001:db8::1"));
    for text in ["", "10.0.0.0/33", "10.0.0", "host", "10.0.0.0/", "::/129"] {
        assert!(text.parse::<Range>().is_err(), "{text}");
    }
}

#[test]
fn a_listener_s_address_has_a_port() {
    for text in ["127.0.0.1:5000", "[::1]:5000", "[::]:0"] {
        assert_eq!(text.parse::<Bind>().unwrap().0.to_string(), text);
    }
    assert_eq!("localhost:5000".parse::<Bind>().unwrap().0.port(), 5000);
    for text in ["", "127.0.0.1", ":5000", "127.0.0.1:65536", "127.0.0.1:http"] {
        assert!(text.parse::<Bind>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn whole_seconds_are_read_as_written(seconds in 0_u32..2_000_000_000) {
        let expected = Ok(Span(Duration::from_secs(seconds.into())));
        prop_assert_eq!(seconds.to_string().parse(), expected.clone());
        prop_assert_eq!(format!("{seconds}s").parse(), expected);
    }

    #[test]
    fn no_text_breaks_a_parser(text in "\\PC*") {
        if let Ok(Span(span)) = text.parse::<Span>() {
            prop_assert!(jiff::Timestamp::UNIX_EPOCH.checked_add(span).is_ok());
        }
        drop(text.parse::<OutageExit>());
        drop(text.parse::<Range>());
    }

    #[test]
    fn a_range_contains_exactly_its_addresses(bits in any::<u32>(), length in 0_u8..=32, other in any::<u32>()) {
        let range: Range = format!("{}/{length}", IpAddr::from(bits.to_be_bytes())).parse().unwrap();
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let inside = bits & mask == other & mask;
        prop_assert_eq!(range.contains(IpAddr::from(other.to_be_bytes())), inside);
    }
}
