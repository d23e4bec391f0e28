//! Tests of the producers.
