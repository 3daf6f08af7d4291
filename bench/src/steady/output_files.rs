//! The files that a run writes: all are opened before it begins, so that none fails after half an hour.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One file to be written.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    /// Creates `PREFIX.extension`; replaces one that is there only if `force`.
    ///
    /// # Errors
    /// If there is one already, or the directory does not exist or may not be written to.
    pub fn create(prefix: &Path, extension: &str, force: bool) -> Result<OutputFile> {
        let mut name = prefix.as_os_str().to_os_string();
        name.push(".");
        name.push(extension);
        let path = PathBuf::from(name);
        let mut how = OpenOptions::new();
        how.write(true);
        if force {
            how.create(true).truncate(true)
        } else {
            how.create_new(true)
        };
        match how.open(&path) {
            Ok(file) => Ok(OutputFile { path, file }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there already: name another with --output, or replace it with --force", path.display())
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be written; see --output", path.display())),
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `text`.
    ///
    /// # Errors
    /// If the disk is full, or broken.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// The files of a run.
#[derive(Debug)]
pub struct OutputFiles {
    /// A line for each second.
    pub seconds: OutputFile,
    /// The plot.
    pub plot: OutputFile,
    /// The summary in Markdown.
    pub summary: OutputFile,
}

impl OutputFiles {
    /// Creates `PREFIX.tsv`, `.svg` and `.md`.
    ///
    /// # Errors
    /// If one of them cannot be made; then none is left behind.
    pub fn create(prefix: &Path, force: bool) -> Result<OutputFiles> {
        let mut made = Vec::new();
        for extension in ["tsv", "svg", "md"] {
            match OutputFile::create(prefix, extension, force) {
                Ok(file) => made.push(file),
                Err(error) => {
                    remove(made.iter());
                    return Err(error);
                }
            }
        }
        let [seconds, plot, summary]: [OutputFile; 3] = made.try_into().expect("three are made, or an error");
        Ok(OutputFiles { seconds, plot, summary })
    }

    /// Removes them, where nothing was measured.
    pub fn remove(self) {
        remove([&self.seconds, &self.plot, &self.summary].into_iter());
    }
}

fn remove<'a>(files: impl Iterator<Item = &'a OutputFile>) {
    for file in files {
        // An empty file that stays does no harm, and the error that led here says more.
        let _ = std::fs::remove_file(&file.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("run.1");
        std::fs::write(dir.path().join("run.1.svg"), "old").unwrap();

        let error = OutputFiles::create(&prefix, false).unwrap_err().to_string();
        assert!(error.contains("run.1.svg is there already"), "{error}");
        assert!(!dir.path().join("run.1.tsv").exists(), "nothing is left behind");
        assert_eq!(std::fs::read_to_string(dir.path().join("run.1.svg")).unwrap(), "old");

        OutputFiles::create(&prefix, true).unwrap().seconds.write("x").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("run.1.tsv")).unwrap(), "x");
    }

    #[test]
    fn a_directory_that_does_not_exist_is_named() {
        let error = OutputFiles::create(Path::new("/nonexistent/run"), true).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/run.tsv cannot be written"), "{error:#}");
    }
}
