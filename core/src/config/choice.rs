//! Settings that are one word of a few.

use super::error::Invalid;
use super::kind::Kind;
use super::nearest::nearest;

/// The moment at which a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After its shard's log was synced to disk: nothing acknowledged is ever lost.
    Always,
    /// At once; the log is synced every `durability-interval`, which bounds what a power failure can lose.
    Interval,
    /// At once; the operating system writes when it likes: a power failure can lose everything since its last write-back.
    None,
}

/// The freedom that the kernel has to move a core's thread to another processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// If `cores` lists processors: then they are meant for this node.
    Auto,
    /// Yes: best where nothing else runs on these processors.
    Yes,
    /// No: the kernel moves a core to an idle processor while another program keeps its own busy.
    No,
}

/// The newest state that reads must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// All that was acknowledged before: the leader answers, once a majority of replicas has confirmed that it leads.
    Linearizable,
    /// The state of the replica of the node that is asked, as after `READONLY`.
    Local,
}

/// The answer of a node in a cluster to a command whose keys another node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// `MOVED`, with the address of that node.
    Moved,
    /// The reply of that node, to which the command is passed on.
    Proxy,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: `2026-01-31T12:00:00Z  INFO basalt: ready port=6379`.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The channels of a new user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelsAtFirst {
    /// None.
    None,
    /// All.
    All,
}

/// The clients that may call DEBUG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCommand {
    /// None.
    No,
    /// All whose users may.
    Yes,
    /// Those of them on this machine.
    Local,
}

/// A type whose values are a few words.
pub(super) trait Words: Copy + PartialEq + 'static {
    /// Every word and what it stands for.
    const ALL: &'static [(&'static str, Self)];
}

impl Words for Durability {
    const ALL: &'static [(&'static str, Durability)] =
        &[("always", Durability::Always), ("interval", Durability::Interval), ("none", Durability::None)];
}

impl Words for Pinning {
    const ALL: &'static [(&'static str, Pinning)] =
        &[("auto", Pinning::Auto), ("yes", Pinning::Yes), ("no", Pinning::No)];
}

impl Words for ReadConsistency {
    const ALL: &'static [(&'static str, ReadConsistency)] =
        &[("linearizable", ReadConsistency::Linearizable), ("local", ReadConsistency::Local)];
}

impl Words for Redirect {
    const ALL: &'static [(&'static str, Redirect)] = &[("moved", Redirect::Moved), ("proxy", Redirect::Proxy)];
}

impl Words for LogFormat {
    const ALL: &'static [(&'static str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Words for ChannelsAtFirst {
    const ALL: &'static [(&'static str, ChannelsAtFirst)] =
        &[("resetchannels", ChannelsAtFirst::None), ("allchannels", ChannelsAtFirst::All)];
}

impl Words for DebugCommand {
    const ALL: &'static [(&'static str, DebugCommand)] =
        &[("no", DebugCommand::No), ("yes", DebugCommand::Yes), ("local", DebugCommand::Local)];
}

impl Words for bool {
    const ALL: &'static [(&'static str, bool)] = &[("no", false), ("yes", true)];
}

impl Durability {
    /// The word as it is written in the configuration.
    pub fn word(self) -> &'static str {
        word(self)
    }
}

fn word<W: Words>(value: W) -> &'static str {
    W::ALL.iter().find(|(_, candidate)| *candidate == value).map(|(word, _)| *word).expect("every value has a word")
}

/// The kind of a setting whose type is made of [`Words`].
pub(super) struct Choice<W>(pub std::marker::PhantomData<W>);

impl<W: Words> Kind for Choice<W> {
    type Value = W;

    fn parse(&self, text: &str) -> Result<W, Invalid> {
        if let Some((_, value)) = W::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words = W::ALL.iter().map(|(word, _)| *word);
        let invalid = Invalid::new(format!("the choices are {}", words.clone().collect::<Vec<_>>().join(", ")));
        Err(invalid.nearest(nearest(text, words).unwrap_or(W::ALL[0].0)))
    }

    fn show(&self, value: &W) -> String {
        word(*value).to_owned()
    }

    fn unit(&self) -> String {
        W::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("|")
    }

    fn placeholder(&self) -> &'static str {
        "WORD"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_names_the_nearest_one() {
        let kind = Choice::<Durability>(std::marker::PhantomData);

        assert_eq!(kind.parse("interval"), Ok(Durability::Interval));
        assert_eq!(
            kind.parse("allways").expect_err("misspelt").to_string(),
            "the choices are always, interval, none; the nearest valid value is 'always'"
        );
    }
}
