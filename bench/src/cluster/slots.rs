//! Tags of keys, by the node that leads their slots.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::resp;

/// Tags that are looked for on each node: so many slots of each are loaded.
const TAGS: usize = 200;

/// Returns, for each of the nodes on `ports`, tags of keys that it serves; asked of the nodes themselves.
///
/// # Errors
/// If a node cannot be asked, or leads too little.
pub fn tags_by_node(ports: &[u16]) -> Result<Vec<Vec<String>>> {
    let mut tags: BTreeMap<u16, Vec<String>> = ports.iter().map(|port| (*port, Vec::new())).collect();
    for number in 0..100 * TAGS {
        if tags.values().all(|tags| tags.len() >= TAGS) {
            break;
        }
        let tag = number.to_string();
        // Whoever does not serve it says who does.
        let reply = resp::ask(ports[0], &["GET", &format!("{{{tag}}}")])?;
        let port = match reply.strip_prefix("-MOVED ") {
            Some(moved) => moved.rsplit(':').next().and_then(|port| port.parse().ok()).context("MOVED has a port")?,
            None => ports[0],
        };
        let of_node = tags.get_mut(&port).with_context(|| format!("MOVED names another node: {reply}"))?;
        if of_node.len() < TAGS {
            of_node.push(tag);
        }
    }
    ensure!(tags.values().all(|tags| !tags.is_empty()), "a node leads nothing");
    Ok(ports.iter().map(|port| tags.remove(port).unwrap_or_default()).collect())
}
