//! What the macros have in common about fields.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Field, Fields, GenericArgument, Generics, PathArguments, Result, Type};
use syn::{Index, spanned::Spanned};

/// How a field is named in code (`name` or `0`) and in descriptions.
pub(crate) fn member(index: usize, field: &Field) -> (TokenStream, String) {
    match &field.ident {
        Some(name) => (name.to_token_stream(), unraw(name)),
        None => (Index::from(index).to_token_stream(), index.to_string()),
    }
}

/// The name without `r#`.
pub(crate) fn unraw(name: &syn::Ident) -> String {
    name.to_string().trim_start_matches("r#").to_owned()
}

/// `vec![("name", <Type as Trait>::method()), …]`, each at the place of its field's type.
pub(crate) fn descriptions(fields: &Fields, method: &TokenStream) -> TokenStream {
    let descriptions = fields.iter().enumerate().map(|(index, field)| {
        let (_, name) = member(index, field);
        let ty = &field.ty;
        quote_spanned!(ty.span()=> (#name, <#ty as #method()))
    });
    quote!(::std::vec![#(#descriptions),*])
}

/// Generic types have no fixed layout to describe and compare.
pub(crate) fn refuse_generics(generics: &Generics, what: &str) -> Result<()> {
    if let Some(lifetime) = generics.lifetimes().next() {
        let message = format!(
            "{what} cannot borrow: it outlives the event that made it; own the data, for example \
             `String` instead of `&str`"
        );
        return Err(Error::new(lifetime.span(), message));
    }
    match generics.params.first() {
        Some(param) => {
            let message = format!(
                "{what} cannot be generic: its layout must be known; write one type for each use"
            );
            Err(Error::new(param.span(), message))
        }
        None => Ok(()),
    }
}

/// References anywhere in the fields' types.
pub(crate) fn refuse_references<'a>(fields: impl Iterator<Item = &'a Field>) -> Result<()> {
    for field in fields {
        if let Some(reference) = find_reference(&field.ty) {
            let owned = match &reference {
                Type::Reference(reference) => owned_form(&reference.elem),
                _ => "an owned type".to_owned(),
            };
            let message =
                format!("a record owns its data, it cannot hold a reference; use {owned} instead");
            return Err(Error::new(reference.span(), message));
        }
    }
    Ok(())
}

fn owned_form(inner: &Type) -> String {
    match inner {
        Type::Slice(slice) => format!("`Vec<{}>`", slice.elem.to_token_stream()),
        Type::Path(path) if path.path.is_ident("str") => "`String`".to_owned(),
        other => format!("`{}`", other.to_token_stream()),
    }
}

fn find_reference(ty: &Type) -> Option<Type> {
    match ty {
        Type::Reference(_) => Some(ty.clone()),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(find_reference),
        Type::Array(array) => find_reference(&array.elem),
        Type::Slice(slice) => find_reference(&slice.elem),
        Type::Paren(paren) => find_reference(&paren.elem),
        Type::Group(group) => find_reference(&group.elem),
        Type::Path(path) => {
            path.path
                .segments
                .iter()
                .find_map(|segment| match &segment.arguments {
                    PathArguments::AngleBracketed(arguments) => {
                        arguments.args.iter().find_map(|argument| match argument {
                            GenericArgument::Type(ty) => find_reference(ty),
                            _ => None,
                        })
                    }
                    _ => None,
                })
        }
        _ => None,
    }
}
