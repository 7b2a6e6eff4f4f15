//! The messages in a mailbox: `application/simple-message-summary` (RFC 3842 §5.2).

use super::document::Document;
use serde::{Deserialize, Serialize};

/// How many voice messages a mailbox has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Not heard yet, urgent ones among them.
    pub new: u32,
    /// Heard.
    pub old: u32,
    /// Of the new ones, the urgent.
    pub urgent_new: u32,
    /// Of the old ones, the urgent.
    pub urgent_old: u32,
}

/// Prints the messages of `entity`, a `sip:user@domain`.
pub(crate) fn print(entity: &str, messages: Messages) -> Document {
    let Messages { new, old, urgent_new, urgent_old } = messages;
    let waiting = if new > 0 { "yes" } else { "no" };
    Document::plain(format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: {entity}\r\nVoice-Message: {new}/{old} ({urgent_new}/{urgent_old})\r\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lamp_is_on_for_new_messages_only() {
        let text = |messages| String::from_utf8(print("sip:1@a.example", messages).body(0).to_vec()).unwrap();
        assert_eq!(
            text(Messages { new: 2, old: 8, urgent_new: 1, urgent_old: 0 }),
            "Messages-Waiting: yes\r\nMessage-Account: sip:1@a.example\r\nVoice-Message: 2/8 (1/0)\r\n"
        );
        assert!(text(Messages { old: 3, ..Messages::default() }).starts_with("Messages-Waiting: no\r\n"));
    }
}
