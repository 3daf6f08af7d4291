//! The effective configuration as a TOML file that reads back as the same.

use std::fmt::Write;

use super::load::Invocation;
use super::table::SETTINGS;

impl Invocation {
    /// Writes every setting with its value and where that came from; `basalt config` prints this.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut group = None;
        for (setting, source) in SETTINGS.iter().zip(&self.sources) {
            if group.replace(setting.group) != Some(setting.group) {
                let gap = if out.is_empty() { "" } else { "\n" };
                writeln!(out, "{gap}# {}", setting.group.heading()).expect("a String takes every write");
            }
            let value = setting.value(&self.config);
            // Whoever reads this may not be meant to know it.
            let is_hidden = setting.is_secret() && !value.is_empty();
            let line = match is_hidden {
                true => format!("# {} is set, and not shown", setting.name),
                false => format!("{} = {}", setting.name, quote(value)),
            };
            writeln!(out, "{line:<48} # {source}").expect("a String takes every write");
        }
        out
    }
}

/// Whole numbers as they are, all else as a TOML string.
fn quote(text: String) -> String {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if is_number { text } else { toml::Value::String(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::load::load;
    use super::super::table::Config;

    #[test]
    fn what_is_printed_reads_back_as_the_same_configuration() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("basalt.toml");
        let arguments = ["basalt", "config", "--port", "7001", "--dir", "0123", "--cores", "3-3", "--memory", "64mb"];
        let printed = load(arguments.map(Into::into), []).expect("valid flags");
        std::fs::write(&file, printed.to_toml()).expect("a writable file");

        let read = load(["basalt".into(), "--config".into(), file.into_os_string()], []).expect("a valid file");

        assert_eq!(read.config, printed.config);
        assert_eq!(read.config, Config { port: 7001, ..printed.config.clone() });
        assert!(printed.to_toml().contains("# command line: --port"), "{}", printed.to_toml());
    }

    #[test]
    fn passwords_are_not_printed() {
        let arguments = ["basalt", "config", "--requirepass", "hushhush"];
        let printed = load(arguments.map(Into::into), []).expect("valid flags").to_toml();
        assert!(printed.contains("# requirepass is set, and not shown") && !printed.contains("hushhush"), "{printed}");
    }
}
