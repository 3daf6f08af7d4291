//! The events of keys that clients are told of, as `notify-keyspace-events` chooses them: letters, in any order, as in Redis.

use basalt_storage::keyspace::EventClasses;

use super::error::Invalid;
use super::kind::Kind;

/// The events that are told, and by which channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyEventChoice {
    classes: EventClasses,
    /// True if each key has a channel, in which its events are told.
    pub by_key: bool,
    /// True if each event has a channel, in which its keys are told.
    pub by_event: bool,
}

impl KeyEventChoice {
    /// The classes of events that somebody may hear of: none without a channel.
    pub fn classes(&self) -> EventClasses {
        if self.by_key || self.by_event { self.classes } else { EventClasses::NONE }
    }

    /// The letters of all that is chosen.
    fn letters(&self, is_written: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        let has_all = LETTERS_OF_ALL.iter().all(|(_, class)| self.classes.has(*class));
        if has_all {
            text.push('A');
        } else {
            text.extend(LETTERS_OF_ALL.iter().filter(|(_, class)| self.classes.has(*class)).map(|(letter, _)| letter));
        }
        let others = [
            ('n', self.classes.has(EventClasses::NEW) && (!has_all || is_written('n'))),
            ('K', self.by_key),
            ('E', self.by_event),
            ('m', self.classes.has(EventClasses::MISS)),
        ];
        text.extend(others.iter().filter(|(_, is_chosen)| *is_chosen).map(|(letter, _)| letter));
        text
    }
}

/// The classes that `A` stands for, with the letter of each, in the order in which Redis writes them.
const LETTERS_OF_ALL: [(char, EventClasses); 10] = [
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::SORTED_SET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
];

/// The kind of `notify-keyspace-events`.
pub(super) struct KeyEventLetters;

impl Kind for KeyEventLetters {
    type Value = KeyEventChoice;

    fn parse(&self, text: &str) -> Result<KeyEventChoice, Invalid> {
        let mut choice = KeyEventChoice::default();
        for letter in text.chars() {
            let class = LETTERS_OF_ALL.iter().find(|(of_class, _)| *of_class == letter).map(|(_, class)| *class);
            match (letter, class) {
                (_, Some(class)) => choice.classes = choice.classes | class,
                ('A', _) => LETTERS_OF_ALL.iter().for_each(|(_, class)| choice.classes = choice.classes | *class),
                ('n', _) => choice.classes = choice.classes | EventClasses::NEW,
                ('m', _) => choice.classes = choice.classes | EventClasses::MISS,
                ('K', _) => choice.by_key = true,
                ('E', _) => choice.by_event = true,
                _ => return Err(Invalid::new("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")),
            }
        }
        Ok(choice)
    }

    fn show(&self, value: &KeyEventChoice) -> String {
        value.letters(|_| true)
    }

    /// As Redis 7.0, which leaves the `n` out beside an `A`.
    fn show_plain(&self, value: &KeyEventChoice) -> String {
        value.letters(|letter| letter != 'n')
    }

    fn unit(&self) -> String {
        String::from(
            "letters: K and E for the channels, g$lshzxetdmn for the classes, A for all of those but m and n; none for no events",
        )
    }

    fn placeholder(&self) -> &'static str {
        "LETTERS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As redis-server 7.0.15 answers CONFIG GET.
    #[test]
    fn letters_are_read_and_written_as_in_redis() {
        for (text, shown, kept) in [
            ("", "", ""),
            ("KEA", "AKE", "AKE"),
            ("AKEmn", "AKEm", "AnKEm"),
            ("An", "A", "An"),
            ("Kgn", "gnK", "gnK"),
            ("K$", "$K", "$K"),
            ("g$lshzxetd", "A", "A"),
            ("KExx", "xKE", "xKE"),
            ("lsE", "lsE", "lsE"),
        ] {
            let choice = KeyEventLetters.parse(text).unwrap();
            assert_eq!(KeyEventLetters.show_plain(&choice), shown, "{text}");
            assert_eq!(KeyEventLetters.show(&choice), kept, "{text}");
            assert_eq!(KeyEventLetters.parse(kept).unwrap(), choice, "{text}");
        }
        for text in ["Q", "K E", "a", "é", "KEA\n"] {
            let refusal = KeyEventLetters.parse(text).unwrap_err().to_string();
            assert_eq!(refusal, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        }
    }

    #[test]
    fn without_a_channel_there_are_no_events() {
        assert_eq!(KeyEventLetters.parse("Amn").unwrap().classes(), EventClasses::NONE);
        assert!(KeyEventLetters.parse("Kg").unwrap().classes().has(EventClasses::GENERIC));
        assert!(!KeyEventLetters.parse("KEA").unwrap().classes().has(EventClasses::MISS | EventClasses::NEW));
    }
}
