//! Time that is turned, and the word to stop.

use std::time::Duration;

use identity_core::clock::Clock;
use identity_core::runtime::stop;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_clock_that_is_turned_wakes_who_sleeps_by_it() {
    let clock = Clock::system();
    let before = clock.now();
    let sleeper = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(HOUR).await }
    });
    tokio::task::yield_now().await;
    clock.advance(HOUR / 2);
    tokio::task::yield_now().await;
    assert!(!sleeper.is_finished(), "half of it is not enough");
    clock.advance(HOUR / 2);
    sleeper.await.unwrap();
    assert!(clock.now().duration_since(before) >= HOUR.try_into().unwrap());
    clock.sleep(Duration::ZERO).await;
}

#[tokio::test]
async fn the_word_to_stop_reaches_every_clone_also_when_the_stopper_is_dropped() {
    for say in [true, false] {
        let (stopper, word) = stop();
        let other = word.clone();
        assert!(!word.is_said());
        let waiting = tokio::spawn(async move { other.said().await });
        if say {
            stopper.stop();
            assert!(word.is_said());
        }
        drop(stopper);
        waiting.await.unwrap();
        assert!(word.is_said());
        word.said().await;
    }
}
