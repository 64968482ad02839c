//! The real disk: monoio's ring for reads, writes and syncs, the blocking pool for the rest.
