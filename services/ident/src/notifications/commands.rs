//! `ident events`: what waits, what is dead, and bringing it back.

use comfy_table::{Table, presets};
use identity_core::clock::Clock;
use identity_core::db::Database;
use identity_core::failure::Failure;

use super::store;

/// What an operator does with events.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum EventsCommand {
    /// List the notifications that wait or were given up, the oldest first
    List {
        /// Only those that were given up
        #[arg(long)]
        dead: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// As JSON, a line each
        #[arg(long)]
        json: bool,
    },
    /// Deliver notifications that were given up after all: one by its id, or all
    Replay {
        /// The event's id, of `list`
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// All that were given up
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// Does what was asked and prints it.
///
/// # Errors
/// [`Failure::Other`] when Postgres refuses, or there is no such event.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub async fn run(command: EventsCommand, database: &Database, clock: &Clock) -> Result<(), Failure> {
    let failed = |error| Failure::because("events", error);
    let client = database.client().await.map_err(failed)?;
    match command {
        EventsCommand::List { dead, limit, json } => {
            let listed = store::list(&client, dead, limit.into()).await.map_err(failed)?;
            if json {
                for event in &listed {
                    println!("{}", line(event));
                }
            } else {
                println!("{}", table(&listed));
            }
        }
        EventsCommand::Replay { id, all: _ } => {
            let revived = store::revive(&client, id, clock.now()).await.map_err(failed)?;
            if let (0, Some(id)) = (revived, id) {
                return Err(Failure::Other(format!("no event {id} was given up")));
            }
            println!("{revived} notifications will be delivered");
        }
    }
    Ok(())
}

fn line(
    store::Listed {
        event,
        last_error,
        is_dead,
    }: &store::Listed,
) -> serde_json::Value {
    serde_json::json!({
        "id": event.id, "user_id": event.user_id, "type": event.kind, "created_at": event.created_at,
        "attempts": event.attempts, "dead": is_dead, "last_error": last_error,
    })
}

fn table(listed: &[store::Listed]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "id",
        "user",
        "type",
        "since",
        "attempts",
        "state",
        "last error",
    ]);
    for store::Listed {
        event,
        last_error,
        is_dead,
    } in listed
    {
        table.add_row([
            event.id.to_string(),
            event.user_id.to_string(),
            event.kind.clone(),
            format!("{:.0}", event.created_at),
            event.attempts.to_string(),
            if *is_dead { "given up" } else { "waiting" }.to_owned(),
            last_error.clone().unwrap_or_default(),
        ]);
    }
    table
}
