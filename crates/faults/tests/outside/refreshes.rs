//! Refreshes of tokens, while processes of tokenstore are killed and the provider misbehaves: no refresh token is
//! lost, and no token is answered to anybody but its owner.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::{Load, random_below, short_or_full, tell};
use identity_testkit::{Answer, Refreshing, eventually};
use serde_json::json;

use crate::linked::{House, Told, turns};

const CLIENTS: usize = 6;

/// People who ask for fresh tokens again and again.
struct Asking {
    house: Arc<House>,
    answered: AtomicUsize,
    unanswered: AtomicUsize,
    /// Whose last request had no answer, so that a refresh token may have been used up with it.
    doubtful: Mutex<BTreeSet<String>>,
    /// Who was told to link anew.
    lost: Mutex<BTreeSet<String>>,
}

impl Asking {
    async fn new(refreshing: Refreshing) -> Arc<Self> {
        let house = House::new(short_or_full(12, 48)).await;
        house.idp.change(|ways| ways.refreshing = refreshing);
        for person in &house.people {
            assert!(house.link(person).await, "{person}");
        }
        Arc::new(Self {
            house,
            answered: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            doubtful: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    fn start(self: &Arc<Self>) -> Load {
        Load::start(CLIENTS, |number, running| {
            let asking = self.clone();
            async move {
                for person in turns(&asking.house, number, CLIENTS, &running) {
                    asking.ask(&person).await;
                }
            }
        })
    }

    async fn ask(&self, person: &str) -> Told {
        let told = self.house.fresh(person).await;
        match told {
            Told::Theirs => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.doubtful.lock().unwrap().remove(person);
            }
            Told::Nothing => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                self.doubtful.lock().unwrap().insert(person.to_owned());
                // As polite as any client: what is away is not asked at full speed.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Told::LinkAnew => {
                let excused = self.doubtful.lock().unwrap().contains(person);
                assert!(
                    excused,
                    "{person}: a refresh token was lost, and nobody was killed with it"
                );
                self.lost.lock().unwrap().insert(person.to_owned());
                assert!(self.house.link(person).await || self.is_busy(), "{person}");
            }
            Told::NotLinked => panic!("{person}: the link is gone"),
        }
        told
    }

    /// Whether there are faults under way, so that linking may fail.
    fn is_busy(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0
    }

    /// Everybody's link is good, at both processes.
    async fn all_good(&self) {
        for person in &self.house.people {
            for _ in 0..3 {
                eventually("a fresh token", async || {
                    (self.ask(person).await == Told::Theirs).then_some(())
                })
                .await;
            }
        }
        assert_eq!(
            self.house.links().await,
            i64::try_from(self.house.people.len()).unwrap()
        );
    }

    fn figures(&self) -> String {
        format!(
            "{} fresh tokens, each its owner's; {} requests without a token; {} refreshes at the provider; {} of {} links had to be made anew",
            self.answered.load(Ordering::Relaxed),
            self.unanswered.load(Ordering::Relaxed),
            self.house.idp.refreshes(),
            self.lost.lock().unwrap().len(),
            self.house.people.len()
        )
    }

    /// Kills processes of ours while the provider is slow to tell what it has decided.
    async fn kill_under_load(self: &Arc<Self>, kills: usize) {
        self.house
            .idp
            .change(|ways| ways.delay = Duration::from_millis(30));
        let load = self.start();
        for _ in 0..kills {
            tokio::time::sleep(Duration::from_millis(100 + random_below(400))).await;
            self.house.kill_one().await;
        }
        load.stop().await;
        self.house.idp.change(|ways| ways.delay = Duration::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_killed_under_load_loses_no_link_of_a_provider_that_takes_refresh_tokens_again() {
    let kills = short_or_full(5, 50);
    let asking = Asking::new(Refreshing::Keeping).await;
    asking.kill_under_load(kills).await;
    asking.all_good().await;
    assert!(
        asking.lost.lock().unwrap().is_empty(),
        "nothing is lost: {}",
        asking.figures()
    );
    assert!(asking.is_busy(), "kills meet requests");
    tell(
        "tokenstore killed, refresh tokens good again",
        &format!("{kills} kills; {}", asking.figures()),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenstore_that_is_killed_under_load_loses_of_a_rotating_provider_only_what_was_on_its_way() {
    let kills = short_or_full(5, 50);
    let asking = Asking::new(Refreshing::Rotating).await;
    asking.kill_under_load(kills).await;
    asking.all_good().await;
    assert!(asking.is_busy(), "kills meet requests");
    tell(
        "tokenstore killed, refresh tokens good for once",
        &format!("{kills} kills; {}", asking.figures()),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_slow_down_and_talks_nonsense_costs_no_link() {
    let rounds = short_or_full(1, 10);
    let asking = Asking::new(Refreshing::Rotating).await;
    let moods = [
        (Answer::Usual, 200),
        (Answer::Fixed(503, "away".to_owned()), 0),
        (Answer::Fixed(200, "nonsense".to_owned()), 0),
        (
            Answer::Fixed(200, json!({"access_token": 7, "refresh_token": []}).to_string()),
            0,
        ),
        (
            Answer::Fixed(500, json!({"error": "server_error"}).to_string()),
            0,
        ),
        (Answer::Fixed(200, "[".repeat(50_000)), 0),
        (Answer::Fixed(429, String::new()), 100),
        (Answer::Fixed(302, String::new()), 0),
        (Answer::Usual, 0),
    ];
    let load = asking.start();
    for _ in 0..rounds {
        for (token, delay) in &moods {
            asking.house.idp.change(|ways| {
                ways.token = token.clone();
                ways.delay = Duration::from_millis(*delay);
            });
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
    load.stop().await;
    asking.all_good().await;
    assert!(asking.lost.lock().unwrap().is_empty(), "{}", asking.figures());
    assert!(asking.is_busy(), "it was down");
    tell("a provider that misbehaves", &asking.figures());
}
