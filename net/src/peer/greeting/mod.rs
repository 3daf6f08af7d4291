//! The greeting: who is there, and is it who was wanted.
//!
//! ```text
//! dialing side                accepting side
//!   Greeting  ───────────────►  checks it
//!   checks it ◄───────────────  Greeting
//!   Proof     ───────────────►  checks it
//!   checks it ◄───────────────  Proof            from here on each side has a session
//! ```
//!
//! In the place of each of these a side may send a refusal with its reason, and end the connection. A proof is empty where no
//! secret is set; it then says only that the side has found nothing to refuse. What a newcomer would get wrong: the accepting side
//! proves last, so a stranger who connects gets nothing that he could try secrets on.

mod secret;
mod session;
mod words;

use std::fmt::Write;

use super::bounds::Bounds;
use super::decoder::Decoder;
use super::error::PeerError;
use super::fields::Fields;
use super::frame::{Frame, put_short_frame};
use super::ids::NodeNumber;
use super::kind::{Kind, Lane};
use super::messages::{Refusal, RefusalReason};

use words::{Greeting, Role};

pub use secret::Secret;
pub use session::{Acquaintance, Nonce, Own, Route, Session, Versions, Wanted};

/// One side of a greeting.
///
/// The caller sends what it writes into its output, also after an error, and sets the time that it may take.
#[derive(Debug)]
pub struct Greeter {
    own: Own,
    role: Role,
    decoder: Decoder,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The accepting side, before the other's greeting.
    Accepts(Nonce),
    /// The dialing side, with what it has sent.
    Dials(Wanted, Vec<u8>),
    /// Both have greeted, and this side waits for the other's proof.
    Met(Box<Met>),
    /// It has come to its end.
    Over,
}

#[derive(Debug)]
struct Met {
    session: Session,
    /// The greeting of the dialing side as it was sent, and that of the accepting side.
    dialed: Vec<u8>,
    accepted: Vec<u8>,
}

impl Greeter {
    /// Begins the greeting of a connection that this node has made, with the first word in `output`.
    pub fn dial(own: Own, wanted: Wanted, nonce: Nonce, output: &mut Vec<u8>) -> Greeter {
        let greeting = own.greeting(Role::Dials, wanted.node, wanted.route, nonce).encode();
        put_short_frame(Kind::Greeting, &greeting, output);
        Greeter::of(own, Role::Dials, State::Dials(wanted, greeting))
    }

    /// Begins the greeting of a connection that this node has accepted. The other side has the first word.
    pub fn accept(own: Own, nonce: Nonce) -> Greeter {
        Greeter::of(own, Role::Accepts, State::Accepts(nonce))
    }

    fn of(own: Own, role: Role, state: State) -> Greeter {
        let decoder = Decoder::of_greeting(own.versions.newest);
        Greeter { own, role, decoder, state }
    }

