//! `idm-users import`: users, subjects, links and their histories, out of an export.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use identity_core::crypto::random;
use identity_core::db::{Error, GenericClient};
use identity_core::failure::Failure;
use identity_core::import::{Report, failed};
use secrecy::SecretString;
use uuid::Uuid;

use super::documents::Documents;
use super::model::{self, Document, Kind, UNKNOWN_ACTOR};
use super::store::{self, Stored};
use crate::audit::{self, Entry};
use crate::state::Shared;
use crate::{links, subjects, users};

/// The name that stands in the audit trail for what an operator does by command.
const OPERATOR: &str = "operator";
/// What stands there for what came this way.
const TAKEN: &str = "taken over";

/// What is taken over.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportCommand {
    /// Files that mongoexport wrote, a document a line or as an array; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// Takes everything in one transaction: a run that fails has done nothing, and a second one finds everything there
/// already. Links keep their ids, and every history its moments.
///
/// # Errors
/// [`Failure::Configuration`] for a file that is none of documents, [`Failure::Unreachable`] without Postgres,
/// [`Failure::Other`] where a document could not be taken.
pub async fn run(command: ImportCommand, state: &Shared) -> Result<(), Failure> {
    let mut client = state
        .database
        .client()
        .await
        .map_err(|error| failed("preparing", error))?;
    let target = client
        .transaction()
        .await
        .map_err(|error| failed("preparing", error))?;
    let mut report = Report::new(command.dry_run);
    store::create(&target)
        .await
        .map_err(|error| failed("preparing", error))?;
    for file in &command.files {
        read(&target, file, command.files.len() > 1, &mut report).await?;
    }
    let import = Import {
        target: &target,
        state,
    };
    for kind in Kind::ALL {
        let taking = |error| failed(&format!("taking {}", kind.title()), error);
        let mut after = None;
        loop {
            let (page, end) = store::page(&target, kind, after).await.map_err(taking)?;
            for document in page {
                import.take(kind, document, &mut report).await.map_err(taking)?;
            }
            match end {
                Some(end) => after = Some(end),
                None => break,
            }
        }
    }
    import
        .finish()
        .await
        .map_err(|error| failed("finishing", error))?;
    if !command.dry_run {
        target
            .commit()
            .await
            .map_err(|error| failed("finishing", error))?;
    }
    report.end()
}

/// Puts the documents of a file into the table.
async fn read(
    target: &impl GenericClient,
    file: &Path,
    several: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::configuration(format!("{}: {error}", file.display()));
    let reader: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).map_err(|error| wrong(&error))?))
    };
    let mut documents = Documents::new(reader);
    let mut page = Vec::new();
    loop {
        let next = documents.read().map_err(|error| wrong(&error))?;
        let is_last = next.is_none();
        if let Some((line, members)) = next {
            let label = if several {
                format!("of {} line {line}", file.display())
            } else {
                format!("of line {line}")
            };
            match Document::read(members) {
                Ok(document) => page.push((label, document)),
                Err(why) => report.refused("documents", label, why),
            }
        }
        if is_last || page.len() == store::PAGE {
            let twice = store::add(target, &page).await;
            for label in twice.map_err(|error| failed("reading the documents", error))? {
                report.refused("documents", label, "its _id came before");
            }
            page.clear();
        }
        if is_last {
            return Ok(());
        }
    }
}

/// An import under way.
struct Import<'a, C> {
    target: &'a C,
    state: &'a Shared,
}

