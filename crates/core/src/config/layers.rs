//! One layer of settings for each place they come from, every key checked and every value marked
//! with its origin.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config as Merged, File, FileFormat, Value, ValueKind};

use super::{Schema, read_file};
use crate::failure::Failure;

/// The environment variables of a process; tests make their own.
#[derive(Debug, Default, Clone)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process whose names and values are Unicode.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self(
            variables
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// A variable's value; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// All variables that begin with `prefix`, the prefix taken off, with their full names.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| {
            name.strip_prefix(prefix)
                .map(|rest| (rest, name.as_str(), value.as_str()))
        })
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// One key with its value, which knows its origin.
#[derive(Debug, Clone)]
pub struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
}

impl Setting {
    /// A setting given as text; where the key takes a list, comma-separated or in TOML's form.
    ///
    /// `origin` is shown to the operator, as "environment variable PORT".
    #[must_use]
    pub fn new(key: impl Into<String>, text: impl Into<String>, origin: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Value::new(Some(&origin.into()), ValueKind::String(text.into())),
        }
    }

    fn origin(&self) -> &str {
        self.value.origin().unwrap_or("default")
    }
}

/// The settings of one place, to be merged in their order.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) settings: Vec<Setting>,
}

/// A TOML text, flattened into dotted keys.
pub(super) fn from_toml(text: &str, origin: &str) -> Result<Layer, Failure> {
    let parsed = Merged::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build();
    let parsed = parsed
        .map_err(|error| Failure::configuration(format!("{origin}: {}", one_line(&error.to_string()))))?;
    let mut settings = Vec::new();
    flatten("", parsed.cache, origin, &mut settings);
    let mut positions = BTreeMap::new();
    // What was parsed above can be parsed again.
    if let Ok(document) = toml::de::DeTable::parse(text) {
        positions_in("", document.get_ref(), &mut positions);
    }
    // In the order of the document: of tables that the operator names, it may mean something.
    settings.sort_by_key(|setting| positions.get(&setting.key).copied().unwrap_or(usize::MAX));
    Ok(Layer { settings })
}

/// Where each key stands in the text.
fn positions_in(prefix: &str, table: &toml::de::DeTable<'_>, positions: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        positions.insert(key.clone(), name.span().start);
        if let toml::de::DeValue::Table(table) = value.get_ref() {
            positions_in(&key, table, positions);
        }
    }
}

pub(super) fn from_file(schema: &Schema, path: &Path) -> Result<Layer, Failure> {
    let origin = path.display().to_string();
    let layer = from_toml(&read_file(&origin, path)?, &origin)?;
    checked(schema, layer.settings)
}

/// `IDENT__SERVER__BIND` is `server.bind`.
pub(super) fn from_environment(schema: &Schema, environment: &Environment) -> Result<Layer, Failure> {
    let prefix = format!("{}__", schema.prefix());
    let settings = environment
        .with_prefix(&prefix)
        .map(|(rest, name, value)| {
            Setting::new(
                rest.replace("__", ".").to_lowercase(),
                value,
                format!("environment variable {name}"),
            )
        })
        .collect();
    checked(schema, settings)
}

/// What the translation of the originals' environment names can ask: the variables themselves, and
/// the settings of the layers below.
#[derive(Debug)]
pub struct Lower<'a> {
    /// The process's environment.
    pub environment: &'a Environment,
    pub(super) layers: &'a [Layer],
}

impl Lower<'_> {
    /// The value of `key`, if it is a text, in the layers below.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let settings = self.layers.iter().rev().flat_map(|layer| &layer.settings);
        settings
            .filter(|setting| setting.key == key)
            .find_map(|setting| setting.value.clone().into_string().ok())
    }

    /// Gives each variable that is set to its key, as it stands.
    #[must_use]
    pub fn renamed(&self, names: &[(&str, &str)]) -> Vec<Setting> {
        let set = names
            .iter()
            .filter_map(|(name, key)| Some((name, key, self.environment.get(name)?)));
        set.map(|(name, key, value)| Setting::new(*key, value, format!("environment variable {name}")))
            .collect()
    }
}

