//! Tests of the ledger codec.
