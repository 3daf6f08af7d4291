//! One connection between two nodes, from its first byte to its last: the greeting, then messages both ways. Without a socket.
//!
//! What a newcomer would get wrong: bytes are fed until nothing comes of them any more. Whoever gives the connection away in
//! between, as a [`Session`], gives what is left of the input with it.

use super::Bounds;
use super::decoder::Decoder;
use super::error::PeerError;
use super::greeting::{Acquaintance, Greeter, Nonce, Own, Session, Wanted, put_refusal};
use super::ids::{GroupNumber, NodeNumber, RequestId};
use super::messages::{Message, Refusal};
use super::outbox::Outbox;
use super::push_error::PushError;

/// A connection with a peer.
#[derive(Debug)]
pub struct Link {
    state: State,
    /// This node's bounds on what comes.
    bounds: Bounds,
    queue_bytes_max: usize,
}

#[derive(Debug)]
enum State {
    Greets(Box<Greeter>),
    Met(Box<Met>),
    /// Its last word is said.
    Over,
}

#[derive(Debug)]
struct Met {
    session: Session,
    decoder: Decoder,
    outbox: Outbox,
}

/// News from a peer.
#[derive(Debug)]
pub enum Heard {
    /// The greeting is over: both have taken each other for whom they say they are. Comes once, and first.
    Met(Session),
    /// A message, with the group and the request of its frames.
    Message(GroupNumber, RequestId, Message),
}

impl Link {
    /// A connection that this node has made, with its first word in `output`. `queue_bytes_max` bounds what waits to be sent, see
    /// [`Outbox::new`].
    pub fn dial(own: Own, wanted: Wanted, nonce: Nonce, queue_bytes_max: usize, output: &mut Vec<u8>) -> Link {
        let bounds = own.bounds;
        let greeter = Greeter::dial(own, wanted, nonce, output);
        Link { state: State::Greets(Box::new(greeter)), bounds, queue_bytes_max }
    }

    /// A connection that this node has accepted. The other side has the first word.
    pub fn accept(own: Own, nonce: Nonce, queue_bytes_max: usize) -> Link {
        let bounds = own.bounds;
        Link { state: State::Greets(Box::new(Greeter::accept(own, nonce))), bounds, queue_bytes_max }
    }

    /// A connection that has been greeted elsewhere in this node, which named `bounds` there.
    pub fn of_session(session: Session, bounds: Bounds, queue_bytes_max: usize) -> Link {
        let Session { route, version, bounds: theirs, .. } = session;
        let met = Met {
            session,
            decoder: Decoder::new(route.lane, version, bounds),
            outbox: Outbox::new(route.lane, version, theirs, queue_bytes_max),
        };
        Link { state: State::Met(Box::new(met)), bounds, queue_bytes_max }
    }

    /// The outcome of the greeting, once it is over.
    pub fn session(&self) -> Option<&Session> {
        if let State::Met(met) = &self.state { Some(&met.session) } else { None }
    }

    /// Takes the next news out of `input`, which is moved behind what was used; `None` when all of it was. To be called until then.
    /// What the greeting says in its turn is appended to `output`. `acquaintance` tells what is known of the node that greets.
    ///
    /// # Errors
    /// [`PeerError`]: the connection is to be closed once `output` is sent, which has the reason where the other side can
    /// understand it.
    ///
    /// # Panics
    /// If the connection is over.
    pub fn feed(
        &mut self,
        input: &mut &[u8],
        acquaintance: impl Fn(NodeNumber) -> Acquaintance,
        output: &mut Vec<u8>,
    ) -> Result<Option<Heard>, PeerError> {
        let result = match &mut self.state {
            State::Over => panic!("a connection that is over takes no bytes"),
            State::Greets(greeter) => match greeter.feed(input, acquaintance, output) {
                Ok(None) => return Ok(None),
                Ok(Some(session)) => {
                    *self = Link::of_session(session, self.bounds, self.queue_bytes_max);
                    return Ok(Some(Heard::Met(session)));
                }
                // It has said so itself.
                Err(error) => Err(error),
            },
            State::Met(met) => met.hear(input).inspect_err(|error| put_refusal(error.refusal(), output)),
        };
        if result.is_err() {
            self.state = State::Over;
        }
        result
    }

