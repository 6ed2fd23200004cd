//! Ids, encodings and layouts.
