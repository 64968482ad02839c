//! Artifacts on local disks: DESIGN.
