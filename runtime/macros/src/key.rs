//! `#[derive(Key)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DataEnum, DataStruct, DeriveInput, Error, Fields, Ident, Result};
use syn::{Index, spanned::Spanned};

use crate::{crate_path, fields};

/// The position of a variant is one byte.
const VARIANTS_MAX: usize = 256;

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let private = crate_path::from_attributes(&input.attrs)?;
    fields::refuse_generics(&input.generics, "a key")?;
    let methods = match &input.data {
        Data::Struct(data) => of_struct(&input.ident, data, &private)?,
        Data::Enum(data) => of_enum(&input.ident, data, &private)?,
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span(),
                "a union cannot be a key; use an enum",
            ));
        }
    };
    let name = &input.ident;
    Ok(quote! {
        impl #private::Key for #name {
            #methods
        }
    })
}

fn of_struct(name: &Ident, data: &DataStruct, private: &TokenStream) -> Result<TokenStream> {
    if data.fields.is_empty() {
        return Err(Error::new(
            name.span(),
            "a key needs at least one field to sort by",
        ));
    }
    let label = fields::unraw(name);
    let desc = fields::descriptions(&data.fields, &quote!(#private::Key>::key_desc));
    let members: Vec<_> = data.fields.iter().enumerate().collect();
    let encode = members.iter().map(|(index, field)| {
        let (member, _) = fields::member(*index, field);
        let ty = &field.ty;
        quote_spanned!(ty.span()=> <#ty as #private::Key>::encode_key(&self.#member, out);)
    });
    let decode = members.iter().map(|(index, field)| {
        let (member, _) = fields::member(*index, field);
        let ty = &field.ty;
        quote_spanned!(ty.span()=> #member: <#ty as #private::Key>::decode_key(input)?)
    });
    let json = struct_json(&data.fields, private);
    Ok(quote! {
        #[inline]
        fn encode_key<S: #private::KeySink>(&self, out: &mut S) {
            #(#encode)*
        }

        fn decode_key(
            input: &mut &[u8],
        ) -> ::std::result::Result<Self, #private::KeyError> {
            ::std::result::Result::Ok(Self { #(#decode),* })
        }

        fn key_desc() -> #private::KeyDesc {
            #private::KeyDesc::Struct(#label, #desc)
        }

        #json
    })
}

/// Named fields are an object, several positional ones an array, a single one is what it holds.
fn struct_json(struct_fields: &Fields, private: &TokenStream) -> TokenStream {
    let members: Vec<_> = struct_fields
        .iter()
        .enumerate()
        .map(|(i, field)| fields::member(i, field))
        .collect();
    let count = members.len();
    let keys: Vec<_> = struct_fields
        .iter()
        .map(|field| {
            let ty = &field.ty;
            quote_spanned!(ty.span()=> <#ty as #private::Key>)
        })
        .collect();
    let (to, from) = match struct_fields {
        Fields::Named(_) => {
            let to = members.iter().zip(&keys).map(|((member, name), key)| {
                quote!(map.insert(#name.into(), #key::key_to_json(&self.#member));)
            });
            let from = members.iter().zip(&keys).map(|((member, name), key)| {
                quote! {
                    #member: #key::key_from_json(
                        map.get(#name).ok_or_else(|| Self::wrong_json(json))?,
                    )?
                }
            });
            (
                quote! {
                    let mut map = #private::serde_json::Map::new();
                    #(#to)*
                    #private::serde_json::Value::Object(map)
                },
                quote! {
                    let map = json.as_object().filter(|map| map.len() == #count);
                    let map = map.ok_or_else(|| Self::wrong_json(json))?;
                    ::std::result::Result::Ok(Self { #(#from),* })
                },
            )
        }
        _ if count == 1 => (
            quote!(#(#keys)*::key_to_json(&self.0)),
            quote!(::std::result::Result::Ok(Self(#(#keys)*::key_from_json(json)?))),
        ),
        _ => {
            let indices: Vec<Index> = (0..count).map(Index::from).collect();
            (
                quote! {
                    #private::serde_json::Value::Array(::std::vec![
                        #(#keys::key_to_json(&self.#indices)),*
                    ])
                },
                quote! {
                    let parts = json.as_array().filter(|parts| parts.len() == #count);
                    let parts = parts.ok_or_else(|| Self::wrong_json(json))?;
                    ::std::result::Result::Ok(
                        Self(#(#keys::key_from_json(&parts[#indices])?),*)
                    )
                },
            )
        }
    };
    quote! {
        fn key_to_json(&self) -> #private::serde_json::Value {
            #to
        }

        fn key_from_json(
            json: &#private::serde_json::Value,
        ) -> ::std::result::Result<Self, #private::KeyError> {
            #from
        }
    }
}

fn of_enum(name: &Ident, data: &DataEnum, private: &TokenStream) -> Result<TokenStream> {
    for variant in &data.variants {
        if !variant.fields.is_empty() {
            let message = format!(
                "an enum with data has no natural order, so `{name}` cannot be a key; use a struct \
                 with an enum without data and the other parts as fields"
            );
            return Err(Error::new(variant.span(), message));
        }
    }
    if data.variants.is_empty() || data.variants.len() > VARIANTS_MAX {
        return Err(Error::new(
            name.span(),
            "a key enum has between 1 and 256 variants",
        ));
    }
    let label = fields::unraw(name);
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names: Vec<_> = variants
        .iter()
        .map(|variant| fields::unraw(variant))
        .collect();
    let indices: Vec<u8> = (0..variants.len()).map(|index| index as u8).collect();
    Ok(quote! {
        #[inline]
        fn encode_key<S: #private::KeySink>(&self, out: &mut S) {
            out.put(&[match self { #(Self::#variants => #indices,)* }]);
        }

        fn decode_key(
            input: &mut &[u8],
        ) -> ::std::result::Result<Self, #private::KeyError> {
            match #private::take_variant(input, #label)? {
                #(#indices => ::std::result::Result::Ok(Self::#variants),)*
                #[allow(unreachable_patterns)]
                _ => ::std::result::Result::Err(#private::KeyError::Invalid {
                    type_name: #label,
                    what: "a variant it does not have",
                }),
            }
        }

        fn key_desc() -> #private::KeyDesc {
            #private::KeyDesc::Enum(#label, ::std::vec![#(#names),*])
        }

        fn key_to_json(&self) -> #private::serde_json::Value {
            match self { #(Self::#variants => #names.into(),)* }
        }

        fn key_from_json(
            json: &#private::serde_json::Value,
        ) -> ::std::result::Result<Self, #private::KeyError> {
            match json.as_str() {
                #(
                    ::std::option::Option::Some(#names) => {
                        ::std::result::Result::Ok(Self::#variants)
                    }
                )*
                _ => ::std::result::Result::Err(Self::wrong_json(json)),
            }
        }
    })
}
