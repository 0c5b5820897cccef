//! Requests to other hosts: which redirects are followed, and where none may go.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use identity_core::config::Outgoing as Settings;
use identity_core::config::values::{AllowPrivate, Span};
use identity_core::outgoing::Outgoing;
use identity_testkit::{Behaviour, Receiver};
use reqwest::Method;

fn outgoing(allow_private: AllowPrivate) -> Outgoing {
    let timeout = Span(Duration::from_millis(500));
    Outgoing::new(&Settings {
        allow_private,
        timeout,
    })
    .unwrap()
}

async fn status(method: Method, url: &str) -> u16 {
    let url = url.parse().unwrap();
    let request = outgoing(AllowPrivate::Yes).request(method, url).unwrap();
    request.send().await.unwrap().status().as_u16()
}

/// Redirects `/5` to `/4` and so on to `/0`, which is answered.
fn redirecting() -> Receiver {
    let receiver = Receiver::start();
    receiver.behave(|received| match received.path.trim_start_matches('/').parse() {
        Ok(0) | Err(_) => Behaviour::Answer(200),
        Ok::<u32, _>(left) => Behaviour::Redirect(302, format!("/{}", left - 1)),
    });
    receiver
}

#[tokio::test]
async fn a_question_follows_a_few_redirects_on_the_same_host() {
    let receiver = redirecting();
    assert_eq!(status(Method::GET, &format!("{}/5", receiver.url)).await, 200);
    assert_eq!(receiver.received().len(), 6);
    assert_eq!(status(Method::GET, &format!("{}/6", receiver.url)).await, 302);
    assert_eq!(status(Method::HEAD, &format!("{}/1", receiver.url)).await, 200);
}

#[tokio::test]
async fn what_is_posted_follows_none() {
    let receiver = redirecting();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(status(method, &format!("{}/1", receiver.url)).await, 302);
    }
    assert!(receiver.received().iter().all(|received| received.path == "/1"));
}

#[tokio::test]
async fn nothing_follows_a_redirect_to_another_host() {
    let other = Receiver::start();
    let receiver = Receiver::start();
    let (by_port, by_name) = (other.url.clone(), receiver.url.replace("127.0.0.1", "localhost"));
    for location in [by_port.clone(), by_name, by_port.replace("http:", "")] {
        receiver.behave(move |_| Behaviour::Redirect(302, location.clone()));
        for method in [Method::GET, Method::POST] {
            assert_eq!(status(method, &receiver.url).await, 302);
        }
    }
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn private_addresses_are_not_asked_under_any_name() {
    let receiver = Receiver::start();
    let port = receiver.url.rsplit(':').next().unwrap();
    let careful = outgoing(AllowPrivate::No);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
    ] {
        let url = format!("http://{host}:{port}/").parse().unwrap();
        match careful.request(Method::GET, url) {
            Err(refused) => assert!(refused.to_string().contains("outgoing.allow_private")),
            Ok(request) => assert!(request.send().await.is_err(), "{host}"),
        }
    }
    let by_range = outgoing(AllowPrivate::Ranges(vec!["127.0.0.1".parse().unwrap()]));
    let request = by_range
        .request(Method::GET, receiver.url.parse().unwrap())
        .unwrap();
    assert_eq!(request.send().await.unwrap().status(), 204);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_the_time_allowed() {
    let receiver = Receiver::start();
    receiver.behave(|_| Behaviour::Hang(Duration::from_hours(1)));
    let request = outgoing(AllowPrivate::Yes).request(Method::GET, receiver.url.parse().unwrap());
    assert!(request.unwrap().send().await.unwrap_err().is_timeout());
}
