//! What a peer should not send, and that nobody else suffers from it.
