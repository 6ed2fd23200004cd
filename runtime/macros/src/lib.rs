//! The attribute and the derives a module author puts on types: `#[rama::record]`,
//! `#[derive(Key)]`, `#[derive(Schema)]`.
//!
//! Generated code names everything through `::rama::__private`, so an author's crate needs no other
//! dependency than `rama`; `#[record(crate = path)]` and `#[rama(crate = path)]` name another way
//! there. What must stay true: a mistake the macros can see becomes one message that names the fix.

mod crate_path;
mod fields;
mod key;
mod record;
mod schema;

use proc_macro::TokenStream;

/// Makes a struct or an enum a record: something that can be stored in depots and PStates, sent to
/// other tasks, and shown as JSON.
///
/// Adds `Clone`, `Debug` and `PartialEq` where they are not derived below the attribute, the
/// archived form, serde and a description of the type. Fields must be records too. Write the
/// attribute above any `#[derive]`.
///
/// ```ignore
/// #[rama::record]
/// pub struct Deposit {
///     pub user: String,
///     pub cents: i64,
/// }
/// ```
#[proc_macro_attribute]
pub fn record(arguments: TokenStream, item: TokenStream) -> TokenStream {
    record::expand(arguments.into(), item.into()).into()
}

/// Makes a struct a composite key, or an enum without data a key.
///
/// Keys sort field by field in the order of declaration; enums in the order of their variants.
#[proc_macro_derive(Key, attributes(rama))]
pub fn key(item: TokenStream) -> TokenStream {
    key::expand(item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Makes a struct with named fields a fixed-keys schema: each field is stored separately and may be
/// a value, a `Map`, a `Set`, a `List` or another such struct.
///
/// A path to it has one method for each field. New fields go to the end.
#[proc_macro_derive(Schema, attributes(rama))]
pub fn schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
