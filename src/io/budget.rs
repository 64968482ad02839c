//! The one byte budget for everything in flight.
