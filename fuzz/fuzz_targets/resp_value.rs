//! An encoded reply, delimited and split.

#![no_main]

use basalt_net::resp::value::{is_error, read_bulk, read_integer, skip_value, split_elements};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (read_integer(data), read_bulk(data), is_error(data));
    let Some(bytes) = skip_value(data) else {
        assert!(split_elements(data).is_err(), "an incomplete reply has no elements");
        return;
    };
    assert!((1..=data.len()).contains(&bytes));
    assert_eq!(skip_value(&data[..bytes - 1]), None, "a value has one end");
    let Ok(elements) = split_elements(&data[..bytes]) else { return };
    let mut elements_bytes = 0;
    for element in elements {
        assert_eq!(skip_value(element), Some(element.len()));
        elements_bytes += element.len();
    }
    assert!(elements_bytes < bytes, "the elements follow a header");
});
