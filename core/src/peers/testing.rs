//! Cores with links, for tests: all on one thread, each with a ring of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_net::peer::{Acquaintance, Bounds, GroupNumber, NodeNumber, Own, Secret, Versions};
use basalt_net::ring::{Ring, RingOptions};
use basalt_net::socket;
use basalt_raft::{Group, NodeId, Unreached};

use super::{Hooks, Peers, Place, Surroundings};
use crate::cluster::members::LedGroup;
use crate::ids::CoreId;
use crate::mail::HandedPeer;

/// The longest wait of a test for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster of all tests.
pub(crate) const CLUSTER: [u8; 20] = [7; 20];

/// A listener on a free port, and its address.
pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = socket::listen("127.0.0.1:0".parse().unwrap(), 1024).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A node as it greets.
pub(crate) fn own(node: u64, core_count: u16) -> Own {
    Own {
        cluster: CLUSTER,
        node: NodeNumber(node),
        incarnation: 5,
        core_count,
        versions: Versions::OWN,
        bounds: Bounds::default(),
        secret: Secret::new(b"secret"),
    }
}

/// Places of groups, as a test says.
#[derive(Clone)]
pub(crate) enum Told {
    Here(Group),
    Core(u16),
    Opening,
}

/// The surroundings of a core, as a test says.
pub(crate) struct Known {
    pub(crate) own: RefCell<Own>,
    pub(crate) addresses: RefCell<HashMap<u64, SocketAddr>>,
    pub(crate) acquaintances: RefCell<HashMap<u64, Acquaintance>>,
    pub(crate) places: RefCell<HashMap<u64, Told>>,
    pub(crate) met: RefCell<Vec<(u64, u64)>>,
    /// Groups and nodes that the map does not have among theirs.
    pub(crate) without_place: RefCell<Vec<(u64, u64)>>,
    pub(crate) disk_is_well: Cell<bool>,
}

impl Known {
    pub(crate) fn new(own: Own) -> Rc<Known> {
        Rc::new(Known {
            own: RefCell::new(own),
            addresses: RefCell::default(),
            acquaintances: RefCell::default(),
            places: RefCell::default(),
            met: RefCell::default(),
            without_place: RefCell::default(),
            disk_is_well: Cell::new(true),
        })
    }
}

impl Surroundings for Known {
    fn own(&self) -> Own {
        self.own.borrow().clone()
    }

    fn number(&self) -> Option<NodeNumber> {
        Some(self.own.borrow().node)
    }

    fn address(&self, node: NodeNumber) -> Option<SocketAddr> {
        self.addresses.borrow().get(&node.0).copied()
    }

    fn acquaintance(&self, node: NodeNumber) -> Acquaintance {
        self.acquaintances.borrow().get(&node.0).copied().unwrap_or(Acquaintance::Unknown)
    }

    fn met(&self, node: NodeNumber, incarnation: u64) {
        self.met.borrow_mut().push((node.0, incarnation));
    }

    fn may_have_place(&self, group: GroupNumber, node: NodeNumber) -> bool {
        !self.without_place.borrow().contains(&(group.0, node.0))
    }

    fn goes_on_without(&self, group: &Group, node: NodeNumber) -> bool {
        let now = Instant::now();
        LedGroup::of(&group.members(), group.node(), now).goes_on_without(NodeId(node.0), now)
    }

    fn disk_is_well(&self) -> bool {
        self.disk_is_well.get()
    }

    fn place(&self, group: GroupNumber) -> Place {
        match self.places.borrow().get(&group.0) {
            None => Place::Nowhere,
            Some(Told::Here(group)) => Place::Here(group.clone()),
            Some(Told::Core(core)) => Place::Core(CoreId(*core)),
            Some(Told::Opening) => Place::Opening,
        }
    }
}

/// A core with links.
pub(crate) struct TestCore {
    pub(crate) id: CoreId,
    pub(crate) ring: Ring,
    pub(crate) peers: Peers,
    pub(crate) known: Rc<Known>,
    /// Connections for snapshots that have come.
    pub(crate) snapshots: Rc<RefCell<Vec<HandedPeer>>>,
    /// Added to the clock that the links see.
    pub(crate) later: Cell<Duration>,
}

