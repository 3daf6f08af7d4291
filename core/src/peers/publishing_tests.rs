//! Messages that a core of one node publishes and another node hears.

use basalt_net::peer::{NodeNumber, PublishedMessage};

use super::testing::{TestCore, listener, own, run, turn, until};
use crate::limits::peers as limits;

const OTHER: NodeNumber = NodeNumber(2);

/// A core that publishes, and one of node 2 that hears it.
fn two_nodes() -> (TestCore, TestCore) {
    let (publisher, mut other) = (TestCore::new(0, own(1, 1)), TestCore::new(0, own(2, 1)));
    publisher.known.addresses.borrow_mut().insert(OTHER.0, other.listen());
    (publisher, other)
}

/// Publishes a number in so many digits.
fn publish(core: &TestCore, number: usize, bytes: usize) {
    let number = number.to_string();
    let message = "0".repeat(bytes.saturating_sub(number.len())) + &number;
    core.peers.publish([OTHER].into_iter(), b"news", message.as_bytes());
}

/// The numbers of the messages that the core takes over now.
fn take(core: &TestCore) -> Vec<usize> {
    let arrived = std::iter::from_fn(|| core.peers.take_arrived());
    let number = |PublishedMessage { channel, message }: PublishedMessage| {
        assert_eq!(channel, "news");
        std::str::from_utf8(&message).unwrap().parse().unwrap()
    };
    arrived.map(number).collect()
}

#[test]
fn messages_are_heard_once_each_and_in_their_order_and_their_node_is_told() {
    const MESSAGES: usize = 5_000;
    run(async {
        let (publisher, other) = &mut two_nodes();
        let (mut published, mut heard) = (0, Vec::new());
        while published < MESSAGES {
            // Some turns publish much, some little.
            for _ in 0..if published % 3 == 0 { 1 } else { 1_999 } {
                if published < MESSAGES {
                    publish(publisher, published, 1);
                    published += 1;
                }
            }
            turn(&mut [publisher, other]).await;
            heard.extend(take(other));
        }
        until("all are heard", &mut [publisher, other], |cores| {
            heard.extend(take(cores[1]));
            cores[0].peers.figures().published_out == MESSAGES as u64
        })
        .await;
        assert!(heard.into_iter().eq(0..MESSAGES));
        let figures = (publisher.peers.figures(), other.peers.figures());
        assert_eq!((figures.0.published_lost, figures.0.dials, figures.1.published_in), (0, 1, MESSAGES as u64));
        assert_eq!(figures.1.published_refused, 0);
        assert!(!publisher.peers.has_work() && publisher.peers.published_bytes() + other.peers.published_bytes() == 0);
    });
}

#[test]
fn a_node_that_takes_nothing_is_given_no_more_than_a_few_batches_and_what_finds_no_room_is_dropped() {
    const BYTES: usize = 256 << 10;
    const MESSAGES: usize = 2 * limits::PUBLISHED_QUEUE_BYTES / BYTES;
    run(async {
        let (publisher, other) = &mut two_nodes();
        publish(publisher, 0, BYTES);
        until("it is there", &mut [publisher, other], |cores| cores[1].peers.has_arrived()).await;
        (1..MESSAGES).for_each(|number| publish(publisher, number, BYTES));
        let lost = publisher.peers.figures().published_lost as usize;
        assert!(MESSAGES / 4 < lost && lost <= MESSAGES / 2, "{lost} of {MESSAGES}");
        let batches = limits::PUBLISHED_BATCHES as u64;
        until("some batches are there", &mut [publisher, other], |cores| {
            cores[1].peers.figures().messages_in == batches
        })
        .await;
        assert!(!publisher.peers.has_work(), "the others wait for an answer");
        assert!(publisher.peers.published_bytes() > limits::PUBLISHED_QUEUE_BYTES - limits::PUBLISHED_UNANSWERED_BYTES);

        let mut heard = Vec::new();
        until("the others are heard", &mut [publisher, other], |cores| {
            heard.extend(take(cores[1]));
            cores[0].peers.figures().published_out as usize == MESSAGES - lost
        })
        .await;
        assert!(heard.into_iter().eq(0..MESSAGES - lost), "those that came too late are dropped");
        assert_eq!(publisher.peers.figures().published_lost as usize, lost);
    });
}

#[test]
fn what_a_node_that_is_away_does_not_hear_is_lost_and_it_hears_again_when_it_is_back() {
    run(async {
        let (publisher, other) = &mut two_nodes();
        publish(publisher, 1, 1);
        until("it is there", &mut [publisher, other], |cores| cores[1].peers.has_arrived()).await;

        // It goes before it has answered: that one may have been heard, and is not said again.
        let now = std::time::Instant::now();
        other.peers.stop(&mut other.ring, now);
        until("its end is seen", &mut [publisher, other], |cores| cores[0].peers.figures().dialed_open == 0).await;
        assert_eq!(other.peers.take_arrived(), None, "nobody takes anything of a node that stops");
        let (closed, address) = listener();
        drop(closed);
        publisher.known.addresses.borrow_mut().insert(OTHER.0, address);
        publish(publisher, 2, 1);
        until("both are lost", &mut [publisher], |cores| cores[0].peers.figures().published_lost == 2).await;
        assert!(!publisher.peers.has_work() && publisher.peers.published_bytes() == 0);

        let mut next = TestCore::new(0, own(2, 1));
        publisher.known.addresses.borrow_mut().insert(OTHER.0, next.listen());
        let (mut number, mut heard) = (3, Vec::new());
        until("it hears again", &mut [publisher, &mut next], |cores| {
            publish(cores[0], number, 1);
            number += 1;
            heard.extend(take(cores[1]));
            !heard.is_empty()
        })
        .await;
        assert!(heard[0] >= 3, "{heard:?}");
        until("its answer is there", &mut [publisher, &mut next], |cores| {
            heard.extend(take(cores[1]));
            cores[0].peers.figures().published_out > 0
        })
        .await;
    });
}

#[test]
fn a_message_that_is_too_long_for_its_node_is_lost_alone() {
    run(async {
        let (publisher, other) = &mut two_nodes();
        let too_long = vec![b'x'; 70 << 20];
        publish(publisher, 1, 1);
        publisher.peers.publish([OTHER].into_iter(), b"news", &too_long);
        // Else it would fill the queue.
        turn(&mut [publisher, other]).await;
        publish(publisher, 2, 5 << 20);
        let mut heard = Vec::new();
        until("the others are heard", &mut [publisher, other], |cores| {
            heard.extend(take(cores[1]));
            let figures = cores[0].peers.figures();
            figures.published_out + figures.published_lost == 3
        })
        .await;
        let figures = publisher.peers.figures();
        assert_eq!((heard, figures.published_lost, figures.cut_off), (vec![1, 2], 1, 0));
    });
}
