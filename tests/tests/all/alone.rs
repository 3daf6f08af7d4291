//! A node for one test, with a directory that goes when the test ends.

use basalt_tests::{Node, NodeOptions};

/// A node of its own for one test; the directory goes last.
pub struct Alone {
    pub node: Node,
    _dir: tempfile::TempDir,
}

impl Alone {
    pub fn new(configure: impl FnOnce(NodeOptions) -> NodeOptions) -> Alone {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let node = configure(NodeOptions::new(dir.path().join("data"))).start();
        Alone { node, _dir: dir }
    }
}
