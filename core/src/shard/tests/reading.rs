//! Reads that wait for a barrier. The group has one voter and needs none: tests ask for them.

use super::*;

/// Lets the group and the barriers run until there are so many replies.
async fn until_replied(shard: &mut Shard, host: &mut Host, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while host.replies.len() < count {
        assert!(Instant::now() < deadline, "{:?}", host.replies);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, host);
        shard.group.drain_completions();
        glommio::timer::sleep(limits::HELD_RETRY).await;
        shard.take_outcomes(1, host);
    }
}

fn of_client(client: u32, ticket: u32) -> Origin {
    Origin { client, ..origin(ticket) }
}

#[test]
fn the_only_voter_of_a_group_reads_at_once() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(origin(1), Mode::Read, &command(&["GET", "key"]), 1, &mut host);
        assert_eq!((host.replies.len(), shard.reading.begun(), shard.reads_wait()), (1, 0, false));
    });
}

#[test]
fn one_barrier_serves_all_reads_of_a_turn_and_the_next_one_those_that_come_meanwhile() {
    const READS: u32 = 50;
    with_shard(log_options(), |mut shard| async move {
        let (mut host, get) = (Host::default(), command(&["GET", "key"]));
        shard.reading.is_forced = true;
        (0..READS).for_each(|ticket| shard.submit(of_client(ticket, ticket), Mode::Read, &get, 1, &mut host));
        assert_eq!(shard.reading.begun(), 0, "it begins when all have come");
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        (READS..2 * READS).for_each(|ticket| shard.submit(of_client(ticket, ticket), Mode::Read, &get, 1, &mut host));
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        shard.take_outcomes(1, &mut host);
        assert_eq!((host.replies.len(), shard.reading.begun()), (0, 1), "one at a time");

        until_replied(&mut shard, &mut host, READS as usize).await;
        assert_eq!(host.replies.len(), READS as usize, "no read goes by a barrier that began before it came");
        until_replied(&mut shard, &mut host, 2 * READS as usize).await;
        let expected: Vec<_> = (0..2 * READS).map(|ticket| (ticket, "$-1\r\n".to_owned())).collect();
        assert_eq!((&host.replies, shard.reading.begun()), (&expected, 2));
        assert!(shard.reading.is_empty() && shard.reading.bytes() == 0 && !shard.has_replies() && !shard.is_busy());
    });
}

#[test]
fn a_read_of_what_the_replica_has_asks_nobody_as_long_as_the_replica_is_sure_of_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, get) = (Host::default(), command(&["GET", "key"]));
        shard.reading.is_forced = true;
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while !shard.may_read_locally() {
            assert!(Instant::now() < deadline, "its own term is not applied");
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
        }
        shard.submit(origin(1), Mode::Local, &get, 1, &mut host);
        assert_eq!((host.replies.len(), shard.reading.begun()), (1, 0));
        // What its connection has sent before is answered before.
        shard.submit(origin(2), Mode::Read, &get, 1, &mut host);
        shard.submit(origin(3), Mode::Local, &get, 1, &mut host);
        assert_eq!(host.replies.len(), 1);
        until_replied(&mut shard, &mut host, 3).await;
        assert_eq!(host.replies.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 2, 3]);
        // One that is not sure asks, as for any other read.
        shard.close_to_clients();
        shard.submit(of_client(8, 4), Mode::Local, &get, 1, &mut host);
        assert_eq!(host.replies.len(), 3);
        until_replied(&mut shard, &mut host, 4).await;
        assert_eq!(shard.reading.begun(), 2);
    });
}

#[test]
fn what_a_connection_sends_behind_a_read_that_waits_is_run_behind_it() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.reading.is_forced = true;
        shard.submit(origin(1), Mode::Read, &command(&["GET", "key"]), 1, &mut host);
        assert!(shard.has_parked(CORE, 7) && !shard.has_parked(CORE, 8));
        shard.submit(origin(2), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.submit(origin(3), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        // Another one's write waits for nobody.
        shard.submit(of_client(8, 4), Mode::Write, &command(&["SET", "other", "2"]), 1, &mut host);
        assert_eq!(shard.batches.open.write_count, 1);
        // Nor does a read that stands in the batch being collected.
        shard.submit(of_client(8, 5), Mode::ReadInOrder, &command(&["GET", "other"]), 1, &mut host);
        until_replied(&mut shard, &mut host, 5).await;
        host.replies.sort();
        let replies: Vec<&str> = host.replies.iter().map(|(_, reply)| reply.as_str()).collect();
        assert_eq!(replies, ["$-1\r\n", "+OK\r\n", "$1\r\n1\r\n", "+OK\r\n", "$1\r\n2\r\n"]);
        assert!(!shard.has_parked(CORE, 7));
    });
}

