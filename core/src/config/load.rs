//! Reading the configuration of a process: command line over variables over file over defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::ConfigError;
use super::setting::Setting;
use super::source::Source;
use super::table::{Config, SETTINGS};
use super::written::{Action, Written};
use super::{command_line, environment, file};

/// Everything that the command line, the environment and the file say.
#[derive(Debug)]
pub struct Invocation {
    /// Serving, or something else that ends at once.
    pub action: Action,
    /// The effective configuration.
    pub config: Config,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The source of each setting's value, in the order of [`SETTINGS`].
    pub(super) sources: Vec<Source>,
}

/// Reads the configuration from the command line `arguments` (the program's name first), the environment's `variables`
/// and the file that they name.
///
/// # Errors
/// [`ConfigError`]; of kind `CommandLine` also for `--help` and `--version`.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, ConfigError> {
    let command_line = command_line::read(arguments)?;
    let environment = environment::read(variables)?;
    let path = command_line.file.or(environment.file);
    let of_file = match &path {
        Some(path) => file::read(path)?,
        None => Vec::new(),
    };
    let (config, sources) = merge(&[of_file, environment.written, command_line.written])?;
    // The node may work in another directory later.
    let file = path.map(|path| std::path::absolute(&path).unwrap_or(path));
    Ok(Invocation { action: command_line.action, config, file, sources })
}

