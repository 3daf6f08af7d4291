//! The subscribers of all cores, as each core knows them.
//!
//! Each core has a copy of its own, which the others tell of each change: so a publisher's core knows without asking how many there
//! are and which cores have some. Changes are additions and subtractions, whose order does not matter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::clients::{Audience, SubscriptionChange};
use crate::commands::glob_matches_within;
use crate::ids::CoreId;
use crate::limits;

/// Subscribers of one name, by core. Below 0 while an end has overtaken its beginning.
type Counts = SmallVec<[(CoreId, i64); 2]>;

/// The subscribers of all cores.
#[derive(Debug, Default)]
pub struct Directory {
    channels: HashMap<Box<[u8]>, Counts>,
    /// In alphabetical order, in which a message goes to those that it matches.
    patterns: BTreeMap<Arc<[u8]>, Counts>,
    shard_channels: HashMap<Box<[u8]>, Counts>,
    /// Monitors, by the empty name.
    commands: HashMap<Box<[u8]>, Counts>,
    /// Prefixes of keys whose changes somebody wants to hear of.
    prefixes: BTreeMap<Arc<[u8]>, Counts>,
}

/// The receivers of a message.
#[derive(Debug, Default)]
pub struct Receivers {
    /// Their number. One that has subscribed by several patterns gets it as often.
    pub count: i64,
    /// The cores that have some of them.
    pub cores: SmallVec<[CoreId; 8]>,
    /// The patterns that the channel matches.
    pub patterns: Vec<Arc<[u8]>>,
    /// Steps that it took to find these.
    pub steps: u32,
}

impl Receivers {
    fn add(&mut self, counts: &Counts) {
        self.count += sum(counts);
        for (core, count) in counts {
            if *count > 0 && !self.cores.contains(core) {
                self.cores.push(*core);
            }
        }
    }
}

/// Takes a change over; returns whether nobody is left.
fn count(counts: &mut Counts, core: CoreId, change: i64) -> bool {
    match counts.iter_mut().find(|(of, _)| *of == core) {
        Some((_, count)) => *count += change,
        None => counts.push((core, change)),
    }
    counts.retain(|(_, count)| *count != 0);
    counts.is_empty()
}

fn sum(counts: &Counts) -> i64 {
    counts.iter().map(|(_, count)| (*count).max(0)).sum()
}

impl Directory {
    /// Takes over that a client of `core` has subscribed, or does no more.
    pub fn apply(&mut self, core: CoreId, change: &SubscriptionChange) {
        let by = if change.is_made { 1 } else { -1 };
        let name = &change.name;
        match change.audience {
            Audience::Channel => {
                if count(self.channels.entry(name.clone()).or_default(), core, by) {
                    self.channels.remove(name);
                }
            }
            Audience::ShardChannel => {
                if count(self.shard_channels.entry(name.clone()).or_default(), core, by) {
                    self.shard_channels.remove(name);
                }
            }
            Audience::Commands => {
                if count(self.commands.entry(name.clone()).or_default(), core, by) {
                    self.commands.remove(name);
                }
            }
            Audience::Prefix => {
                if count(self.prefixes.entry(Arc::from(&**name)).or_default(), core, by) {
                    self.prefixes.remove(&**name);
                }
            }
            Audience::Pattern => {
                if count(self.patterns.entry(Arc::from(&**name)).or_default(), core, by) {
                    self.patterns.remove(&**name);
                }
            }
        }
    }

    /// The receivers of a message to `channel`.
    pub fn receivers(&self, audience: Audience, channel: &[u8]) -> Receivers {
        let mut receivers = Receivers::default();
        if let Some(counts) = self.of(audience).get(channel) {
            receivers.add(counts);
        }
        if audience == Audience::Channel {
            for (pattern, counts) in &self.patterns {
                // However many patterns need many steps, the others have what they need.
                let is_much = receivers.steps >= limits::CHANNEL_STEPS_PER_TURN;
                let steps_max = if is_much { limits::CHANNEL_STEPS_LEFT } else { limits::CHANNEL_STEPS_MAX };
                let (matches, steps) = glob_matches_within(pattern, channel, steps_max);
                receivers.steps = receivers.steps.saturating_add(steps);
                if matches {
                    receivers.patterns.push(pattern.clone());
                    receivers.add(counts);
                }
            }
        }
        receivers
    }

    /// The number of clients that have subscribed to `channel` itself.
    pub fn subscribers(&self, audience: Audience, channel: &[u8]) -> i64 {
        self.of(audience).get(channel).map_or(0, sum)
    }

    /// The channels that have subscribers.
    pub fn channels(&self, audience: Audience) -> impl ExactSizeIterator<Item = &[u8]> {
        self.of(audience).keys().map(|name| &**name)
    }

