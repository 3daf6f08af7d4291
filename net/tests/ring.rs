//! The ring against real sockets: the test's thread plays the clients, another one the core.

mod ring {
    mod backpressure;
    mod core;
    mod dialing;
    mod echo;
    mod ending;
    mod handing;
    mod listening;
    mod waking;
}
