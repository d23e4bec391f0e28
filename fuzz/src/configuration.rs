//! What operators and scripts write: configuration files, sizes, durations and names. Any text is taken or refused, what is taken
//! reads the same when it is printed, and a secret is printed nowhere.

use std::path::Path;

use redrive::config::{
    FileText, ServeConfig, Settings, effective, format_bytes, format_duration_ms, parse_bytes,
    parse_duration_ms,
};
use redrive::names::{FlowKey, GroupName, QueueName, TopicName};

/// Stands for a token.
const SECRET: &str = "hunter2";

/// Takes the bytes for a file, for a size, for a duration and for a name.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    file(text);
    units(text);
    name(text);
}

fn file(text: &str) {
    let file = FileText {
        path: Path::new("redrive.toml"),
        text,
    };
    let Ok(settings) = Settings::resolve(Some(file), [], &[]) else {
        return;
    };
    let printed = effective(&settings);
    let is_token = text.contains("token") && text.matches(SECRET).count() == 1;
    let is_shown = printed.contains(SECRET) && !printed.contains(&format!("= \"{SECRET}"));
    assert!(!(is_token && is_shown), "{printed}");
    let again = FileText {
        path: Path::new("printed.toml"),
        text: &printed,
    };
    let again = Settings::resolve(Some(again), [], &[]).expect("what is printed is a file");
    for ((key, value, _), (_, other, _)) in settings.iter().zip(again.iter()) {
        assert!(key.name == "token" || value.to_string() == other.to_string());
    }
    let _may_be_refused = ServeConfig::from_settings(&settings);
}

fn units(text: &str) {
    if let Ok(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&format_bytes(bytes)).ok(), Some(bytes));
    }
    if let Ok(ms) = parse_duration_ms(text) {
        assert!(ms >= 0, "{text}");
        assert_eq!(parse_duration_ms(&format_duration_ms(ms)).ok(), Some(ms));
    }
    // The other kind of duration, which messages have.
    let _may_be_refused = redrive::delivery::duration::parse_duration_ms(text);
}

/// A name is a file's name at most, and no path.
fn name(text: &str) {
    let names = [
        TopicName::parse(text).map(|name| name.to_string()),
        GroupName::parse(text).map(|name| name.to_string()),
        QueueName::parse(text).map(|name| name.to_string()),
    ];
    for name in names.into_iter().flatten() {
        assert_eq!(name, text);
        assert!(!matches!(text, "" | "." | ".."));
        assert!(!text.contains(['/', '\\', '\0', '\n']), "{text:?}");
    }
    if let Ok(key) = FlowKey::parse(text) {
        assert!(!key.as_str().contains(char::is_control));
    }
}
