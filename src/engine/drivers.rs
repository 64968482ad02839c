//! The configured drivers, and the rule that chooses one for a container.
