//! `#[rama::record]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Field, Path, Result, Token};
use syn::{parse::Parser, punctuated::Punctuated, spanned::Spanned};

use crate::{crate_path, fields};

/// On a mistake the item stays, so that the one message is not followed by others about its
/// absence.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    try_expand(arguments, item.clone()).unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#item #error)
    })
}

fn try_expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let private = crate_path::from_arguments(arguments)?;
    let input: DeriveInput = syn::parse2(item)?;
    fields::refuse_generics(&input.generics, "a record")?;
    let all = all_fields(&input.data)?;
    fields::refuse_references(all.iter().copied())?;
    fields::refuse_unordered(all.into_iter())?;

    let derived = derived(&input.attrs)?;
    let missing = ["Clone", "Debug", "PartialEq"]
        .into_iter()
        .filter(|name| !derived.iter().any(|there| there == name))
        .map(|name| match name {
            "Debug" => quote!(::std::fmt::Debug),
            "Clone" => quote!(::std::clone::Clone),
            _ => quote!(::std::cmp::PartialEq),
        });
    let archived = archived_derives(&derived);
    let serde = private.to_string().replace(' ', "") + "::serde";
    let name = &input.ident;
    let desc = desc(&input, &private);
    Ok(quote! {
        #[derive(
            #(#missing,)*
            #private::rkyv::Archive,
            #private::rkyv::Serialize,
            #private::rkyv::Deserialize,
            #private::serde::Serialize,
            #private::serde::Deserialize,
        )]
        #[rkyv(crate = #private::rkyv)]
        #archived
        #[serde(crate = #serde)]
        #input

        impl #private::Record for #name {
            fn type_desc() -> #private::TypeDesc {
                #desc
            }
        }
    })
}

fn all_fields(data: &Data) -> Result<Vec<&Field>> {
    match data {
        Data::Struct(data) => Ok(data.fields.iter().collect()),
        Data::Enum(data) if data.variants.is_empty() => Err(Error::new(
            data.enum_token.span(),
            "a record enum needs a variant: without one it has no values to store",
        )),
        Data::Enum(data) => Ok(data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect()),
        Data::Union(data) => Err(Error::new(
            data.union_token.span(),
            "a union cannot be a record; use an enum, which knows which variant it holds",
        )),
    }
}

/// The last segments of what the item derives itself, below the attribute.
fn derived(attributes: &[Attribute]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
    {
        let tokens = attribute.meta.require_list()?.tokens.clone();
        let paths = Punctuated::<Path, Token![,]>::parse_terminated.parse2(tokens)?;
        let last = paths.iter().filter_map(|path| path.segments.last());
        names.extend(last.map(|segment| segment.ident.to_string()));
    }
    Ok(names)
}

/// Ordered and hashed collections of a record need the same of its archived form.
fn archived_derives(derived: &[String]) -> TokenStream {
    let has = |name: &str| derived.iter().any(|there| there == name);
    let mut wanted: Vec<&str> = ["Eq", "PartialOrd", "Ord", "Hash"]
        .into_iter()
        .filter(|name| has(name))
        .collect();
    if wanted.is_empty() {
        return TokenStream::new();
    }
    wanted.push("PartialEq");
    let wanted = wanted.into_iter().map(|name| format_ident!("{name}"));
    quote!(#[rkyv(derive(#(#wanted),*))])
}

fn desc(input: &DeriveInput, private: &TokenStream) -> TokenStream {
    let name = fields::unraw(&input.ident);
    let method = quote!(#private::Record>::type_desc);
    match &input.data {
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = fields::unraw(&variant.ident);
                let fields = fields::descriptions(&variant.fields, &method);
                quote!((#name, #fields))
            });
            quote!(#private::TypeDesc::Enum(#name, ::std::vec![#(#variants),*]))
        }
        Data::Struct(data) => {
            let fields = fields::descriptions(&data.fields, &method);
            quote!(#private::TypeDesc::Struct(#name, #fields))
        }
        Data::Union(_) => TokenStream::new(),
    }
}
