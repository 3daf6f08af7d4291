//! An encoded reply, delimited and split.

#![no_main]

use basalt_net::resp::value::{is_error, read_bulk, read_integer, skip_value, split_elements};
use basalt_net::resp::ReplyScanner;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (read_integer(data), read_bulk(data), is_error(data));
    scan(data);
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

/// Finds the end of the reply while it arrives byte by byte, and what was looked at is not given again.
fn scan(data: &[u8]) {
    let whole = ReplyScanner::default().advance(data);
    if let Ok(Some(end)) = whole {
        assert_eq!(skip_value(&data[..end]), Some(end));
    }
    let (mut scanner, mut start) = (ReplyScanner::default(), 0);
    for end in 1..=data.len() {
        match scanner.advance(&data[start..end]) {
            Ok(None) => {
                start += scanner.seen();
                scanner.forget(scanner.seen());
            }
            Ok(Some(_)) => return assert_eq!(whole, Ok(Some(end)), "a reply has one end"),
            Err(_) => return assert!(whole.is_err()),
        }
    }
    assert_eq!(whole, Ok(None));
}
