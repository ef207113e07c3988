//! Mistakes that a plugin's author can make do not compile, and the compiler says what to do.
//!
//! Two plugins in different modules of a crate clash over a symbol, which is found only when code is
//! generated. These tests check without generating any, so that mistake is not among them.

#[test]
fn mistakes_do_not_compile_and_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
