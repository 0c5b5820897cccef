//! The databases that an instance works with: the authentication database, the privilege database, and
//! our own. By default all three are one.

mod tables;

use identity_core::config::Postgres;
use identity_core::db::{Database, migrate as migrations_of};
use identity_core::failure::Failure;

pub use tables::{Accounts, Privileges};

use crate::config::{AuthTables, Config, PrivilegeTables};

mod migrations {
    refinery::embed_migrations!("../../migrations/eida_auth");
}

/// What is connected to, and the tables there. Clones share connections.
#[derive(Debug, Clone)]
pub struct Databases {
    /// Our own: which logins were given for a token, and which tokens are blocked. None where a data
    /// centre's databases are all there is.
    pub own: Option<Database>,
    /// The authentication database.
    pub auth: Database,
    /// The privilege database.
    pub privileges: Database,
    /// Accounts, their credentials, and the mapping of memberships.
    pub accounts: Accounts,
    /// Networks, and who may see them.
    pub networks: Privileges,
    /// Whether all are our own, so that one statement reaches everything.
    pub is_one: bool,
}

impl Databases {
    /// Opens them, brings our own up to date, and checks that the others have what is needed.
    ///
    /// # Errors
    /// [`Failure`] when one cannot be reached, or lacks a table, a column or a privilege, which it names.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let own = if config.has_own_database {
            Some(open_own(config).await?)
        } else {
            None
        };
        let auth = match &config.auth {
            Some(external) => Some(open_external("authdb", &external.postgres).await?),
            None => None,
        };
        let privileges = match &config.privileges {
            Some(external) => Some(open_external("privilegedb", &external.postgres).await?),
            None => None,
        };
        let needed =
            || Failure::configuration("database.postgres.database: expected the name of our own database");
        let is_one = auth.is_none() && privileges.is_none();
        let auth_tables = config
            .auth
            .as_ref()
            .map_or_else(AuthTables::own, |auth| auth.tables.clone());
        let privilege_tables = config.privileges.as_ref();
        let privilege_tables = privilege_tables.map_or_else(PrivilegeTables::own, |it| it.tables.clone());
        let auth = auth.or_else(|| own.clone()).ok_or_else(needed)?;
        let privileges = privileges.or_else(|| own.clone()).ok_or_else(needed)?;
        Ok(Self {
            accounts: Accounts::check(&auth, &auth_tables).await?,
            networks: Privileges::check(&privileges, &privilege_tables).await?,
            own,
            auth,
            privileges,
            is_one,
        })
    }

    /// The one that readiness calls `database`, and the others by their names.
    #[must_use]
    pub fn by_name(&self) -> (Database, Vec<(&'static str, Database)>) {
        let Some(own) = &self.own else {
            return (self.auth.clone(), vec![("privilegedb", self.privileges.clone())]);
        };
        let mut others = Vec::new();
        if !self.is_one {
            others.push(("authdb", self.auth.clone()));
            others.push(("privilegedb", self.privileges.clone()));
        }
        (own.clone(), others)
    }
}

/// Opens our own database without bringing it up to date.
async fn connect_own(config: &Config) -> Result<Database, Failure> {
    let base = &config.base;
    Database::open("eida-auth", &base.database.postgres).await
}

async fn open_own(config: &Config) -> Result<Database, Failure> {
    let database = connect_own(config).await?;
    if config.base.database.migrate {
        migrations_of::run(&database, &migrations::migrations::runner()).await?;
    } else {
        migrations_of::check(&database, &migrations::migrations::runner()).await?;
    }
    Ok(database)
}

/// Brings our own database up to date and gives the names of what was applied; nothing where there is
/// none.
///
/// # Errors
/// As [`migrations_of::run`].
pub async fn migrate(config: &Config) -> Result<Vec<String>, Failure> {
    if !config.has_own_database {
        return Ok(Vec::new());
    }
    let database = connect_own(config).await?;
    migrations_of::run(&database, &migrations::migrations::runner()).await
}

async fn open_external(section: &str, postgres: &Postgres) -> Result<Database, Failure> {
    let opened = Database::open("eida-auth", postgres).await;
    opened.map_err(|failure| match failure {
        Failure::Unreachable(cause) => Failure::Unreachable(format!("{section}: {cause}")),
        Failure::Configuration(what) => Failure::Configuration(what.replace("database.postgres", section)),
        other @ Failure::Other(_) => other,
    })
}
