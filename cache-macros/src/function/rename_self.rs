//! Gives `self` another name in a body.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use syn::visit_mut::VisitMut;

/// Replaces every `self` in `block` by `name`, in macro calls too. Items inside the block keep theirs.
pub(crate) fn rename_self(block: &mut syn::Block, name: &Ident) {
    RenameSelf(name).visit_block_mut(block);
}

struct RenameSelf<'a>(&'a Ident);

impl RenameSelf<'_> {
    fn renamed(&self, ident: &Ident) -> Ident {
        Ident::new(&self.0.to_string(), self.0.span().located_at(ident.span()))
    }

    fn tokens(&self, tokens: TokenStream) -> TokenStream {
        tokens
            .into_iter()
            .map(|token| match token {
                TokenTree::Ident(ident) if ident == "self" => TokenTree::Ident(self.renamed(&ident)),
                TokenTree::Group(group) => {
                    let mut renamed = Group::new(group.delimiter(), self.tokens(group.stream()));
                    renamed.set_span(group.span());
                    TokenTree::Group(renamed)
                }
                token => token,
            })
            .collect()
    }
}

impl VisitMut for RenameSelf<'_> {
    fn visit_expr_path_mut(&mut self, path: &mut syn::ExprPath) {
        if path.qself.is_none() && path.path.is_ident("self") {
            if let Some(segment) = path.path.segments.first_mut() {
                segment.ident = self.renamed(&segment.ident);
            }
        } else {
            syn::visit_mut::visit_expr_path_mut(self, path);
        }
    }

    fn visit_macro_mut(&mut self, call: &mut syn::Macro) {
        call.tokens = self.tokens(std::mem::take(&mut call.tokens));
    }

    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
}