impl<C: GenericClient> Import<'_, C> {
    async fn take(&self, kind: Kind, document: Stored, report: &mut Report) -> Result<(), Error> {
        let label = document.label.clone();
        let taken = match kind {
            Kind::User => self.user(&document, report).await?,
            Kind::Subject => self.subject(document).await?,
            Kind::Link => self.link(document, report).await?,
            Kind::Audit => self.line(&document).await?,
        };
        match taken {
            Ok(true) => report.taken(kind.title()),
            Ok(false) => report.there(kind.title()),
            Err(why) => report.refused(kind.title(), label, why),
        }
        Ok(())
    }

    async fn user(&self, document: &Stored, report: &mut Report) -> Result<Result<bool, String>, Error> {
        let (username, admin) = match model::user(&document.members) {
            Ok(user) => user,
            Err(why) => return Ok(Err(why)),
        };
        if users::find(self.target, &username).await?.is_some() {
            return self.there_or_twice(Kind::User, &username.key).await;
        }
        // Of a password that nobody knows, so that it takes as long to be wrong as any other.
        let nobodys = SecretString::from(data_encoding::HEXLOWER.encode(&random::bytes::<32>()));
        let hash = self.state.hasher.hash(&nobodys).await;
        let hash = hash.map_err(|_| Error::unavailable("too many passwords are being hashed"))?;
        users::insert(self.target, &username, &hash, admin, self.state.now()).await?;
        store::note(self.target, document.number, &username.text, None).await?;
        report.note(
            Kind::User.title(),
            &document.label,
            format!("{} has to set a new password, at /iforgot", username.text),
        );
        Ok(Ok(true))
    }

    async fn subject(&self, document: Stored) -> Result<Result<bool, String>, Error> {
        let (subject, created) = match model::subject(document.members, self.state.now()) {
            Ok(subject) => subject,
            Err(why) => return Ok(Err(why)),
        };
        if !subjects::insert(self.target, &subject).await? {
            return self.there_or_twice(Kind::Subject, &subject.sssid).await;
        }
        store::set_created(self.target, &subject.sssid, created).await?;
        store::note(self.target, document.number, &subject.sssid, Some(&subject.sssid)).await?;
        Ok(Ok(true))
    }

    /// What has the name: the one that was there, or another of this very import.
    async fn there_or_twice(&self, kind: Kind, key: &str) -> Result<Result<bool, String>, Error> {
        if store::is_taken(self.target, kind, key).await? {
            return Ok(Err(format!("{key} came before")));
        }
        Ok(Ok(false))
    }

    async fn link(&self, document: Stored, report: &mut Report) -> Result<Result<bool, String>, Error> {
        let signing = &self.state.signing;
        let now = self.state.now();
        let read = model::link(
            &document.id,
            document.members,
            &signing.secret,
            &signing.at_rest,
            now,
        );
        let (link, note) = match read {
            Ok(link) => link,
            Err(why) => return Ok(Err(why)),
        };
        if links::find(self.target, link.id).await?.is_some() {
            return Ok(Ok(false));
        }
        if subjects::find(self.target, &link.sssid).await?.is_none() {
            return Ok(Err(format!("there is no subject {}", link.sssid)));
        }
        links::insert(self.target, &link).await?;
        links::update(self.target, &link).await?;
        store::note(
            self.target,
            document.number,
            &link.id.to_string(),
            Some(&link.sssid),
        )
        .await?;
        if let Some(note) = note {
            report.note(Kind::Link.title(), &document.label, note);
        }
        Ok(Ok(true))
    }

    /// A line of the history of a document that was taken in this run: that of another is there with it.
    async fn line(&self, document: &Stored) -> Result<Result<bool, String>, Error> {
        let line = match model::line(&document.members) {
            Ok(line) => line,
            Err(why) => return Ok(Err(why)),
        };
        let Some(of) = store::find(self.target, &line.document).await? else {
            return Ok(Err(format!(
                "its document {} is not in the export",
                line.document
            )));
        };
        let is_there = of.object.is_none() && self.is_there(&of, &line.document).await?;
        let entry = match (of.kind.as_str(), of.object, of.sssid) {
            (_, None, _) if is_there => return Ok(Ok(false)),
            ("user", Some(username), _) => Entry::of_user(&username, line.action),
            ("subject", Some(sssid), _) => Entry::of_subject(&sssid, line.action),
            ("link", Some(link), Some(sssid)) => {
                Entry::of_link(Uuid::try_parse(&link).unwrap_or_default(), &sssid, line.action)
            }
            _ => return Ok(Err(format!("its document {} was not taken", line.document))),
        };
        let actor = match &line.actor {
            Some(id) => {
                let known = store::find(self.target, id).await?;
                let username = known.and_then(|known| known.username);
                Some(username.unwrap_or_else(|| UNKNOWN_ACTOR.to_owned()))
            }
            None => None,
        };
        audit::append(self.target, line.at, &[entry.by(actor.as_deref())]).await?;
        Ok(Ok(true))
    }

    /// Whether a document that was not taken in this run is here all the same.
    async fn is_there(&self, of: &store::Known, id: &str) -> Result<bool, Error> {
        Ok(match (of.kind.as_str(), &of.username, &of.key) {
            ("user", Some(name), _) => users::find(self.target, &users::Username::of_any(name))
                .await?
                .is_some(),
            ("subject", _, Some(sssid)) => subjects::find(self.target, sssid).await?.is_some(),
            ("link", _, _) => match links::link_id(id) {
                Some(id) => links::find(self.target, id).await?.is_some(),
                None => false,
            },
            _ => false,
        })
    }

    /// Brings the dates of subjects in line with their links, notes in the audit trail what was taken, and drops
    /// the table.
    async fn finish(&self) -> Result<(), Error> {
        for kind in [Kind::User, Kind::Subject, Kind::Link] {
            let mut after = 0;
            loop {
                let page = store::taken(self.target, kind, after).await?;
                let Some(last) = page.last() else { break };
                after = last.number;
                let mut entries = Vec::new();
                for one in &page {
                    entries.push(match kind {
                        Kind::User | Kind::Audit => Entry::of_user(&one.object, TAKEN),
                        Kind::Subject => {
                            self.follow_links(&one.object).await?;
                            Entry::of_subject(&one.object, TAKEN)
                        }
                        Kind::Link => {
                            let id = Uuid::try_parse(&one.object).unwrap_or_default();
                            Entry::of_link(id, one.sssid.as_deref().unwrap_or_default(), TAKEN)
                        }
                    });
                }
                let entries: Vec<_> = entries
                    .into_iter()
                    .map(|entry| entry.by(Some(OPERATOR)))
                    .collect();
                audit::append(self.target, self.state.now(), &entries).await?;
            }
        }
        store::drop(self.target).await
    }

    async fn follow_links(&self, sssid: &str) -> Result<(), Error> {
        store::let_follow(self.target, sssid).await?;
        if let Some(subject) = subjects::find(self.target, sssid).await? {
            // It counts as changed when it was.
            subjects::follow_links(self.target, sssid, subject.changed).await?;
        }
        Ok(())
    }
}
