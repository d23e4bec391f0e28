//! The configuration as text: the effective values with their sources, and the reference table. PURE.

use std::fmt::Write as _;

use super::keys::KEYS;
use super::kind::Kind;
use super::settings::{Settings, Value};

/// Returns the effective configuration as TOML that can be used as a file again, each line with its source as a comment.
/// A secret stands as a comment alone.
pub fn effective(settings: &Settings) -> String {
    let mut text = String::new();
    let mut table = "";
    for (key, value, source) in settings.iter() {
        let (of_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of_table != table {
            table = of_table;
            let _ok = write!(text, "\n[{table}]\n");
        }
        let _ok = match value {
            Value::Unset => writeln!(text, "# {name} is not set"),
            Value::Secret(_) => writeln!(text, "# {name} is set, not shown  # {source}"),
            Value::Text(value) => {
                writeln!(text, "{name} = {}  # {source}", toml_value(key.kind, value))
            }
            Value::List(members) => {
                let members: Vec<String> = members.iter().map(|m| quoted(m)).collect();
                writeln!(text, "{name} = [{}]  # {source}", members.join(", "))
            }
        };
    }
    text
}

/// Returns the reference of all keys as a Markdown table.
pub fn reference_markdown() -> String {
    let mut text =
        "| key | default | takes | variable | what it does |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", key.default)
        };
        let flag = key
            .flag
            .map_or_else(String::new, |flag| format!(" (`--{flag}`)"));
        let _ok = writeln!(
            text,
            "| `{}`{flag} | {default} | {} | `{}` | {} |",
            key.name,
            key.kind.expected(),
            key.variable(),
            key.help
        );
    }
    text
}

fn toml_value(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Switch | Kind::Count(..) => value.to_owned(),
        _ => quoted(value),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
