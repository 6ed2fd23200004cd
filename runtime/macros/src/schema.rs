//! `#[derive(Schema)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, Result, spanned::Spanned};

use crate::{crate_path, fields};

/// A field's position is one byte of its key.
const FIELDS_MAX: usize = 256;

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let private = crate_path::from_attributes(&input.attrs)?;
    fields::refuse_generics(&input.generics, "a fixed-keys schema")?;
    let struct_fields = named_fields(&input)?;

    let (name, visibility) = (&input.ident, &input.vis);
    let path = format_ident!("{name}Path");
    let label = fields::unraw(name);
    let desc = fields::descriptions(struct_fields, &quote!(#private::Schema>::desc));
    let navigators = navigators(struct_fields, &private);
    let members: Vec<_> = struct_fields
        .iter()
        .filter_map(|field| field.ident.as_ref())
        .collect();
    let path_doc = format!("A path to a [`{label}`]: one method for each of its fields.");
    Ok(quote! {
        #[doc = #path_doc]
        #[derive(Clone)]
        #visibility struct #path(#private::Cursor);

        #[allow(dead_code)]
        impl #path {
            #(#navigators)*

            /// The same path without the check that its key lives on the current task.
            pub fn unaligned(mut self) -> Self {
                self.0.unaligned();
                self
            }
        }

        impl #private::Located for #path {
            fn into_cursor(self) -> #private::Cursor {
                self.0
            }
        }

        impl #private::Schema for #name {
            type Path = #path;

            const LEAF: bool = false;

            fn arrive(mut cursor: #private::Cursor) -> #private::Cursor {
                cursor.mark_struct();
                cursor
            }

            fn path_at(cursor: #private::Cursor) -> #path {
                #path(<Self as #private::Schema>::arrive(cursor))
            }

            fn desc() -> #private::SchemaDesc {
                #private::SchemaDesc::Struct { name: #label, fields: #desc }
            }
        }

        impl #private::Root for #name {}

        // The struct is only ever a type: this use keeps it and its fields from being called dead.
        #[allow(unreachable_code, clippy::diverging_sub_expression)]
        const _: fn(&#name) -> #name = |schema| {
            let _ = (#(&schema.#members,)*);
            #name { #(#members: ::std::unreachable!()),* }
        };
    })
}

fn named_fields(input: &DeriveInput) -> Result<&Fields> {
    let name = &input.ident;
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(data) => {
            let message = format!(
                "an enum cannot be a fixed-keys schema: its keys would not be fixed; to store \
                 `{name}` as one value, use #[rama::record]"
            );
            return Err(Error::new(data.enum_token.span(), message));
        }
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span(),
                "a union cannot be a schema",
            ));
        }
    };
    match &data.fields {
        Fields::Named(named) if named.named.is_empty() || named.named.len() > FIELDS_MAX => {
            Err(Error::new(
                name.span(),
                "a fixed-keys schema has between 1 and 256 fields",
            ))
        }
        Fields::Named(_) => Ok(&data.fields),
        Fields::Unnamed(_) | Fields::Unit => {
            let message = format!(
                "a fixed-keys schema needs named fields, which are its keys: \
                 `struct {name} {{ name: String, posts: List<Post> }}`"
            );
            Err(Error::new(name.span(), message))
        }
    }
}

fn navigators<'a>(
    struct_fields: &'a Fields,
    private: &'a TokenStream,
) -> impl Iterator<Item = TokenStream> + 'a {
    struct_fields.iter().enumerate().map(move |(index, field)| {
        let (name, ty, visibility) = (&field.ident, &field.ty, &field.vis);
        let tag = index as u8;
        let docs = field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("doc"));
        quote_spanned! {ty.span()=>
            #(#docs)*
            #visibility fn #name(&self) -> <#ty as #private::Schema>::Path {
                <#ty as #private::Schema>::path_at(self.0.field(#tag))
            }
        }
    })
}
