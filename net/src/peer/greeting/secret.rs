//! The cluster's secret, and the proof that a node knows it.
//!
//! A proof is the HMAC-SHA256 of both greetings as they were sent, the dialing side's first, under a label that names the side
//! which proves. Both greetings have random bytes of that one connection, and both identities: so a proof is of no use on another
//! connection, for another node, or as the proof of the other side.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::words::Role;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;

/// A secret that all nodes of a cluster share (`cluster-secret`). Never printed.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl Secret {
    /// A secret of any length but none: an empty one is a setting that was forgotten.
    pub fn new(secret: &[u8]) -> Option<Secret> {
        let mac = Hmac::new_from_slice(secret).expect("a key of HMAC may have any length");
        (!secret.is_empty()).then_some(Secret(mac))
    }

    /// The proof of the side with `role` after these greetings.
    pub(super) fn prove(&self, role: Role, dialed: &[u8], accepted: &[u8]) -> [u8; PROOF_BYTES] {
        self.mac(role, dialed, accepted).finalize().into_bytes().into()
    }

    /// True if `proof` is that of the side with `role`. Takes as long for a wrong one as for the right one.
    pub(super) fn is_proven(&self, role: Role, dialed: &[u8], accepted: &[u8], proof: &[u8]) -> bool {
        self.mac(role, dialed, accepted).verify_slice(proof).is_ok()
    }

    fn mac(&self, role: Role, dialed: &[u8], accepted: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(match role {
            Role::Dials => b"basalt peer proof, dialing side\n",
            Role::Accepts => b"basalt peer proof, accepting side\n",
        });
        for greeting in [dialed, accepted] {
            // With its length, so that no byte can be taken from one greeting into the other.
            mac.update(&(greeting.len() as u32).to_le_bytes());
            mac.update(greeting);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_is_none_and_none_is_printed() {
        assert!(Secret::new(b"").is_none());
        assert_eq!(format!("{:?}", Secret::new(b"hunter2").unwrap()), "Secret");
    }

    #[test]
    fn a_proof_is_of_both_greetings_and_its_side() {
        let secret = Secret::new(b"secret").unwrap();
        let proof = secret.prove(Role::Dials, b"ab", b"c");
        assert!(secret.is_proven(Role::Dials, b"ab", b"c", &proof));
        assert!(!secret.is_proven(Role::Accepts, b"ab", b"c", &proof));
        assert!(!secret.is_proven(Role::Dials, b"a", b"bc", &proof));
        assert!(!secret.is_proven(Role::Dials, b"c", b"ab", &proof));
        assert!(!secret.is_proven(Role::Dials, b"ab", b"c", &proof[..31]));
        assert!(!secret.is_proven(Role::Dials, b"ab", b"c", b""));
        assert!(!Secret::new(b"Secret").unwrap().is_proven(Role::Dials, b"ab", b"c", &proof));
    }

    #[test]
    fn a_proof_is_the_documented_hmac() {
        // Computed by Python: hmac.new(b"secret", b"basalt peer proof, dialing side\n" + b"\2\0\0\0ab" + b"\1\0\0\0c", "sha256")
        let expected = "f3815724fd7cd697fc568bfd178f06d6c7a89af6a6faca25b79bf5bd17cfc2d4";
        let found: String =
            Secret::new(b"secret").unwrap().prove(Role::Dials, b"ab", b"c").map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(found, expected);
        let expected = "e094a65ff30e5529d2378d71c40c7fda73febcc16d5b64f17d42aa4f04296d73";
        let found: String = Secret::new(b"secret")
            .unwrap()
            .prove(Role::Accepts, b"ab", b"c")
            .map(|byte| format!("{byte:02x}"))
            .concat();
        assert_eq!(found, expected);
    }
}
