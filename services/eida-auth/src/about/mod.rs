//! What the service tells of itself: its version, and its methods for FDSN clients.

pub mod api;
