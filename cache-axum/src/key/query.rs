//! Queries in one order.

/// Appends the parameters of `query` in the order of their names. Those of one name stay in their order, since it may
/// mean something.
pub(super) fn push_sorted(out: &mut String, query: &str) {
    let name = |parameter: &str| parameter.find('=').unwrap_or(parameter.len());
    let mut last = "";
    let is_sorted = query.split('&').all(|parameter| {
        let this = &parameter[..name(parameter)];
        std::mem::replace(&mut last, this) <= this
    });
    if is_sorted {
        out.push_str(query);
        return;
    }
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_by_key(|parameter| &parameter[..name(parameter)]);
    for (index, parameter) in parameters.into_iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(parameter);
    }
}
