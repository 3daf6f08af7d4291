//! Number of a core's clients that speak, and how often: whether it is worth while to gather requests before looking at them.
//!
//! What a newcomer would get wrong: waking up is what costs, several times as much as a request. A core that wakes for each
//! request of fifty clients has no time left for them; one that looks every 200 µs serves all that came with one wake-up.
//! But a core with few clients that wait for each other's replies must look at once, or it is what they all wait for.

use std::time::Instant;

use crate::limits;

/// The window in which a client was heard last; 0 if never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeardIn(u32);

/// Number of clients of one core that spoke lately, and how often.
#[derive(Debug)]
pub struct Traffic {
    /// The number of the current window.
    window: u32,
    since: Instant,
    receive_count: usize,
    client_count: usize,
    /// Number of clients that spoke in the last whole window, if so often that it is worth while to gather; 0 otherwise.
    busy_clients: usize,
}

impl Traffic {
    /// No traffic yet.
    pub fn new(now: Instant) -> Traffic {
        Traffic { window: 1, since: now, receive_count: 0, client_count: 0, busy_clients: 0 }
    }

    /// Notes that a client has sent something; `heard_in` is its own.
    #[inline]
    pub fn heard(&mut self, heard_in: &mut HeardIn) {
        self.receive_count += 1;
        if heard_in.0 != self.window {
            heard_in.0 = self.window;
            self.client_count += 1;
        }
    }

    /// Judges a window when it is over. Cheap to call every turn.
    pub fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < limits::TRAFFIC_WINDOW {
            return;
        }
        let gathers_max = (elapsed.as_micros() / limits::GATHER.as_micros()) as usize;
        let is_busy = self.client_count >= limits::GATHER_CLIENTS_MIN
            && self.receive_count >= gathers_max * limits::GATHER_RECEIVES_MIN;
        self.busy_clients = if is_busy { self.client_count } else { 0 };
        self.window = self.window.wrapping_add(1).max(1);
        (self.since, self.receive_count, self.client_count) = (now, 0, 0);
    }

    /// Returns whether it is worth while to gather.
    pub fn is_busy(&self) -> bool {
        self.busy_clients > 0
    }

    /// For how many clients to wait, at most [`limits::GATHER`], while `unanswered` requests wait for replies; `None` if the core
    /// should look at once.
    pub fn gathers(&self, unanswered: usize) -> Option<u32> {
        // Most of them: those who are missing need not hold up the others until the time is over. Who waits says nothing.
        let events = (self.busy_clients * 3 / 4).min(self.busy_clients.saturating_sub(unanswered));
        (events > 1).then_some(events.min(limits::GATHER_RECEIVES_MAX) as u32)
    }

    /// Stops gathering until the next busy window: a whole gather passed without a client.
    pub fn end(&mut self) {
        self.busy_clients = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of traffic in which each of `clients` sends `times` times.
    fn after_windows(clients: usize, times: usize) -> Option<u32> {
        let mut now = Instant::now();
        let mut traffic = Traffic::new(now);
        let mut heard = vec![HeardIn::default(); clients];
        for _ in 0..3 {
            for _ in 0..times {
                heard.iter_mut().for_each(|client| traffic.heard(client));
            }
            now += limits::TRAFFIC_WINDOW;
            traffic.turn(now);
        }
        traffic.gathers(0)
    }

    #[test]
    fn many_clients_that_send_often_are_gathered() {
        assert_eq!(after_windows(24, 3), Some(18));
        assert_eq!(after_windows(1000, 1), Some(limits::GATHER_RECEIVES_MAX as u32));
    }

    #[test]
    fn few_clients_are_heard_at_once_however_often_they_send() {
        assert_eq!(after_windows(1, 1000), None);
        assert_eq!(after_windows(limits::GATHER_CLIENTS_MIN - 1, 1000), None);
    }

    #[test]
    fn clients_that_send_seldom_are_heard_at_once() {
        assert_eq!(after_windows(limits::GATHER_CLIENTS_MIN, 1), None);
    }

    #[test]
    fn silence_ends_gathering() {
        let now = Instant::now();
        let mut traffic = Traffic::new(now);
        (0..100).for_each(|_| traffic.heard(&mut HeardIn::default()));
        traffic.turn(now + limits::TRAFFIC_WINDOW);
        assert_eq!(traffic.gathers(0), Some(64));
        assert_eq!(traffic.gathers(90), Some(10), "those who wait for replies say nothing");
        assert_eq!(traffic.gathers(1000), None);
        traffic.turn(now + limits::TRAFFIC_WINDOW * 2);
        assert_eq!(traffic.gathers(0), None);
    }
}
