//! The ring against real sockets: the test's thread plays the clients, another one the core.

mod ring {
    mod backpressure;
    mod core;
    mod echo;
    mod ending;
    mod listening;
    mod waking;
}
