//! One function with a C interface; no dependencies.

#[no_mangle]
pub extern "C" fn minirust_triple(value: i64) -> i64 {
    value * 3
}
