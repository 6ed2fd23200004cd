//! Tests of the watermarks.
