//! `LANE`: whose a lane is, so that one that was moved or swapped is not taken for another. One line; replaced by rename, so it is
//! always whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Identity, Result, Versions};

/// Versions of a lane's directory and its marker. What a record is made of has its own, in each group's `STATE`.
const FORMAT: Versions = Versions::new(1, 1);

/// Its name in the lane's directory.
pub(super) const LANE_FILE: &str = "LANE";
const LANE_FILE_NEXT: &str = "LANE.next";
const TAG: &str = "basalt-lane";

/// Writes the marker of a new lane, durably.
pub(super) fn write_marker(directory: &Path, identity: &Identity) -> Result<()> {
    let body = body_of(identity);
    let next = directory.join(LANE_FILE_NEXT);
    let write = || {
        let mut file = File::create(&next)?;
        writeln!(file, "{body} {:08x}", crc32fast::hash(body.as_bytes()))?;
        file.sync_all()?;
        fs::rename(&next, directory.join(LANE_FILE))?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| Error::Io { path: next.clone(), source })
}

/// Refuses the lane in `directory` unless its marker says that it is that of `identity`.
///
/// # Errors
/// [`Error::Corruption`] if it has none, or a damaged one; [`Error::UnknownFormat`]; [`Error::Misfit`] for another's.
pub(super) fn check_marker(directory: &Path, identity: &Identity) -> Result<()> {
    let path = directory.join(LANE_FILE);
    let damaged = |detail: &str| Error::Corruption { path: path.clone(), detail: detail.into() };
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("it is missing, but the directory holds a log"));
        }
        Err(source) => return Err(Error::Io { path: path.clone(), source }),
    };
    let line = text.strip_suffix('\n').ok_or_else(|| damaged("its line is cut short"))?;
    let mut words = line.split(' ');
    if words.next() != Some(TAG) {
        return Err(damaged("it is not a lane's marker"));
    }
    let format: u32 =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| damaged("its format is no number"))?;
    if !FORMAT.reads(format) {
        return Err(Error::UnknownFormat { path, found: format, supported: FORMAT.newest() });
    }
    let (body, checksum) = line.rsplit_once(' ').ok_or_else(|| damaged("its line is cut short"))?;
    if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        return Err(damaged("it does not match its checksum"));
    }
    if body == body_of(identity) {
        return Ok(());
    }
    let detail = format!("it is '{body}' in the place of '{}'", body_of(identity));
    Err(Error::Misfit { path: directory.to_owned(), detail })
}

fn body_of(identity: &Identity) -> String {
    let Identity { node, group, .. } = identity;
    let (node_id, cluster_id) = (identity.node_id_hex(), identity.cluster_id_hex());
    format!("{TAG} {} lane-{group} number-{node:016x} node-{node_id} cluster-{cluster_id}", FORMAT.written())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Identity = Identity { cluster_id: [0xab; 20], node_id: [0xcd; 20], node: 7, group: 2 };

    #[test]
    fn the_layout_is_the_documented_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write_marker(directory.path(), &OWNER).expect("written");
        let text = fs::read_to_string(directory.path().join(LANE_FILE)).expect("readable");
        let body = format!(
            "basalt-lane 1 lane-2 number-0000000000000007 node-{} cluster-{}",
            "cd".repeat(20),
            "ab".repeat(20)
        );
        assert_eq!(text, format!("{body} {:08x}\n", crc32fast::hash(body.as_bytes())));
        check_marker(directory.path(), &OWNER).expect("its own");
    }

    #[test]
    fn that_of_another_a_later_or_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refusal = |owner: &Identity| check_marker(directory.path(), owner).expect_err("refused");
        assert!(matches!(refusal(&OWNER), Error::Corruption { .. }), "none");
        write_marker(directory.path(), &OWNER).expect("written");
        for other in [Identity { group: 3, ..OWNER }, Identity { node_id: [0; 20], ..OWNER }] {
            assert!(matches!(refusal(&other), Error::Misfit { .. }), "{}", refusal(&other));
        }
        let path = directory.path().join(LANE_FILE);
        let good = fs::read(&path).expect("readable");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("writable");
            refusal(&OWNER);
            fs::write(&path, &good[..at]).expect("writable");
            refusal(&OWNER);
        }
        fs::write(&path, String::from_utf8_lossy(&good).replace("lane 1", "lane 2")).expect("writable");
        assert!(matches!(refusal(&OWNER), Error::UnknownFormat { found: 2, supported: 1, .. }), "{}", refusal(&OWNER));
    }
}
