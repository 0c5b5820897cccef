//! Has cargo build again when a migration is added: the macro that embeds them does not tell it to.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/tokenstore");
}
