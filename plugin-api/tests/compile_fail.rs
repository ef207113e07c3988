//! Common mistakes of a plugin's author do not compile, and the compiler says what to do.
//!
//! A mistake that is missing here: two plugins in different modules of a crate clash over a symbol. That
//! error comes when code is generated, and these tests only check.

#[test]
fn mistakes_do_not_compile_and_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
