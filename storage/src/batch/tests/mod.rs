//! Tests of the batch format.