    /// Queues a message.
    ///
    /// # Errors
    /// As [`Outbox::push`].
    ///
    /// # Panics
    /// If the greeting is not over, or the connection is.
    pub fn push(&mut self, group: GroupNumber, request: RequestId, message: Message) -> Result<(), PushError> {
        let State::Met(met) = &mut self.state else { panic!("messages go between nodes that have greeted each other") };
        met.outbox.push(group, request, message)
    }

    /// Appends frames to `output`, as [`Outbox::take`] does.
    pub fn take(&mut self, bytes: usize, output: &mut Vec<u8>) -> usize {
        if let State::Met(met) = &mut self.state { met.outbox.take(bytes, output) } else { 0 }
    }

    /// Bytes that wait to be taken.
    pub fn queued_bytes(&self) -> usize {
        if let State::Met(met) = &self.state { met.outbox.queued_bytes() } else { 0 }
    }

    /// Bytes of memory for what is still arriving.
    pub fn arriving_bytes(&self) -> usize {
        if let State::Met(met) = &self.state { met.decoder.kept_bytes() } else { 0 }
    }

    /// Ends the connection with the reason as the last word in `output`. What waits is not sent.
    pub fn end(&mut self, refusal: Refusal, output: &mut Vec<u8>) {
        if !matches!(self.state, State::Over) {
            put_refusal(Some(refusal), output);
        }
        self.state = State::Over;
    }
}

