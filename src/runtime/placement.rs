//! Which core a connection, a container, a thread belongs to.
