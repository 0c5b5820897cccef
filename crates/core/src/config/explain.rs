//! What the `config` command prints: every setting in force and where it came from.

use comfy_table::{Table, presets};
use config::{Value, ValueKind};

use super::{Schema, Settings};

/// A table of every setting, its value (secrets masked) and its origin, ordered by key.
#[must_use]
pub fn explain(settings: &Settings) -> String {
    let mut rows = Vec::new();
    collect(settings.schema, "", &settings.merged.cache, &mut rows);
    rows.sort();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["key", "value", "from"]);
    for [key, value, origin] in rows {
        table.add_row([key, value, origin]);
    }
    table.trim_fmt()
}

fn collect(schema: &Schema, key: &str, value: &Value, rows: &mut Vec<[String; 3]>) {
    if let ValueKind::Table(table) = &value.kind {
        for (name, value) in table {
            let key = if key.is_empty() {
                name.clone()
            } else {
                format!("{key}.{name}")
            };
            collect(schema, &key, value, rows);
        }
        return;
    }
    let text = show(value);
    let shown = match text.as_str() {
        "" => "(not set)".to_owned(),
        _ if schema.is_secret(key) => "********".to_owned(),
        _ => text,
    };
    rows.push([
        key.to_owned(),
        shown,
        value.origin().unwrap_or("default").to_owned(),
    ]);
}

fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(table) => {
            let mut members: Vec<_> = table
                .iter()
                .map(|(name, value)| format!("{name} = {}", show(value)))
                .collect();
            members.sort();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}
