//! Structured fields (RFC 9651), without their parameters.

use std::convert::Infallible;

use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};

/// A member of a Dictionary or a List.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    Item(Bare),
    InnerList(Vec<Bare>),
}

/// The value of an Item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bare {
    Boolean(bool),
    Integer(i64),
    String(String),
    Token(String),
    /// A value of another type, which no field of ours has a meaning for.
    Other,
}

/// Parses field lines as one Dictionary. Returns `None` if they are not one. Each name occurs once; the last of several
/// values counts.
pub(crate) fn dictionary<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Option<Vec<(String, Member)>> {
    let text = joined(lines);
    Parser::new(&text)
        .parse_dictionary_with_visitor(Dictionary(Vec::new()))
        .ok()
}

/// Parses field lines as one List. Returns `None` if they are not one.
pub(crate) fn list<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Option<Vec<Member>> {
    let text = joined(lines);
    Parser::new(&text).parse_list_with_visitor(List(Vec::new())).ok()
}

fn joined<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_ref());
    }
    text
}

struct Dictionary(Vec<(String, Member)>);

impl<'de> DictionaryVisitor<'de> for Dictionary {
    type Out = Vec<(String, Member)>;
    type Error = Infallible;

    fn entry(&mut self, name: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let name = name.as_str();
        let members = &mut self.0;
        Ok(Entry(move |member| {
            match members.iter_mut().find(|(other, _)| other == name) {
                Some((_, value)) => *value = member,
                None => members.push((name.to_owned(), member)),
            }
        }))
    }

    fn finish(self) -> Result<Self::Out, Infallible> {
        Ok(self.0)
    }
}

struct List(Vec<Member>);

impl<'de> ListVisitor<'de> for List {
    type Out = Vec<Member>;
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Entry(|member| self.0.push(member)))
    }

    fn finish(self) -> Result<Self::Out, Infallible> {
        Ok(self.0)
    }
}

/// Passes a member on when it is complete.
struct Entry<F>(F);

impl<'de, F: FnOnce(Member)> EntryVisitor<'de> for Entry<F> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(BareItem(|bare| (self.0)(Member::Item(bare))))
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(InnerList {
            items: Vec::new(),
            pass_on: self.0,
        })
    }
}

struct InnerList<F> {
    items: Vec<Bare>,
    pass_on: F,
}

impl<'de, F: FnOnce(Member)> InnerListVisitor<'de> for InnerList<F> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(BareItem(|bare| self.items.push(bare)))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Infallible> {
        (self.pass_on)(Member::InnerList(self.items));
        Ok(Ignored)
    }
}

struct BareItem<F>(F);

impl<'de, F: FnOnce(Bare)> ItemVisitor<'de> for BareItem<F> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        (self.0)(match item {
            BareItemFromInput::Boolean(value) => Bare::Boolean(value),
            BareItemFromInput::Integer(number) => Bare::Integer(number.into()),
            BareItemFromInput::String(text) => Bare::String(text.as_str().to_owned()),
            BareItemFromInput::Token(text) => Bare::Token(text.as_str().to_owned()),
            _ => Bare::Other,
        });
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Bare {
        Bare::String(text.to_owned())
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let members = dictionary(["a=1, b", "a=?0;x=1, c=(\"x\" 2.5);y"]).unwrap();
        assert_eq!(
            members,
            [
                ("a".to_owned(), Member::Item(Bare::Boolean(false))),
                ("b".to_owned(), Member::Item(Bare::Boolean(true))),
                ("c".to_owned(), Member::InnerList(vec![text("x"), Bare::Other])),
            ]
        );
    }

    #[test]
    fn lists_contain_items_and_lists() {
        assert_eq!(
            list(["\"a\";v=2, t", "(b 1)"]).unwrap(),
            [
                Member::Item(text("a")),
                Member::Item(Bare::Token("t".to_owned())),
                Member::InnerList(vec![Bare::Token("b".to_owned()), Bare::Integer(1)]),
            ]
        );
        assert_eq!(list::<&[u8]>([]), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_structured_field_is_nothing() {
        assert_eq!(dictionary(["a=1, a b"]), None);
        assert_eq!(list(["\"open"]), None);
        assert_eq!(list([b"\xff"]), None);
    }
}
