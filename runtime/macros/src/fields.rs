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

/// Collections without an order, anywhere in the fields' types.
pub(crate) fn refuse_unordered<'a>(fields: impl Iterator<Item = &'a Field>) -> Result<()> {
    let named = |name: &'static str| {
        move |ty: &Type| match ty {
            Type::Path(path) => path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == name),
            _ => false,
        }
    };
    for field in fields {
        for (unordered, ordered) in [("HashMap", "BTreeMap"), ("HashSet", "BTreeSet")] {
            if let Some(found) = find(&field.ty, &named(unordered)) {
                let message = format!(
                    "a record cannot hold a `{unordered}`: its bytes would follow its iteration \
                     order, and equal records must have equal bytes; use `{ordered}` instead"
                );
                return Err(Error::new(found.span(), message));
            }
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
    find(ty, &|ty| matches!(ty, Type::Reference(_)))
}

/// The first type inside `ty`, itself included, that is `wanted`.
fn find(ty: &Type, wanted: &dyn Fn(&Type) -> bool) -> Option<Type> {
    if wanted(ty) {
        return Some(ty.clone());
    }
    let find = |ty| find(ty, wanted);
    match ty {
        Type::Reference(reference) => find(&reference.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(find),
        Type::Array(array) => find(&array.elem),
        Type::Slice(slice) => find(&slice.elem),
        Type::Paren(paren) => find(&paren.elem),
        Type::Group(group) => find(&group.elem),
        Type::Path(path) => {
            let arguments = path.path.segments.iter().map(|segment| &segment.arguments);
            let arguments = arguments.filter_map(|arguments| match arguments {
                PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
                _ => None,
            });
            arguments.flatten().find_map(|argument| match argument {
                GenericArgument::Type(ty) => find(ty),
                _ => None,
            })
        }
        _ => None,
    }
}
