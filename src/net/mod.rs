//! Connections and sockets.
