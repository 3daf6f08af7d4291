//! One setting, and the macro that turns the table into [`Config`] and its descriptions.

use super::error::{ConfigError, Invalid};
use super::source::Source;
use super::table::{Config, SETTINGS};

/// The heading under which `--help` lists a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Sockets and clients.
    Network,
    /// Passwords and users.
    Security,
    /// Processors and shards.
    Cores,
    /// The node's part in a cluster.
    Cluster,
    /// The promise of an acknowledged write, and the place of the data.
    Durability,
    /// Bounds of memory.
    Memory,
    /// The node's log and figures.
    Log,
}

impl Group {
    /// The heading.
    pub fn heading(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Security => "Security",
            Group::Cores => "Cores",
            Group::Cluster => "Cluster",
            Group::Durability => "Durability",
            Group::Memory => "Memory",
            Group::Log => "Log",
        }
    }
}

/// The moment at which a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only a restart does.
    Restart,
    /// While the node runs.
    Live,
}

/// One setting of the table.
pub struct Setting {
    /// Flag without its dashes, TOML key, and parameter of `CONFIG GET`.
    pub name: &'static str,
    /// The setting's effect, in a sentence or two: the doc comment of its row.
    pub help: &'static str,
    /// The heading under which `--help` lists it.
    pub group: Group,
    /// The way to change it: `CONFIG SET`, or a restart.
    pub change: Change,
    /// The default, as a user would write it.
    pub default: &'static str,
    pub(super) unit: fn() -> String,
    pub(super) placeholder: fn() -> &'static str,
    pub(super) parse: fn(&mut Config, &str) -> Result<(), Invalid>,
    pub(super) show: fn(&Config) -> String,
    pub(super) show_plain: fn(&Config) -> String,
}

impl Setting {
    /// Returns the setting called `name`; case does not matter, as in `CONFIG GET`.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
    }

    /// Says in which unit the value is written, and within which bounds.
    pub fn unit(&self) -> String {
        (self.unit)()
    }

    /// Returns the value in `config`, as a user would write it.
    pub fn value(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Returns the environment variable that sets it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// Sets it in `config` to what `text`, found at `at`, says; on an error `config` is as before.
    pub(super) fn set(&self, config: &mut Config, text: &str, at: &Source) -> Result<(), ConfigError> {
        (self.parse)(config, text).map_err(|invalid| ConfigError::Invalid {
            at: at.clone(),
            name: self.name,
            text: if self.is_secret() { String::from("…") } else { text.to_owned() },
            invalid,
        })
    }

    /// Returns whether its value is a password, which is not to be shown.
    pub fn is_secret(&self) -> bool {
        (self.placeholder)() == super::secret::PLACEHOLDER
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Setting").field("name", &self.name).field("default", &self.default).finish_non_exhaustive()
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

/// Prefix of the variables of all settings.
pub(super) const PREFIX: &str = "BASALT_";

/// Returns the variable that sets the setting `name`.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Declares `Config` with one field per setting, and `SETTINGS` with one [`Setting`] per field.
///
/// A row reads: doc comment, group, whether it changes live, name, field, type, default as text, kind.
macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ [$group:ident, $change:ident] $name:literal = $field:ident: $type:ty, $default:literal, $kind:expr; )+) => {
        /// The effective value of every setting.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Config {
            /// The defaults, as far as this machine can be asked for what they depend on.
            pub(super) fn defaults() -> Result<Config, (&'static str, $crate::config::Invalid)> {
                Ok(Config { $( $field: $kind.parse($default).map_err(|invalid| ($name, invalid))?, )+ })
            }
        }

        /// Every setting, in the order of `--help`.
        pub static SETTINGS: &[Setting] = &[ $( Setting {
            name: $name,
            help: concat!($($doc),+),
            group: Group::$group,
            change: Change::$change,
            default: $default,
            unit: || $kind.unit(),
            placeholder: || $kind.placeholder(),
            parse: |config, text| {
                config.$field = $kind.parse(text)?;
                Ok(())
            },
            show: |config| $kind.show(&config.$field),
            show_plain: |config| $kind.show_plain(&config.$field),
        }, )+ ];
    };
}

pub(super) use settings;
