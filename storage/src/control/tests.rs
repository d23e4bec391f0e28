//! Tests of control entries and of what they add up to.