impl Met {
    fn hear(&mut self, input: &mut &[u8]) -> Result<Option<Heard>, PeerError> {
        let Some(frame) = self.decoder.next(input)? else { return Ok(None) };
        let (group, request) = (frame.group, frame.request);
        match frame.message()? {
            Message::Refusal(refusal) => Err(PeerError::RefusedByPeer(refusal)),
            message => Ok(Some(Heard::Message(group, request, message))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::vote;
    use super::super::{
        AppendAnswer, AppendEntries, Lane, Record, RefusalReason, Route, Secret, Unable, UnableReason, Versions,
    };
    use super::*;

    const ROUTE: Route = Route { lane: Lane::Entries, dialing_core: 1, accepting_core: 2 };
    const WANTED: Wanted = Wanted { node: NodeNumber(2), route: ROUTE };

    fn own(node: u64, secret: &str) -> Own {
        Own {
            cluster: [7; 20],
            node: NodeNumber(node),
            incarnation: 5,
            core_count: 3,
            versions: Versions::OWN,
            bounds: Bounds::default(),
            secret: Secret::new(secret.as_bytes()),
        }
    }

    /// A link and what its other side has not read yet.
    struct End(Link, Vec<u8>);

    impl End {
        fn dial(own: Own) -> End {
            let mut output = Vec::new();
            let link = Link::dial(own, WANTED, Nonce([1; 32]), 0, &mut output);
            End(link, output)
        }

        fn accept(own: Own) -> End {
            End(Link::accept(own, Nonce([2; 32]), 0), Vec::new())
        }

        /// All that it hears, byte by byte, and what ended it.
        fn hear(&mut self, bytes: &[u8]) -> (Vec<Heard>, Option<PeerError>) {
            let mut heard = Vec::new();
            for mut byte in bytes.chunks(1) {
                loop {
                    match self.0.feed(&mut byte, |_| Acquaintance::Unknown, &mut self.1) {
                        Ok(Some(one)) => heard.push(one),
                        Ok(None) => break,
                        Err(error) => return (heard, Some(error)),
                    }
                }
                assert!(byte.is_empty());
            }
            (heard, None)
        }

        fn send(&mut self) -> Vec<u8> {
            self.0.take(usize::MAX, &mut self.1);
            std::mem::take(&mut self.1)
        }
    }

    fn entries(bytes: usize) -> Message {
        let entries = vec![Record { index: 0, term: 1, body: vec![7; bytes].into() }];
        Message::AppendEntries(AppendEntries { vote: vote(1, 1, true), previous: None, committed: None, entries })
    }

    fn met() -> (End, End) {
        let (mut dialing, mut accepting) = (End::dial(own(1, "secret")), End::accept(own(2, "secret")));
        for _ in 0..2 {
            let (heard, error) = accepting.hear(&dialing.send());
            assert!(error.is_none() && heard.len() < 2);
            let (heard, error) = dialing.hear(&accepting.send());
            assert!(error.is_none() && heard.len() < 2);
        }
        for (end, node) in [(&dialing, 2), (&accepting, 1)] {
            let session = end.0.session().expect("the greeting is over");
            assert_eq!((session.node, session.route), (NodeNumber(node), ROUTE));
        }
        (dialing, accepting)
    }

    #[test]
    fn messages_go_both_ways_once_both_have_greeted() {
        let (mut dialing, mut accepting) = met();
        for bytes in [10, 200_000] {
            dialing.0.push(GroupNumber(3), RequestId(9), entries(bytes)).unwrap();
            assert!(dialing.0.queued_bytes() > bytes);
        }
        let (heard, error) = accepting.hear(&dialing.send());
        assert_eq!((error, heard.len(), dialing.0.queued_bytes(), accepting.0.arriving_bytes()), (None, 2, 0, 0));
        for (heard, bytes) in heard.into_iter().zip([10, 200_000]) {
            let Heard::Message(group, request, message) = heard else { panic!("{heard:?}") };
            assert!((group, request) == (GroupNumber(3), RequestId(9)) && message == entries(bytes));
        }
        let answer = Message::AppendAnswer(AppendAnswer::Success);
        accepting.0.push(GroupNumber(3), RequestId(9), answer.clone()).unwrap();
        let (heard, _) = dialing.hear(&accepting.send());
        assert!(matches!(&heard[..], [Heard::Message(_, RequestId(9), message)] if *message == answer));
    }

    #[test]
    fn what_comes_with_the_end_of_a_greeting_is_left_to_who_takes_the_session() {
        let (mut dialing, mut accepting) = (End::dial(own(1, "")), End::accept(own(2, "")));
        accepting.hear(&dialing.send());
        dialing.hear(&accepting.send());
        let mut stream = dialing.send();
        // A peer that does not wait for the other's proof.
        let session = Session { node: NodeNumber(2), ..*met().0.0.session().unwrap() };
        let mut hasty = Link::of_session(session, Bounds::default(), 0);
        hasty.push(GroupNumber(1), RequestId(1), entries(100)).unwrap();
        hasty.take(usize::MAX, &mut stream);
        let mut input = stream.as_slice();
        let heard = accepting.0.feed(&mut input, |_| Acquaintance::Unknown, &mut accepting.1).unwrap();
        let Some(Heard::Met(session)) = heard else { panic!("{heard:?}") };
        assert!(!input.is_empty());
        let mut next = End(Link::of_session(session, Bounds::default(), 0), Vec::new());
        let (heard, error) = next.hear(input);
        assert!(error.is_none() && matches!(&heard[..], [Heard::Message(..)]), "{heard:?}");
    }

    #[test]
    fn an_error_and_an_end_are_the_last_word() {
        let (mut dialing, mut accepting) = met();
        let (_, error) = accepting.hear(b"\xff\xff\xff\xff");
        assert!(matches!(error, Some(PeerError::FrameTooLong { .. })), "{error:?}");
        let (_, error) = dialing.hear(&accepting.send());
        let Some(PeerError::RefusedByPeer(refusal)) = error else { panic!("{error:?}") };
        assert_eq!(refusal.reason, RefusalReason::Protocol);

        let (mut dialing, mut accepting) = met();
        accepting.0.push(GroupNumber(1), RequestId(1), Message::Unable(Unable::new(UnableReason::Closed, ""))).unwrap();
        accepting.0.end(Refusal::new(RefusalReason::Closing, "bye"), &mut accepting.1);
        accepting.0.end(Refusal::new(RefusalReason::Closing, "twice"), &mut accepting.1);
        let (heard, error) = dialing.hear(&accepting.send());
        assert_eq!(error, Some(PeerError::RefusedByPeer(Refusal::new(RefusalReason::Closing, "bye"))));
        assert!(heard.is_empty(), "what waited is not sent");
    }

    #[test]
    fn a_greeting_that_fails_is_refused_by_name_on_both_sides() {
        let (mut dialing, mut accepting) = (End::dial(own(1, "secret")), End::accept(own(2, "another")));
        accepting.hear(&dialing.send());
        dialing.hear(&accepting.send());
        let (_, error) = accepting.hear(&dialing.send());
        assert_eq!(error.map(|error| error.name()), Some("wrong-proof"));
        let (_, error) = dialing.hear(&accepting.send());
        let Some(PeerError::RefusedByPeer(refusal)) = error else { panic!("{error:?}") };
        assert_eq!(refusal.reason, RefusalReason::WrongProof);
    }
}
