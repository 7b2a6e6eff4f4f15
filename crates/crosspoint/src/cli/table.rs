//! JSON as people read it: lists as tables, objects as lines.

use serde_json::Value;

/// A list of objects becomes a table with a heading, an object lines of `name: value`, anything else itself.
pub(crate) fn render(value: &Value) -> String {
    match value {
        Value::Array(rows) if rows.is_empty() => "none".into(),
        Value::Array(rows) => table(rows),
        Value::Object(fields) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            let lines: Vec<String> = fields
                .iter()
                .map(|(name, value)| match value {
                    Value::Array(rows) if rows.iter().any(Value::is_object) => {
                        format!("{name}:\n{}", indent(&table(rows)))
                    }
                    other => format!("{name:width$}  {}", cell(other)),
                })
                .collect();
            lines.join("\n")
        }
        other => cell(other),
    }
}

/// Rows under a heading of their names.
pub(crate) fn table(rows: &[Value]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for fields in rows.iter().filter_map(Value::as_object) {
        for name in fields.keys().map(String::as_str) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return rows.iter().map(cell).collect::<Vec<_>>().join("\n");
    }
    let body: Vec<Vec<String>> = rows.iter().map(|row| names.iter().map(|name| cell(&row[*name])).collect()).collect();
    let width = |column: usize| {
        let cells = body.iter().map(|row| row[column].chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let heading: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    std::iter::once(line(&heading)).chain(body.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => printable(text),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let parts = fields.iter().filter(|(_, value)| !value.is_null()).map(|(_, value)| cell(value));
            parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A text that does nothing to a terminal: what phones and strangers write is shown, and not obeyed.
fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') || turns(c) { '\u{fffd}' } else { c };
    text.replace("\r\n", "\n").chars().map(shown).collect()
}

pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_line_up_under_their_names() {
        let text = render(&json!([{"user": "101", "ok": true}, {"user": "1", "ok": null}]));
        assert_eq!(text.lines().map(str::trim_end).collect::<Vec<_>>(), ["USER  OK", "101   yes", "1     -"]);
        assert_eq!(render(&json!([])), "none");
        assert_eq!(render(&json!({"calls": 2})), "calls  2");
    }

    #[test]
    fn what_strangers_write_does_nothing_to_a_terminal() {
        let text = render(&json!("<- \u{1b}]0;x\u{7}\u{9b}2J\u{202e}\r\nOPTIONS\t\u{8}\0\r"));
        assert_eq!(text, "<- \u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}\nOPTIONS\t\u{fffd}\u{fffd}\u{fffd}");
        let agent = render(&json!([{"agent": "\u{1b}[31mred"}]));
        assert!(agent.ends_with("\u{fffd}[31mred"), "{agent:?}");
    }
}
