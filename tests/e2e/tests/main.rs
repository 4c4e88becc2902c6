//! The promises of Posthouse, each tested from outside: with the real server, the real command and the
//! real client library.

mod admin_socket;
mod damaged_database;
mod durability;
mod limits;
mod messaging;
mod privacy;
mod shutdown;
mod slow_consumer;
mod websocket_abuse;
