//! The `tocsin` binary. Everything it does is in the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    tocsin::plugins::library::exit_now(tocsin::cli::main())
}
