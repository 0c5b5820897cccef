//! Mails: put into an outbox in the transaction of what they tell of, and sent by a worker, so that a
//! mail server that is down loses none and holds up no request.

mod model;
mod sender;
mod store;
mod worker;

pub(crate) use model::Mail;
pub(crate) use sender::Sender;
pub(crate) use store::place;
pub(crate) use worker::Worker;

use std::sync::Arc;

use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::state::Signing;

/// Where mails are put.
#[derive(Debug, Clone)]
pub(crate) struct Postbox {
    sender: Arc<Sender>,
    signing: Arc<Signing>,
    written: Arc<Notify>,
}

impl Postbox {
    /// A postbox that `sender` empties.
    pub(crate) fn new(sender: Sender, signing: Arc<Signing>) -> Self {
        Self {
            sender: Arc::new(sender),
            signing,
            written: Arc::default(),
        }
    }

    /// Puts a mail into the outbox, to be sent when the transaction is committed.
    ///
    /// # Errors
    /// What Postgres says.
    pub(crate) async fn put(
        &self,
        transaction: &impl GenericClient,
        mail: &Mail,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.sender.is_off() {
            return Ok(());
        }
        let id = random::uuid();
        let content = self
            .signing
            .at_rest
            .seal(&store::place(id), mail.content().as_bytes());
        store::insert(transaction, id, &mail.recipient, &content, now).await
    }

    /// Says that a mail is committed.
    pub(crate) fn told(&self) {
        self.written.notify_one();
    }

    /// `ok`, or why mails cannot be sent.
    pub(crate) async fn condition(&self) -> String {
        self.sender.condition().await
    }
}
