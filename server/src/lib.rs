//! The Posthouse server.
