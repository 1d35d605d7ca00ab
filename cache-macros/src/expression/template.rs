//! Format strings that only display variables, such as `"user:{id}"`.

use proc_macro2::Ident;
use syn::LitStr;

/// A part of such a format string.
#[derive(Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    /// A variable, displayed without options.
    Variable(Ident),
}

/// Returns the parts of a format string. Returns `None` if it has anything but texts and variables.
pub(crate) fn parts(text: &LitStr) -> Option<Vec<Part>> {
    let format = text.value();
    let (mut parts, mut plain) = (Vec::new(), String::new());
    let mut rest = &format[..];
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            // Doubled, it stands for itself.
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').filter(|_| brace == "{")?;
        let variable = variable(name, text)?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Variable(variable));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Some(parts)
}

/// Returns the variable that a placeholder names, or `None` for a place, a keyword, or anything with options.
fn variable(name: &str, text: &LitStr) -> Option<Ident> {
    let mut variable: Ident = syn::parse_str(name).ok()?;
    // The parser skips spaces and takes `r#name`, and a format string may name what is a keyword elsewhere.
    if variable != name || name.starts_with("r#") || name == "gen" {
        return None;
    }
    variable.set_span(text.span());
    Some(variable)
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn described(format: &str) -> Option<Vec<String>> {
        let parts = parts(&LitStr::new(format, Span::call_site()))?;
        let described = parts.into_iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Variable(name) => format!("<{name}>"),
        });
        Some(described.collect())
    }

    #[test]
    fn texts_and_variables_are_parts() {
        for (format, parts) in [
            ("user:{id}", &["user:", "<id>"][..]),
            ("{tenant}/{id}", &["<tenant>", "/", "<id>"]),
            ("{id}{id}", &["<id>", "<id>"]),
            ("{{{id}}}", &["{", "<id>", "}"]),
            ("{{id}}", &["{id}"]),
            ("Zoë {größe}", &["Zoë ", "<größe>"]),
        ] {
            assert_eq!(described(format).unwrap(), parts, "{format}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_compiler() {
        for format in [
            "{}", "{0}", "{id:?}", "{id:>4}", "{ id }", "{id }", "{/**/id}", "{self}", "{r#type}", "{r#id}", "{type}",
            "{gen}", "{id", "id}", "{a.b}",
        ] {
            assert_eq!(described(format), None, "{format}");
        }
    }
}
