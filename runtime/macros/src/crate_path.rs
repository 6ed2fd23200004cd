//! Where generated code finds the names it uses.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Path, Result, Token, parse::Parser, spanned::Spanned};

/// `::rama::__private`, or what `crate = path` says.
pub(crate) fn from_arguments(arguments: TokenStream) -> Result<TokenStream> {
    if arguments.is_empty() {
        return Ok(quote!(::rama::__private));
    }
    let parse = |input: syn::parse::ParseStream<'_>| {
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        input.parse::<Path>()
    };
    let span = arguments.span();
    let path = parse
        .parse2(arguments)
        .map_err(|_| Error::new(span, "the only argument is `crate = path::to::rama`"))?;
    Ok(quote!(#path::__private))
}

/// The same from an item's `#[rama(crate = path)]` attribute.
pub(crate) fn from_attributes(attributes: &[Attribute]) -> Result<TokenStream> {
    match attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("rama"))
    {
        Some(attribute) => from_arguments(attribute.meta.require_list()?.tokens.clone()),
        None => Ok(quote!(::rama::__private)),
    }
}
