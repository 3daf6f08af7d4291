//! The ring against real sockets: the test's thread plays the clients, another one the core.

mod ring {
    mod core;
    mod echo;
}