pub(super) fn from_original_names(schema: &Schema, lower: &Lower<'_>) -> Result<Layer, Failure> {
    checked(schema, (schema.originals)(lower)?)
}

/// `--set key=value`.
pub(super) fn from_overrides(schema: &Schema, overrides: &[String]) -> Result<Layer, Failure> {
    let parse = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok(Setting::new(key.trim(), value.trim(), "command line")),
        None => Err(Failure::configuration(format!(
            "command line: --set {text}: expected key=value"
        ))),
    };
    let mut settings: Vec<Setting> = Vec::new();
    for setting in overrides.iter().map(parse) {
        let setting = setting?;
        // The last of several for one key counts.
        settings.retain(|earlier| earlier.key != setting.key);
        settings.push(setting);
    }
    checked(schema, settings)
}

/// Refuses unknown keys, splits lists, and puts what a `…_file` key names in the place of its secret.
fn checked(schema: &Schema, settings: Vec<Setting>) -> Result<Layer, Failure> {
    let keys = schema.keys()?;
    let mut checked: Vec<Setting> = Vec::with_capacity(settings.len());
    for setting in settings {
        let refuse = |message: String| Failure::configuration(format!("{}: {message}", setting.origin()));
        schema.check(&keys, &setting.key).map_err(refuse)?;
        let setting = match setting.key.strip_suffix("_file") {
            Some(secret) if schema.is_secret(secret) => from_secret_file(secret, &setting)?,
            _ => read_list(&keys, setting)?,
        };
        if setting_is_set(&setting)
            && checked
                .iter()
                .any(|other| other.key == setting.key && setting_is_set(other))
        {
            let message = format!(
                "{}: {} is set twice, by itself and by its file",
                setting.origin(),
                setting.key
            );
            return Err(Failure::configuration(message));
        }
        checked.push(setting);
    }
    Ok(Layer { settings: checked })
}

fn setting_is_set(setting: &Setting) -> bool {
    !matches!(&setting.value.kind, ValueKind::String(text) if text.is_empty())
}

fn from_secret_file(secret: &str, setting: &Setting) -> Result<Setting, Failure> {
    let path = setting.value.clone().into_string().unwrap_or_default();
    if path.is_empty() {
        return Ok(Setting::new(secret, "", setting.origin()));
    }
    let origin = format!("{} ({})", setting.origin(), setting.key);
    let content = read_file(&origin, Path::new(&path))?;
    // Editors and `echo` end a file with a line end that is no part of the secret.
    Ok(Setting::new(
        secret,
        content.trim_end_matches(['\r', '\n']),
        format!("{origin}: {path}"),
    ))
}

/// A list that is given as a text: TOML's own form, which can hold tables, or items with commas between them.
fn read_list(keys: &BTreeMap<String, Value>, mut setting: Setting) -> Result<Setting, Failure> {
    let origin = setting.origin().to_owned();
    let text = match &setting.value.kind {
        ValueKind::String(text) if Schema::takes_list(keys, &setting.key) => text.trim(),
        _ => return Ok(setting),
    };
    let read = if text.starts_with('[') {
        let named = format!("{origin}: {}", setting.key);
        from_toml(&format!("list = {text}"), &named)?
            .settings
            .pop()
            .map(|list| list.value.kind)
    } else {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items = items.map(|item| Value::new(Some(&origin), ValueKind::String(item.to_owned())));
        Some(ValueKind::Array(items.collect()))
    };
    setting.value = Value::new(Some(&origin), read.unwrap_or(ValueKind::Nil));
    Ok(setting)
}

fn flatten(prefix: &str, value: Value, origin: &str, settings: &mut Vec<Setting>) {
    match value.kind {
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (name, value) in entries {
                let key = if prefix.is_empty() {
                    name
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&key, value, origin, settings);
            }
        }
        kind => settings.push(Setting {
            key: prefix.to_owned(),
            value: Value::new(Some(&origin.to_owned()), kind),
        }),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
