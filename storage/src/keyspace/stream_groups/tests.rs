//! Consumer groups compared with plain maps, and the bytes of their rows.

use proptest::prelude::*;

use super::*;
use crate::keyspace::support::Shard;

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Destroy(u8),
    Assign(u8, u8, u64),
    Acknowledge(u8, u64),
    RemoveConsumer(u8, u8),
    Copy,
}

fn step() -> impl Strategy<Value = Step> {
    let group = || 0..2u8;
    prop_oneof![
        2 => group().prop_map(Step::Create),
        1 => group().prop_map(Step::Destroy),
        8 => (group(), 0..3u8, 0..12u64).prop_map(|(group, consumer, id)| Step::Assign(group, consumer, id)),
        6 => (group(), 0..12u64).prop_map(|(group, id)| Step::Acknowledge(group, id)),
        1 => (group(), 0..3u8).prop_map(|(group, consumer)| Step::RemoveConsumer(group, consumer)),
        1 => Just(Step::Copy),
    ]
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Model {
    consumers: BTreeMap<Vec<u8>, u64>,
    pending: BTreeMap<StreamId, Pending>,
}

fn id(ms: u64) -> StreamId {
    StreamId { ms, sequence: 7 }
}

/// All that is known of the groups at `key`, with everything that is there twice compared.
fn groups(shard: &mut Shard, key: &[u8]) -> BTreeMap<Vec<u8>, Model> {
    let keyspace = shard.keyspace();
    let Some(stream) = keyspace.stream(key).unwrap() else { return BTreeMap::new() };
    let (mut found, mut rows) = (BTreeMap::new(), 0);
    stream
        .each_group(&keyspace, &mut |group| {
            let mut model = Model::default();
            let all = (StreamId::MIN, StreamId::MAX);
            group.each_pending(&keyspace, &stream, all, Direction::Forward, &mut |id, pending| {
                assert_eq!(group.pending(&keyspace, &stream, id)?, Some(pending.clone()));
                model.pending.insert(id, pending);
                Ok(ControlFlow::Continue(()))
            })?;
            let mut backward = Vec::new();
            group.each_pending(&keyspace, &stream, all, Direction::Backward, &mut |id, _| {
                backward.insert(0, id);
                Ok(ControlFlow::Continue(()))
            })?;
            assert!(backward.iter().eq(model.pending.keys()));
            group.each_consumer(&keyspace, &stream, &mut |name, consumer| {
                let mut owned = Vec::new();
                group.each_owned(&keyspace, &stream, &consumer, StreamId::MIN, &mut |id| {
                    owned.push(id);
                    Ok(ControlFlow::Continue(()))
                })?;
                let pending = model.pending.iter().filter(|(_, pending)| *pending.consumer == *name);
                assert!(pending.map(|(id, _)| id).eq(&owned), "{name:?} has {owned:?}");
                assert_eq!(consumer.pending, owned.len() as u64);
                model.consumers.insert(name.to_vec(), consumer.pending);
                Ok(ControlFlow::Continue(()))
            })?;
            assert_eq!(group.pending_count(), model.pending.len() as u64);
            assert_eq!(group.consumer_count(), model.consumers.len() as u64);
            rows += 1 + model.consumers.len() + 2 * model.pending.len();
            found.insert(group.name().to_vec(), model);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(found.len(), stream.group_count() as usize);
    assert_eq!(shard.element_count(key), rows, "no row is left over");
    found
}

proptest! {
    #[test]
    fn groups_are_maps_of_what_is_pending(steps in proptest::collection::vec(step(), 1..120)) {
        let mut shard = Shard::default();
        let mut model: BTreeMap<Vec<u8>, Model> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            let mut keyspace = shard.keyspace();
            let mut stream = keyspace.stream_or_new(b"k").unwrap();
            let name = |number: u8| vec![b'g'; usize::from(number)];
            let opened = |keyspace: &Keyspace<'_>, stream: &Stream, number| stream.group(keyspace, &name(number)).unwrap();
            match *step {
                Step::Create(number) => if opened(&keyspace, &stream, number).is_none() {
                    let group = stream.add_group(&name(number), id(3), Some(2)).unwrap();
                    group.save(&mut keyspace, &stream).unwrap();
                    model.insert(name(number), Model::default());
                },
                Step::Destroy(number) => if let Some(group) = opened(&keyspace, &stream, number) {
                    stream.remove_group(&mut keyspace, group).unwrap();
                    model.remove(&name(number));
                },
                Step::Assign(number, consumer, ms) => if let Some(mut group) = opened(&keyspace, &stream, number) {
                    prop_assert_eq!((group.last_delivered, group.entries_read), (id(3), Some(2)));
                    let consumer = vec![b'c', consumer];
                    group.consumer_or_new(&keyspace, &stream, &consumer).unwrap();
                    let before = group.pending(&keyspace, &stream, id(ms)).unwrap();
                    let after = Pending { consumer: consumer.clone().into(), delivered_ms: at as u64, deliveries: ms };
                    group.assign(&mut keyspace, &stream, id(ms), before.as_ref(), &after).unwrap();
                    group.save(&mut keyspace, &stream).unwrap();
                    let of_group = model.get_mut(&name(number)).unwrap();
                    prop_assert_eq!(of_group.pending.insert(id(ms), after), before);
                    of_group.consumers.insert(consumer, 0);
                },
                Step::Acknowledge(number, ms) => if let Some(mut group) = opened(&keyspace, &stream, number) {
                    // As often as rows must have gone before the lowest one is looked for.
                    group.removed += ACKNOWLEDGED_MAX / 2;
                    if let Some(before) = group.pending(&keyspace, &stream, id(ms)).unwrap() {
                        group.acknowledge(&mut keyspace, &stream, id(ms), &before).unwrap();
                    }
                    group.save(&mut keyspace, &stream).unwrap();
                    model.get_mut(&name(number)).unwrap().pending.remove(&id(ms));
                },
                Step::RemoveConsumer(number, consumer) => if let Some(mut group) = opened(&keyspace, &stream, number) {
                    let consumer = vec![b'c', consumer];
                    let pending = group.remove_consumer(&mut keyspace, &stream, &consumer).unwrap();
                    group.save(&mut keyspace, &stream).unwrap();
                    let of_group = model.get_mut(&name(number)).unwrap();
                    let before = of_group.pending.len();
                    of_group.pending.retain(|_, pending| *pending.consumer != *consumer);
                    of_group.consumers.remove(&consumer);
                    prop_assert_eq!(pending, (before - of_group.pending.len()) as u64);
                },
                Step::Copy => {
                    stream.save(&mut keyspace);
                    keyspace.rename(b"k", b"l").unwrap();
                    keyspace.rename(b"l", b"k").unwrap();
                    stream = keyspace.stream_or_new(b"k").unwrap();
                }
            }
            stream.save(&mut keyspace);
            for of_group in model.values_mut() {
                for (name, pending) in &mut of_group.consumers {
                    *pending = of_group.pending.values().filter(|pending| *pending.consumer == **name).count() as u64;
                }
            }
            prop_assert_eq!(&groups(&mut shard, b"k"), &model);
        }
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let mut shard = Shard::default();
    let mut keyspace = shard.keyspace_at(0x0102);
    let mut stream = keyspace.stream_or_new(b"k").unwrap();
    stream.add(&mut keyspace, StreamId { ms: 5, sequence: 1 }, &[b"f", b"v"]);
    drop(stream.add_group(b"other", StreamId::MIN, None).unwrap());
    let mut group = stream.add_group(b"group", StreamId { ms: 5, sequence: 1 }, None).unwrap();
    group.consumer_or_new(&keyspace, &stream, b"first").unwrap();
    group.consumer_or_new(&keyspace, &stream, b"second").unwrap();
    let pending = Pending { consumer: b"second"[..].into(), delivered_ms: 0x0101, deliveries: 3 };
    group.assign(&mut keyspace, &stream, StreamId { ms: 5, sequence: 1 }, None, &pending).unwrap();
    group.save(&mut keyspace, &stream).unwrap();
    stream.save(&mut keyspace);
    let mut rows = Vec::new();
    let visit = &mut |element: &[u8], value: &[u8]| {
        rows.push((element.escape_ascii().to_string(), value.escape_ascii().to_string()));
        ControlFlow::Continue(())
    };
    keyspace.scan_elements(&stream.collection, Bound::Unbounded, Bound::Unbounded, Direction::Forward, visit).unwrap();
    let eight = |last: &str| format!(r"\x00\x00\x00\x00\x00\x00\x00\x{last}");
    let (one, id) = (r"\x00\x00\x00\x01", format!("{}{}", eight("05"), eight("01")));
    let expected = [
        (format!(r"\x00{id}"), r"\x01f\x01v".to_owned()),
        (
            r"\x01group".to_owned(),
            format!(
                r"{one}{id}{}{}{id}{id}\x00\x00\x00\x00{}{}",
                r"\xff".repeat(8),
                eight("01"),
                eight("02"),
                eight("02")
            ),
        ),
        (format!(r"\x02{one}first"), format!(r"{}\x00\x00\x00\x00\x00\x00\x01\x02{}", eight("00"), eight("00"))),
        (format!(r"\x02{one}second"), format!(r"{}\x00\x00\x00\x00\x00\x00\x01\x02{}", eight("01"), eight("01"))),
        (format!(r"\x03{one}{id}"), format!(r"\x00\x00\x00\x00\x00\x00\x01\x01{}second", eight("03"))),
        (format!(r"\x04{one}{}{id}", eight("01")), String::new()),
    ];
    assert_eq!(rows, expected);
    let fields = keyspace.collection(b"k", crate::keyspace::Type::Stream).unwrap().unwrap();
    let expected = format!(r"{id}{id}{}{}{}\x00\x00\x00\x02\x00\x00\x00\x02", eight("00"), eight("00"), eight("01"));
    assert_eq!(fields.fields().escape_ascii().to_string(), expected);
}

#[test]
fn a_stream_without_groups_is_the_one_that_programs_before_there_were_some_have_written() {
    let mut shard = Shard::default();
    let mut keyspace = shard.keyspace();
    let mut stream = keyspace.stream_or_new(b"k").unwrap();
    let group = stream.add_group(b"group", StreamId::MIN, None).unwrap();
    stream.remove_group(&mut keyspace, group).unwrap();
    stream.save(&mut keyspace);
    let collection = keyspace.collection(b"k", crate::keyspace::Type::Stream).unwrap().unwrap();
    assert_eq!(collection.fields(), [0; 56]);
}

#[test]
fn what_was_acknowledged_in_order_is_not_walked_over() {
    let mut shard = Shard::default();
    let mut keyspace = shard.keyspace();
    let mut stream = keyspace.stream_or_new(b"k").unwrap();
    let mut group = stream.add_group(b"group", StreamId::MIN, None).unwrap();
    group.consumer_or_new(&keyspace, &stream, b"c").unwrap();
    let pending = Pending { consumer: b"c"[..].into(), delivered_ms: 1, deliveries: 1 };
    let count = u64::from(3 * ACKNOWLEDGED_MAX);
    for ms in 1..=count {
        group.assign(&mut keyspace, &stream, id(ms), None, &pending).unwrap();
    }
    group.save(&mut keyspace, &stream).unwrap();
    for ms in 1..count {
        let mut group = stream.group(&keyspace, b"group").unwrap().unwrap();
        group.acknowledge(&mut keyspace, &stream, id(ms), &pending).unwrap();
        group.save(&mut keyspace, &stream).unwrap();
        let group = stream.group(&keyspace, b"group").unwrap().unwrap();
        assert!(group.lowest >= id(ms.saturating_sub(ACKNOWLEDGED_MAX.into())), "{:?} at {ms}", group.lowest);
    }
    let mut group = stream.group(&keyspace, b"group").unwrap().unwrap();
    group.acknowledge(&mut keyspace, &stream, id(count), &pending).unwrap();
    group.save(&mut keyspace, &stream).unwrap();
    let group = stream.group(&keyspace, b"group").unwrap().unwrap();
    assert_eq!((group.lowest, group.highest, group.pending), (StreamId::MAX, StreamId::MIN, 0));
}
