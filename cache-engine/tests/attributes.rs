//! Which uses of the attributes and of the settings compile, and the error messages of those that do not.

#[test]
fn right_and_wrong_uses() {
    let cases = trybuild::TestCases::new();
    for attribute in ["cached", "invalidates"] {
        cases.pass(format!("tests/{attribute}/pass/*.rs"));
        cases.compile_fail(format!("tests/{attribute}/fail/*.rs"));
    }
    cases.compile_fail("tests/settings/fail/*.rs");
}
