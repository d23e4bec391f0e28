//! Frames made by hand, and a socket that sends what it is told to.
