//! The orders to the keeper of the groups, which blocks while it carries one out.
//!
//! Those of clients wait until it has the time, and no more than [`limits::KEEPER_ORDERS_MAX`] of them: others are refused. All
//! others are bounded by what they are about: a group that has failed is ordered to be opened once, and one order to follow the map
//! stands for all maps that come before it is carried out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Order;
use crate::limits;

/// The way of orders to the keeper.
pub struct Orders {
    give: Box<dyn Fn(Order) + Send + Sync>,
    /// Orders of clients that the keeper has not begun to carry out.
    of_clients: AtomicUsize,
    /// True while an order to follow the map waits.
    follows_map: AtomicBool,
}

impl Orders {
    /// Orders that `give` hands to the keeper.
    pub fn new(give: impl Fn(Order) + Send + Sync + 'static) -> Orders {
        Orders { give: Box::new(give), of_clients: AtomicUsize::new(0), follows_map: AtomicBool::new(false) }
    }

    /// Gives an order that no client can repeat at will.
    pub fn give(&self, order: Order) {
        (self.give)(order);
    }

    /// Makes room for an order of a client, which is to be given with [`Orders::give`]; false if too many wait.
    pub fn reserve(&self) -> bool {
        let has_room = |count: usize| (count < limits::KEEPER_ORDERS_MAX).then_some(count + 1);
        self.of_clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).is_ok()
    }

    /// Has the keeper make the node's groups those of the map.
    pub fn follow_map(&self) {
        if !self.follows_map.swap(true, Ordering::AcqRel) {
            (self.give)(Order::FollowMap);
        }
    }

    /// Notes that the keeper carries an order out from now on. What comes after is another one.
    pub fn begin(&self, order: &Order) {
        match order {
            Order::Meet(..) | Order::GiveUp(..) | Order::Reset(_) => {
                let _ = self.of_clients.fetch_sub(1, Ordering::Relaxed);
            }
            Order::FollowMap => self.follows_map.store(false, Ordering::Release),
            Order::Reopen(_) | Order::GivenUp(_) | Order::ReplicaOut(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ids::{CoreId, Ticket};
    use crate::node::Asker;

    #[test]
    fn orders_of_clients_are_refused_when_many_wait_and_maps_are_followed_once() {
        let given: Arc<Mutex<Vec<Order>>> = Arc::default();
        let taken = given.clone();
        let orders = Orders::new(move |order| taken.lock().unwrap().push(order));
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let meet = Order::Meet(Asker { core: CoreId(0), ticket: Ticket(1) }, address);
        for _ in 0..limits::KEEPER_ORDERS_MAX {
            assert!(orders.reserve());
            orders.give(meet);
        }
        assert!(!orders.reserve(), "the keeper has begun none of them");
        orders.begin(&meet);
        assert!(orders.reserve());
        assert!(!orders.reserve());

        given.lock().unwrap().clear();
        orders.follow_map();
        orders.follow_map();
        assert_eq!(*given.lock().unwrap(), [Order::FollowMap], "one stands for both");
        // One that the keeper gives itself, since it is behind.
        orders.begin(&Order::FollowMap);
        orders.follow_map();
        assert_eq!(given.lock().unwrap().len(), 2, "the map may have changed after the keeper looked");
    }
}