/// Lays `layers` over the defaults, each over those before it.
///
/// A value that a later layer overrides is checked all the same: a mistake in a file should not wait for the day the flag goes.
pub(super) fn merge(layers: &[Vec<Written>]) -> Result<(Config, Vec<Source>), ConfigError> {
    let mut config = Config::defaults().map_err(|(name, invalid)| ConfigError::Invalid {
        at: Source::Default,
        name,
        text: Setting::find(name).map_or_else(String::new, |setting| setting.default.to_owned()),
        invalid,
    })?;
    let mut sources = vec![Source::Default; SETTINGS.len()];
    for written in layers.iter().flatten() {
        let index = SETTINGS.iter().position(|setting| setting == written.setting).expect("it was found in the table");
        written.setting.set(&mut config, &written.text, &written.at)?;
        sources[index] = written.at.clone();
    }
    config.check()?;
    Ok((config, sources))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given {
        directory: tempfile::TempDir,
        arguments: Vec<OsString>,
        variables: Vec<(OsString, OsString)>,
    }

    impl Given {
        fn nothing() -> Given {
            let directory = tempfile::tempdir().expect("a temporary directory");
            Given { directory, arguments: vec!["basalt".into()], variables: Vec::new() }
        }

        fn file(mut self, text: &str) -> Given {
            let path = self.directory.path().join("basalt.toml");
            std::fs::write(&path, text).expect("a writable file");
            self.variables.push(("BASALT_CONFIG".into(), path.into()));
            self
        }

        fn variable(mut self, name: &str, value: &str) -> Given {
            self.variables.push((name.into(), value.into()));
            self
        }

        fn arguments(mut self, words: &str) -> Given {
            self.arguments.extend(words.split(' ').map(OsString::from));
            self
        }

        fn load(&self) -> Result<Invocation, ConfigError> {
            load(self.arguments.clone(), self.variables.clone())
        }

        fn config(&self) -> Config {
            self.load().unwrap_or_else(|error| panic!("{error}")).config
        }

        fn refusal(&self) -> String {
            self.load().expect_err("a refusal").to_string()
        }
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
        let given = Given::nothing();
        assert_eq!(given.config().port, 6379);
        let given = given.file("port = 1");
        assert_eq!(given.config().port, 1);
        let given = given.variable("BASALT_PORT", "2");
        assert_eq!(given.config().port, 2);
        let given = given.arguments("--port 3");
        assert_eq!(given.config().port, 3);
    }

    #[test]
    fn every_setting_is_a_flag_a_key_and_a_variable() {
        let defaults = Config::default();
        for setting in SETTINGS {
            let text = setting.value(&defaults);
            let by_flag = load(["basalt".into(), format!("--{}={text}", setting.name).into()], []);
            let by_variable = load(["basalt".into()], [(setting.variable().into(), text.clone().into())]);
            let by_file = Given::nothing().file(&format!("{} = '{text}'", setting.name)).load();

            for (read, expected) in [(by_flag, "Flag"), (by_variable, "Variable"), (by_file, "File")] {
                let read = read.unwrap_or_else(|error| panic!("{error}"));
                let index = SETTINGS.iter().position(|other| other == setting).expect("in the table");
                assert!(format!("{:?}", read.sources[index]).starts_with(expected), "{}", setting.name);
            }
        }
    }

    #[test]
    fn a_file_writes_numbers_strings_and_arrays() {
        let config = Given::nothing()
            .file("port = 7000\nmemory = '1gb'\nbind = ['127.0.0.1', '::1']\ncores = '0,2-3'\n")
            .config();

        assert_eq!((config.port, config.memory, config.bind.len()), (7000, 1 << 30, 2));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        let refusal = Given::nothing().file("port = 1\nmax-clients = 5\n").refusal();

        assert!(
            refusal.ends_with("basalt.toml: line 2: there is no setting 'max-clients'; did you mean 'maxclients'?"),
            "{refusal}"
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_name() {
        let refusal = Given::nothing().variable("BASALT_DURABLITY", "none").refusal();

        assert!(
            refusal.contains("BASALT_DURABLITY") && refusal.contains("did you mean 'BASALT_DURABILITY'?"),
            "{refusal}"
        );
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_nearest_name() {
        let refusal = Given::nothing().arguments("--durablity none").refusal();

        assert!(refusal.contains("'--durablity'") && refusal.contains("'--durability'"), "{refusal}");
    }

    #[test]
    fn an_impossible_value_is_refused_by_name_wherever_it_stands() {
        let cases = [
            (Given::nothing().arguments("--port 70000"), "command line: --port: port = '70000'", "'65535'"),
            (
                Given::nothing().variable("BASALT_MEMORY", "4gbb"),
                "environment: BASALT_MEMORY: memory = '4gbb'",
                "'4gb'",
            ),
            (Given::nothing().file("\ndurability-interval = 100"), "line 2: durability-interval = '100'", "'100ms'"),
            (Given::nothing().file("durability = true"), "line 1: durability = ", "'always'"),
            (Given::nothing().file("port = 1.5"), "line 1: port = '1.5'", "not a TOML float"),
            (
                Given::nothing().variable("BASALT_PORT", "tcp://10.0.0.1:6379"),
                "BASALT_PORT",
                "enableServiceLinks: false in the pod",
            ),
        ];
        for (given, names, advises) in cases {
            let refusal = given.refusal();
            assert!(refusal.contains(names) && refusal.ends_with(advises), "{refusal}");
        }
    }

    #[test]
    fn what_is_yes_or_no_may_be_true_or_false_in_the_file() {
        for (text, is_enabled) in [("true", true), ("false", false), ("\"yes\"", true)] {
            let given = Given::nothing().file(&format!("cluster-enabled = {text}"));
            assert_eq!(given.config().cluster_enabled, is_enabled, "{text}");
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_refused_even_where_a_flag_overrides_it() {
        assert!(Given::nothing().file("port = 70000").arguments("--port 1").load().is_err());
    }

    #[test]
    fn a_file_that_is_missing_or_no_toml_is_refused_by_name() {
        let refusal = Given::nothing().arguments("--config /no/such/file.toml").refusal();
        assert!(refusal.contains("/no/such/file.toml"), "{refusal}");

        let refusal = Given::nothing().file("port = 1\nport 2\n").refusal();
        assert!(refusal.contains("basalt.toml: line 2: "), "{refusal}");

        let refusal = Given::nothing().file("port = 1\nport = 2\n").refusal();
        assert!(refusal.contains("duplicate key"), "{refusal}");
    }

    #[test]
    fn values_keep_their_text() {
        assert_eq!(Given::nothing().variable("BASALT_DIR", "0123").config().dir, PathBuf::from("0123"));
    }

    #[test]
    fn the_help_names_unit_and_default_of_every_setting() {
        let help = Given::nothing().arguments("--help").refusal();
        let words: Vec<&str> = help.split_whitespace().collect();
        let help = words.join(" ");

        for setting in SETTINGS {
            let text = format!("[unit: {}] [default: {}]", setting.unit(), setting.default);
            assert!(help.contains(&format!("--{} ", setting.name)) && help.contains(&text), "{}: {help}", setting.name);
        }
    }

    #[test]
    fn config_is_a_subcommand_with_flags_on_either_side() {
        for words in ["config --port 7", "--port 7 config"] {
            let read = Given::nothing().arguments(words).load().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((read.action, read.config.port), (Action::PrintConfig, 7), "{words}");
        }
    }
}