/// Hooks of a core that never sleeps and has nothing to do with snapshots but to note those who bring some.
pub(crate) fn hooks(snapshots: &Rc<RefCell<Vec<HandedPeer>>>) -> Hooks {
    let taken = snapshots.clone();
    Hooks {
        send_snapshot: Box::new(|_, _, _| {
            Box::pin(std::future::ready(Err(Unreached::Unreachable("no snapshots here".to_owned()))))
        }),
        take_snapshots: Box::new(move |peer| taken.borrow_mut().push(peer)),
        wake: Box::new(|| {}),
    }
}

impl TestCore {
    pub(crate) fn new(id: u16, own: Own) -> TestCore {
        let (known, id, snapshots) = (Known::new(own), CoreId(id), Rc::<RefCell<Vec<HandedPeer>>>::default());
        let hooks = hooks(&snapshots);
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let peers = Peers::new(id, known.clone(), hooks);
        TestCore { id, ring, peers, known, snapshots, later: Cell::default() }
    }

    /// Has the core accept for its node, and returns the address.
    pub(crate) fn listen(&mut self) -> SocketAddr {
        let (listener, address) = listener();
        self.peers.listen(listener, &mut self.ring);
        address
    }

    pub(crate) fn node(&self) -> NodeNumber {
        self.known.own.borrow().node
    }

    /// A turn; returns connections for other cores of the node.
    pub(crate) fn turn(&mut self) -> Vec<(CoreId, HandedPeer)> {
        let now = Instant::now() + self.later.get();
        self.peers.fill(&mut self.ring, now);
        self.ring.turn(None).unwrap();
        while let Some(event) = self.ring.next_event() {
            if let Some(event) = self.peers.take(event, &mut self.ring, now) {
                panic!("{event:?} is of nobody else");
            }
        }
        self.peers.tick(&mut self.ring, now);
        self.peers.take_handed()
    }

    /// The count of an error's name.
    pub(crate) fn errors(&self, name: &str) -> u64 {
        let figures = self.peers.figures();
        figures.errors.iter().find(|&(known, _)| known == name).expect("it is the name of an error").1
    }
}

/// Turns all cores once, and lets tasks run.
pub(crate) async fn turn(cores: &mut [&mut TestCore]) {
    let now = Instant::now();
    for at in 0..cores.len() {
        let node = cores[at].node();
        for (to, peer) in cores[at].turn() {
            let core = cores.iter_mut().find(|core| core.id == to && core.node() == node).expect("the core is there");
            let TestCore { peers, ring, .. } = &mut **core;
            peers.adopt(peer, ring, now);
        }
    }
    glommio::timer::sleep(Duration::from_micros(50)).await;
}

/// Turns the cores until `is_so`.
pub(crate) async fn until(what: &str, cores: &mut [&mut TestCore], mut is_so: impl FnMut(&[&mut TestCore]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(cores) {
        let figures: Vec<_> = cores.iter().map(|core| core.peers.figures()).collect();
        assert!(Instant::now() < deadline, "not so: {what}: {figures:#?}");
        turn(cores).await;
    }
}

/// Starts what becomes of `future`, and gives the place where it is left.
pub(crate) fn begin<T: 'static>(future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let place = Rc::new(RefCell::new(None));
    let left = place.clone();
    glommio::spawn_local(async move {
        let value = future.await;
        *left.borrow_mut() = Some(value);
    })
    .detach();
    place
}

/// Turns the cores until `future` is there.
pub(crate) async fn wait<T: 'static>(
    what: &str,
    cores: &mut [&mut TestCore],
    future: impl Future<Output = T> + 'static,
) -> T {
    let place = begin(future);
    until(what, cores, |_| place.borrow().is_some()).await;
    place.take().expect("it is there")
}

/// Runs a test on an executor of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    glommio::LocalExecutorBuilder::default().make().unwrap().run(test);
}