    /// Takes received bytes and appends the answer to `output`. Returns the session once the greeting is over; what is left in
    /// `input` then is the first of its frames.
    ///
    /// `acquaintance` tells what is known of the node that greets.
    ///
    /// # Errors
    /// [`PeerError`]: the connection is to be closed after what was written is sent, which is the reason where the other side can
    /// understand it.
    ///
    /// # Panics
    /// If the greeting is over.
    pub fn feed(
        &mut self,
        input: &mut &[u8],
        acquaintance: impl Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<Option<Session>, PeerError> {
        assert!(!matches!(self.state, State::Over), "a greeting that is over takes no bytes");
        let result = self.advance(input, &acquaintance, output);
        if let Err(error) = &result {
            self.state = State::Over;
            put_refusal(error.refusal(), output);
        }
        result
    }

    fn advance(
        &mut self,
        input: &mut &[u8],
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<Option<Session>, PeerError> {
        while let Some(frame) = self.next(input)? {
            let payload = frame.payload.as_slice();
            match (frame.kind, std::mem::replace(&mut self.state, State::Over)) {
                (Kind::Refusal, _) => {
                    return Err(PeerError::RefusedByPeer(Refusal::read(&mut Fields::new(Kind::Refusal, payload))?));
                }
                (Kind::Greeting, State::Accepts(nonce)) => self.answer(payload, nonce, acquaintance, output)?,
                (Kind::Greeting, State::Dials(wanted, dialed)) => {
                    self.meet(payload, wanted, dialed, acquaintance, output)?;
                }
                (Kind::Proof, State::Met(met)) => {
                    return self.conclude(payload, *met, acquaintance, output).map(Some);
                }
                (kind, _) => return Err(PeerError::Malformed { kind, what: "it is not its turn" }),
            }
        }
        Ok(None)
    }

    fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, PeerError> {
        let is_first = !matches!(self.state, State::Met(_));
        self.decoder.next(input).map_err(|error| match error {
            // Another protocol: its first bytes are no length of a greeting.
            PeerError::FrameTooLong { .. } if is_first => PeerError::NotAPeer,
            error => error,
        })
    }

    /// The accepting side: takes the other's greeting and sends its own.
    fn answer(
        &mut self,
        payload: &[u8],
        nonce: Nonce,
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<(), PeerError> {
        let theirs = self.read(payload)?;
        let refused = PeerError::Refused;
        self.check_identity(&theirs, acquaintance).map_err(refused)?;
        let session = self.session(&theirs).map_err(refused)?;
        if session.route.accepting_core >= self.own.core_count {
            let (core, count) = (session.route.accepting_core, self.own.core_count);
            let text = format!("there is no core {core} on this node, which has {count}");
            return Err(refused(Refusal::new(RefusalReason::UnknownCore, text)));
        }
        let accepted = self.own.greeting(self.role, theirs.from, session.route, nonce).encode();
        put_short_frame(Kind::Greeting, &accepted, output);
        self.state = State::Met(Box::new(Met { session, dialed: payload.to_vec(), accepted }));
        Ok(())
    }

    /// The dialing side: takes the other's greeting and proves that it knows the secret.
    fn meet(
        &mut self,
        payload: &[u8],
        wanted: Wanted,
        dialed: Vec<u8>,
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<(), PeerError> {
        let theirs = self.read(payload)?;
        let refused = PeerError::Refused;
        self.check_identity(&theirs, acquaintance).map_err(refused)?;
        if theirs.from != wanted.node {
            let text = format!(
                "node {} answers where node {} was wanted: the address was given to another node",
                theirs.from, wanted.node
            );
            return Err(refused(Refusal::new(RefusalReason::OtherNode, text)));
        }
        let session = self.session(&theirs).map_err(refused)?;
        if session.route != wanted.route {
            let text = format!("the answer is for {:?} where {:?} was asked for", session.route, wanted.route);
            return Err(refused(Refusal::new(RefusalReason::UnknownLane, text)));
        }
        let met = Met { session, dialed, accepted: payload.to_vec() };
        self.put_proof(&met, output);
        self.state = State::Met(Box::new(met));
        Ok(())
    }

    /// Both sides: takes the other's proof. The accepting side proves in its turn.
    fn conclude(
        &mut self,
        payload: &[u8],
        met: Met,
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<Session, PeerError> {
        let is_proven = match &self.own.secret {
            None => payload.is_empty(),
            Some(secret) => secret.is_proven(self.role.other(), &met.dialed, &met.accepted, payload),
        };
        if !is_proven {
            let text = format!("node {} does not know this cluster's secret", met.session.node);
            return Err(PeerError::Refused(Refusal::new(RefusalReason::WrongProof, text)));
        }
        // Its successor may have come in the meantime.
        check_acquaintance(met.session.node, met.session.incarnation, acquaintance).map_err(PeerError::Refused)?;
        if self.role == Role::Accepts {
            self.put_proof(&met, output);
        }
        Ok(met.session)
    }

    fn put_proof(&self, met: &Met, output: &mut Vec<u8>) {
        match &self.own.secret {
            None => put_short_frame(Kind::Proof, &[], output),
            Some(secret) => put_short_frame(Kind::Proof, &secret.prove(self.role, &met.dialed, &met.accepted), output),
        }
    }

    fn read(&self, payload: &[u8]) -> Result<Greeting, PeerError> {
        let theirs = Greeting::decode(payload)?;
        // One's own greeting that comes back is that of one's own number, and refused as that.
        if theirs.role == self.role && theirs.from != self.own.node {
            return Err(PeerError::Malformed { kind: Kind::Greeting, what: "both sides have made the connection" });
        }
        Ok(theirs)
    }

    /// Refuses a node that is not one to talk to, or that wants to talk to another one.
    fn check_identity(
        &self,
        theirs: &Greeting,
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
    ) -> Result<(), Refusal> {
        let own = &self.own;
        let refuse = |reason, text| Err(Refusal::new(reason, text));
        if theirs.cluster != own.cluster {
            // Enough to tell them apart, and not enough for a stranger to greet with.
            let (theirs, own) = (hex(&theirs.cluster[..4]), hex(&own.cluster[..4]));
            let text = format!("the node is of cluster {theirs}..., this one of cluster {own}...");
            return refuse(RefusalReason::OtherCluster, text);
        }
        if theirs.from == NodeNumber(0) || theirs.incarnation == 0 {
            let text = "the node's number and its incarnation are more than 0".to_owned();
            return refuse(RefusalReason::UnusableIdentity, text);
        }
        if theirs.from == own.node {
            let text = format!(
                "this is node {} itself: the address leads back, or a copy of its directory is in use",
                own.node
            );
            return refuse(RefusalReason::OwnNumber, text);
        }
        if theirs.to != own.node {
            let text =
                format!("this is node {}, not node {}: the address was given to another node", own.node, theirs.to);
            return refuse(RefusalReason::OtherNode, text);
        }
        check_acquaintance(theirs.from, theirs.incarnation, acquaintance)?;
        match (theirs.has_secret, own.secret.is_some()) {
            (false, true) => {
                let text = format!("node {} has no cluster-secret, this one has", theirs.from);
                refuse(RefusalReason::SecretMissing, text)
            }
            (true, false) => {
                let text = format!("node {} has a cluster-secret, this one has none", theirs.from);
                refuse(RefusalReason::SecretUnexpected, text)
            }
            _ => Ok(()),
        }
    }

    /// Agrees on a session with the other side.
    fn session(&self, theirs: &Greeting) -> Result<Session, Refusal> {
        let (own, versions) = (self.own.versions, theirs.versions);
        let version = own.common(versions).ok_or_else(|| {
            let text = format!(
                "the node speaks versions {} to {} of the protocol, this one {} to {}: upgrade the older one first to a \
                 version between them",
                versions.oldest, versions.newest, own.oldest, own.newest
            );
            Refusal::new(RefusalReason::NoCommonVersion, text)
        })?;
        let lane = Lane::of(theirs.lane).ok_or_else(|| {
            let text = format!("lane {} is unknown to version {version} of the protocol", theirs.lane);
            Refusal::new(RefusalReason::UnknownLane, text)
        })?;
        let Greeting { dialing_core, accepting_core, core_count, bounds, .. } = *theirs;
        let their_core = if self.role == Role::Accepts { dialing_core } else { accepting_core };
        if their_core >= core_count {
            let text = format!("node {} greets for core {their_core}, and has {core_count}", theirs.from);
            return Err(Refusal::new(RefusalReason::UnknownCore, text));
        }
        if !bounds.are_usable() {
            let text = format!(
                "messages of {} bytes, joined up to {}, are too small a bound",
                bounds.message_bytes_max, bounds.joined_bytes_max
            );
            return Err(Refusal::new(RefusalReason::UnusableBounds, text));
        }
        let bounds = Bounds {
            message_bytes_max: bounds.message_bytes_max.min(self.own.bounds.message_bytes_max),
            joined_bytes_max: bounds.joined_bytes_max,
        };
        Ok(Session {
            node: theirs.from,
            incarnation: theirs.incarnation,
            core_count,
            route: Route { lane, dialing_core, accepting_core },
            version,
            bounds,
        })
    }
}

impl Own {
    fn greeting(&self, role: Role, to: NodeNumber, route: Route, nonce: Nonce) -> Greeting {
        Greeting {
            versions: self.versions,
            role,
            lane: route.lane.code(),
            has_secret: self.secret.is_some(),
            cluster: self.cluster,
            from: self.node,
            to,
            incarnation: self.incarnation,
            dialing_core: route.dialing_core,
            accepting_core: route.accepting_core,
            core_count: self.core_count,
            bounds: self.bounds,
            nonce: nonce.0,
        }
    }
}

/// Refuses a node that was removed, and an old copy of one's directory.
fn check_acquaintance(
    node: NodeNumber,
    incarnation: u64,
    acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
) -> Result<(), Refusal> {
    match acquaintance(node) {
        Acquaintance::Seen { incarnation: seen } if incarnation < seen => {
            let text = format!(
                "node {node} was started {seen} times already, and this one {incarnation} times: it is an old copy of \
                 the node's directory"
            );
            Err(Refusal::new(RefusalReason::OldIncarnation, text))
        }
        Acquaintance::Removed => {
            Err(Refusal::new(RefusalReason::Removed, format!("node {node} was removed from this cluster")))
        }
        Acquaintance::Unknown | Acquaintance::Seen { .. } => Ok(()),
    }
}

/// Tells the other side the reason, if it can understand it.
pub(super) fn put_refusal(refusal: Option<Refusal>, output: &mut Vec<u8>) {
    let Some(refusal) = refusal else { return };
    let mut payload = Vec::new();
    refusal.put(&mut payload);
    put_short_frame(Kind::Refusal, &payload, output);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written");
        text
    })
}

#[cfg(test)]
mod tests;