#[test]
fn a_read_that_would_join_a_batch_on_its_way_waits_for_a_barrier_first() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.reading.is_forced = true;
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        assert_eq!(shard.batches.in_flight.borrow()[0].operations.len(), 1);
        until_replied(&mut shard, &mut host, 2).await;
        host.replies.sort();
        assert_eq!(host.replies, [(1, "+OK\r\n".to_owned()), (2, "$1\r\n1\r\n".to_owned())]);
        assert_eq!(shard.reading.begun(), 1);
    });
}

#[test]
fn reads_that_nobody_confirms_are_refused_and_what_is_behind_them_goes_on() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host::default(), Instant::now());
        shard.reading.is_forced = true;
        shard.submit(origin(1), Mode::Read, &command(&["GET", "key"]), 1, &mut host);
        shard.submit(origin(2), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        shard.submit(of_client(8, 3), Mode::Read, &command(&["GET", "key"]), 1, &mut host);
        // The barrier has no chance to run meanwhile.
        let timeout = Some(Duration::from_secs(60));
        (1..=61).for_each(|second| shard.abandon_overdue(start + Duration::from_secs(second), timeout, &mut host));
        assert!(host.replies.len() == 1 && host.replies[0].1.starts_with("-CLUSTERDOWN "), "{:?}", host.replies);
        host.replies.clear();
        // Its end comes too late, and passes for nobody else's.
        until_replied(&mut shard, &mut host, 2).await;
        host.replies.sort();
        assert_eq!(host.replies[0], (2, "+OK\r\n".to_owned()));
        assert_eq!((host.replies[1].0, shard.reading.begun()), (3, 2));

        // A read of a batch that was refused is not run where nobody knows who leads.
        host.replies.clear();
        shard.submit(origin(4), Mode::Write, &command(&["SET", "key", "2"]), 1, &mut host);
        shard.submit(origin(5), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        let batch = shard.take_open_batch(start, 1, STRING_BYTES_MAX, Place::Open).0;
        shard.refuse(&batch, &[], &ProposeError::NotLeader { leader: None }, &mut host);
        assert!(host.replies.len() == 2 && host.replies.iter().all(|(_, reply)| reply.starts_with("-CLUSTERDOWN ")));
        shard.group.shutdown().await.unwrap();
        host.replies.clear();
        shard.submit(origin(6), Mode::Read, &command(&["GET", "key"]), 1, &mut host);
        until_replied(&mut shard, &mut host, 1).await;
        assert!(host.replies[0].1.starts_with('-'), "{:?}", host.replies);
    });
}

#[test]
fn reads_that_wait_are_bounded_and_leave_as_there_is_room_for_their_replies() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, get) = (Host::default(), command(&["GET", "key"]));
        shard.reading.is_forced = true;
        for number in 0..limits::WAITING_REQUESTS_MAX as u32 {
            assert!(shard.has_room_for(Mode::Read) && shard.has_room_for(Mode::Write), "after {number}");
            shard.submit(of_client(number, number), Mode::Read, &get, 1, &mut host);
        }
        assert!(!shard.has_room_for(Mode::Read) && !shard.has_room_for(Mode::Write));
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        host.is_full = true;
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while !shard.has_replies() {
            assert!(Instant::now() < deadline, "the barrier is not passed");
            glommio::timer::sleep(limits::HELD_RETRY).await;
        }
        shard.take_outcomes(1, &mut host);
        assert!(host.replies.is_empty() && shard.has_replies(), "a core with work must not sleep");
        host.is_full = false;
        shard.take_outcomes(1, &mut host);
        assert_eq!(host.replies.len(), limits::REQUESTS_PER_TURN, "a turn has its bound");
        while shard.has_replies() {
            shard.take_outcomes(1, &mut host);
        }
        assert_eq!((host.replies.len(), shard.has_room_for(Mode::Read)), (limits::WAITING_REQUESTS_MAX, true));
    });
}
