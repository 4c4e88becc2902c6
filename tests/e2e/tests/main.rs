//! The promises of Posthouse, each tested from outside: with the real server, the real command and the
//! real client library.

mod accounts;
mod admin_socket;
mod authority;
mod browser;
mod catching_up;
mod chat;
mod claim;
mod command_line;
mod crowd;
mod damaged_database;
mod durability;
mod edits;
mod event_stream;
mod front_door;
mod group_authority;
mod group_commands;
mod groups;
mod hostile_parameters;
mod invites;
mod limits;
mod link;
mod messaging;
mod overload;
mod presence;
mod privacy;
mod receipts;
mod recover_owner;
mod release;
mod service_manager;
mod shutdown;
mod slow_consumer;
mod tls;
mod trust;
mod web_edges;
mod websocket_abuse;
