//! Directives that may be limited to some fields: `private` and `no-cache`.

use http::HeaderName;

/// Whether a response has a directive, and if so, for the whole response or for some of its fields. The grammar allows
/// no other form, so this enum is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Qualified {
    /// The response does not have the directive.
    #[default]
    Absent,
    /// The directive applies to these fields only.
    Fields(Vec<HeaderName>),
    /// The directive applies to the whole response.
    Whole,
}

impl Qualified {
    /// Returns whether the directive applies to the whole response.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// Returns the fields that the directive is limited to. Empty for the other two variants.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            _ => &[],
        }
    }

    /// Adds one more occurrence. The whole response outweighs a list. An argument without a readable name counts as the
    /// whole response.
    pub(crate) fn add(&mut self, argument: Option<&[u8]>) {
        let mut names = match argument {
            Some(list) => list
                .split(|&byte| byte == b',')
                .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
                .collect(),
            None => Vec::new(),
        };
        *self = match std::mem::take(self) {
            Self::Whole => Self::Whole,
            _ if names.is_empty() => Self::Whole,
            Self::Absent => Self::Fields(names),
            Self::Fields(mut fields) => {
                names.retain(|name| !fields.contains(name));
                fields.append(&mut names);
                Self::Fields(fields)
            }
        };
    }

    pub(super) fn write(&self, members: &mut Vec<String>, name: &str) {
        match self {
            Self::Absent => {}
            Self::Whole => members.push(name.to_owned()),
            Self::Fields(fields) => {
                let fields: Vec<&str> = fields.iter().map(HeaderName::as_str).collect();
                members.push(format!("{name}=\"{}\"", fields.join(", ")));
            }
        }
    }
}
