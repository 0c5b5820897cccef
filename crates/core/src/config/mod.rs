//! Configuration in layers: defaults, a TOML file, the environment, the originals' own environment
//! names, the command line; the later wins.
//!
//! A service's `default.toml` is the list of its keys, their meaning and their defaults. What it
//! does not name is refused, so that a typing error never becomes a silent default. An empty
//! string means "not set".

mod explain;
mod layers;
mod schema;
mod sections;
pub mod values;

use std::path::{Path, PathBuf};

use config::{Config as Merged, ConfigError, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;

pub use explain::explain;
pub use layers::{Environment, Lower, Setting};
pub use schema::Schema;
pub use sections::{
    Base, Database, Limits, Log, LogFormat, Metrics, Outgoing, Postgres, Server, SslMode, Telemetry,
};

use crate::failure::Failure;
use layers::Layer;

/// Where a service looks for settings beside its defaults.
#[derive(Debug, Default)]
pub struct Sources {
    /// The TOML file of `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Environment,
    /// `key=value` pairs of `--set`, in order.
    pub overrides: Vec<String>,
}

/// The merged settings of one service, with the origin of each.
#[derive(Debug)]
pub struct Settings {
    schema: &'static Schema,
    merged: Merged,
    /// Every key in the order of its first appearance, layer by layer.
    order: Vec<String>,
}

impl Settings {
    /// Reads every layer of `schema`'s service from `sources`.
    ///
    /// # Errors
    /// [`Failure::Configuration`] with one line: where the setting stands, its key, what is
    /// expected.
    pub fn load(schema: &'static Schema, sources: &Sources) -> Result<Self, Failure> {
        let environment = &sources.environment;
        let file = sources.file.clone().or_else(|| {
            let mut named = schema.file_variables.iter();
            named.find_map(|name| environment.get(name)).map(PathBuf::from)
        });
        let mut layers = schema.default_layers()?;
        if let Some(path) = &file {
            layers.push(layers::from_file(schema, path)?);
        }
        layers.push(layers::from_environment(schema, environment)?);
        let lower = Lower {
            environment,
            layers: &layers,
        };
        let originals = layers::from_original_names(schema, &lower)?;
        layers.push(originals);
        layers.push(layers::from_overrides(schema, &sources.overrides)?);
        let keys = layers.iter().flat_map(|layer| &layer.settings);
        let order = keys.map(|setting| setting.key.clone()).collect();
        Ok(Self {
            schema,
            merged: merge(layers)?,
            order,
        })
    }

    /// The names of the tables that the operator made below `section`, in the order in which they
    /// are written: those of the file, then those of the environment, then those of the command line.
    #[must_use]
    pub fn names(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let below = self.order.iter().filter_map(|key| {
            let (name, _) = key.strip_prefix(section)?.strip_prefix('.')?.split_once('.')?;
            Some(name)
        });
        for name in below {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Whether `key` is set anywhere but in the defaults, and not to nothing.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        find(&self.merged.cache, key).is_some_and(|value| {
            let nothing = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
            !nothing && value.origin() != Some("default")
        })
    }

    /// The setting of one key that stands in no section, as a type; none where it is not set.
    ///
    /// # Errors
    /// As [`Settings::section`].
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let set = |value: &&Value| !matches!(&value.kind, ValueKind::String(text) if text.is_empty());
        match find(&self.merged.cache, key).filter(set) {
            None => Ok(None),
            Some(_) => self.section(key).map(Some),
        }
    }

    /// The settings below `section` (a dotted key) as a type.
    ///
    /// # Errors
    /// [`Failure::Configuration`]: where the value came from, its key and what is expected of it.
    pub fn section<T: DeserializeOwned>(&self, section: &str) -> Result<T, Failure> {
        let empty = || Value::new(None, ValueKind::Table(Map::new()));
        let value = find(&self.merged.cache, section).cloned().unwrap_or_else(empty);
        serde_path_to_error::deserialize(without_unset(value)).map_err(|error| {
            let path = error.path().to_string();
            let key = if path == "." {
                section.to_owned()
            } else {
                format!("{section}.{path}")
            };
            // An item of a list comes from where the list does.
            let whole = key.split('[').next().unwrap_or_default();
            let origin = find(&self.merged.cache, whole)
                .and_then(Value::origin)
                .unwrap_or("configuration");
            Failure::configuration(format!("{origin}: {key}: {}", what_is_wrong(&error.into_inner())))
        })
    }
}

/// What is wrong, without the key and the origin, which the caller says in its own form.
fn what_is_wrong(error: &ConfigError) -> String {
    match error {
        ConfigError::Type {
            unexpected, expected, ..
        } => format!("expected {expected}, found {unexpected}"),
        ConfigError::At { error, .. } => what_is_wrong(error),
        other => other.to_string(),
    }
}

fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(value, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn merge(layers: Vec<Layer>) -> Result<Merged, Failure> {
    let mut builder = Merged::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder
        .build()
        .map_err(|error| Failure::configuration(error.to_string()))
}

/// Takes the empty strings out, so that "not set" is an absent `Option` for serde.
fn without_unset(mut value: Value) -> Value {
    if let ValueKind::Table(table) = value.kind {
        let kept: Map<String, Value> = table
            .into_iter()
            .filter(|(_, value)| !matches!(&value.kind, ValueKind::String(text) if text.is_empty()))
            .map(|(key, value)| (key, without_unset(value)))
            .collect();
        value.kind = ValueKind::Table(kept);
    }
    value
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self
            .settings
            .iter()
            .map(|setting| (setting.key.clone(), setting.value.clone()))
            .collect())
    }
}

/// Reads a file that a setting names.
///
/// # Errors
/// [`Failure::Configuration`] naming the file and the cause.
pub fn read_file(origin: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::configuration(format!("{origin}: cannot read {}: {error}", path.display())))
}