    /// Returns whether anybody has subscribed to a channel, by its name or by a pattern.
    pub fn has_subscribers(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// The number of prefixes whose keys' changes somebody wants to hear of.
    pub fn prefix_count(&self) -> usize {
        self.prefixes.len()
    }

    /// Those prefixes that a key begins with.
    pub fn prefixes_of(&self, key: &[u8]) -> SmallVec<[Arc<[u8]>; 2]> {
        // Few are compared, and of many those are looked for that there may be.
        if self.prefixes.len() <= key.len() {
            return self.prefixes.keys().filter(|prefix| key.starts_with(prefix)).cloned().collect();
        }
        let names = (0..=key.len()).filter_map(|length| self.prefixes.get_key_value(&key[..length]));
        names.map(|(prefix, _)| prefix.clone()).collect()
    }

    /// The cores whose clients want to hear of changes of keys with this prefix.
    pub fn cores_of_prefix(&self, prefix: &[u8]) -> SmallVec<[CoreId; 8]> {
        let counts = self.prefixes.get(prefix).into_iter().flatten();
        counts.filter(|(_, count)| *count > 0).map(|(core, _)| *core).collect()
    }

    /// The number of patterns that have subscribers.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    fn of(&self, audience: Audience) -> &HashMap<Box<[u8]>, Counts> {
        match audience {
            Audience::ShardChannel => &self.shard_channels,
            Audience::Commands => &self.commands,
            Audience::Channel | Audience::Pattern | Audience::Prefix => &self.channels,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::commands::glob_matches;

    fn change(audience: Audience, name: &str, is_made: bool) -> SubscriptionChange {
        SubscriptionChange { audience, name: name.as_bytes().into(), is_made }
    }

    const NAMES: [&str; 4] = ["a", "ab", "b", "ba"];
    const PATTERNS: [&str; 3] = ["a*", "*b", "nothing"];

    proptest! {
        #[test]
        fn every_core_knows_the_same_whatever_the_order_in_which_it_hears(
            steps in prop::collection::vec((0..3u16, 0..3usize, 0..4usize), 0..60),
            order in any::<prop::sample::Index>(),
        ) {
            // A client of each core, which subscribes to what it is not subscribed to, and else ends that.
            let mut subscribed: BTreeSet<(u16, usize, usize)> = BTreeSet::new();
            let mut changes: Vec<(CoreId, SubscriptionChange)> = Vec::new();
            for (core, kind, name) in steps {
                let (audience, text) = match kind {
                    0 => (Audience::Channel, NAMES[name]),
                    1 => (Audience::Pattern, PATTERNS[name % PATTERNS.len()]),
                    _ => (Audience::ShardChannel, NAMES[name]),
                };
                let key = (core, kind, if kind == 1 { name % PATTERNS.len() } else { name });
                let is_made = subscribed.insert(key) || !subscribed.remove(&key);
                changes.push((CoreId(core), change(audience, text, is_made)));
            }
            if !changes.is_empty() {
                let middle = order.index(changes.len());
                changes.rotate_left(middle);
            }
            let mut directory = Directory::default();
            changes.iter().for_each(|(core, change)| directory.apply(*core, change));
            for (number, name) in NAMES.iter().enumerate() {
                let subscribed = &subscribed;
                let has = |kind: usize, number: usize| (0..3).filter(move |core| subscribed.contains(&(*core, kind, number)));
                let of_channel: Vec<u16> = has(0, number).collect();
                let of_shard: Vec<u16> = has(2, number).collect();
                let matched = PATTERNS.iter().enumerate().filter(|(_, pattern)| glob_matches(pattern.as_bytes(), name.as_bytes()));
                let of_patterns: Vec<u16> = matched.flat_map(|(number, _)| has(1, number)).collect();
                let name = name.as_bytes();
                prop_assert_eq!(directory.subscribers(Audience::Channel, name), of_channel.len() as i64);
                prop_assert_eq!(directory.subscribers(Audience::ShardChannel, name), of_shard.len() as i64);
                let Receivers { count, cores, .. } = directory.receivers(Audience::Channel, name);
                prop_assert_eq!(count as usize, of_channel.len() + of_patterns.len());
                let cores: BTreeSet<u16> = cores.into_iter().map(|core| core.0).collect();
                prop_assert_eq!(cores, of_channel.into_iter().chain(of_patterns).collect::<BTreeSet<_>>());
                prop_assert_eq!(directory.receivers(Audience::ShardChannel, name).count as usize, of_shard.len());
            }
            let distinct = |kind: usize| subscribed.iter().filter(|key| key.1 == kind).map(|key| key.2).collect::<BTreeSet<_>>();
            prop_assert_eq!(directory.channels(Audience::Channel).len(), distinct(0).len());
            prop_assert_eq!(directory.channels(Audience::ShardChannel).len(), distinct(2).len());
            prop_assert_eq!(directory.pattern_count(), distinct(1).len());
        }
    }
}
