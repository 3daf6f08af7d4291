//! Functions on tables that may take long for one instruction.

use std::rc::Rc;

use crate::base::check_writable;
use crate::stack::{Raised, Stack, Type, to_int};

/// `table.concat`.
pub(crate) fn concat(stack: &mut Stack) -> Result<usize, Raised> {
    let separator = match stack.kind(2) {
        Type::None | Type::Nil => Rc::default(),
        _ => stack.string_argument(2)?,
    };
    stack.table_argument(1)?;
    let first = to_int(stack.number_argument_or(3, 1.0)?);
    let last = match stack.kind(4) {
        Type::None | Type::Nil => stack.length(1) as i32,
        _ => stack.integer_argument(4)? as i32,
    };
    let mut out = Vec::new();
    for number in first..=last {
        stack.pay(1)?;
        stack.get_element(1, number);
        match stack.text(-1) {
            Some(bytes) => stack.append(&mut out, &bytes)?,
            None => {
                let text = format!("invalid value ({}) at index {number} in table for 'concat'", stack.kind_name(-1));
                return Err(stack.error(&text));
            }
        }
        stack.pop(1);
        if number != last {
            stack.append(&mut out, &separator)?;
        }
    }
    stack.push_bytes(&out);
    Ok(1)
}

/// `table.getn`.
pub(crate) fn getn(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    let length = stack.length(1);
    stack.push_number(length as f64);
    Ok(1)
}

/// `table.setn`, which Lua 5.1 does not do any more.
pub(crate) fn setn(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    Err(stack.error("'setn' is obsolete"))
}

/// `table.insert`.
pub(crate) fn insert(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    check_writable(stack)?;
    let end = (stack.length(1) as i32).saturating_add(1);
    let place = match stack.top() {
        2 => end,
        3 => {
            let place = stack.integer_argument(2)? as i32;
            let end = end.max(place);
            stack.pay(2 * (i64::from(end) - i64::from(place)) as usize)?;
            // The place may be the largest integer, behind which there is none.
            for number in (place..end).rev() {
                stack.get_element(1, number);
                stack.set_element(1, number + 1);
            }
            place
        }
        _ => return Err(stack.error("wrong number of arguments to 'insert'")),
    };
    stack.set_element(1, place);
    Ok(0)
}

/// `table.remove`.
pub(crate) fn remove(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    check_writable(stack)?;
    let last = stack.length(1) as i32;
    let place = stack.integer_argument_or(2, last.into())? as i32;
    if !(1 <= place && place <= last) {
        return Ok(0);
    }
    stack.pay(2 * (last - place) as usize)?;
    stack.get_element(1, place);
    for number in place..last {
        stack.get_element(1, number + 1);
        stack.set_element(1, number);
    }
    stack.push_nil();
    stack.set_element(1, last);
    Ok(1)
}

/// `table.maxn`.
pub(crate) fn maxn(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.set_top(1);
    let mut largest = 0.0;
    stack.push_nil();
    while stack.next(1)? {
        stack.pay(1)?;
        stack.pop(1);
        if stack.kind(-1) == Type::Number {
            largest = stack.number(-1).filter(|&number| number > largest).unwrap_or(largest);
        }
    }
    stack.push_number(largest);
    Ok(1)
}

/// `table.foreach`.
pub(crate) fn foreach(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.function_argument(2)?;
    stack.set_top(2);
    stack.push_nil();
    while stack.next(1)? {
        stack.pay(10)?;
        stack.push_copy(2);
        stack.push_copy(-3);
        stack.push_copy(-3);
        stack.call(2, Some(1))?;
        if stack.kind(-1) != Type::Nil {
            return Ok(1);
        }
        stack.pop(2);
    }
    Ok(0)
}

/// `table.foreachi`.
pub(crate) fn foreachi(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    let last = stack.length(1) as i32;
    stack.function_argument(2)?;
    for number in 1..=last {
        stack.pay(10)?;
        stack.push_copy(2);
        stack.push_number(number.into());
        stack.get_element(1, number);
        stack.call(2, Some(1))?;
        if stack.kind(-1) != Type::Nil {
            return Ok(1);
        }
        stack.pop(1);
    }
    Ok(0)
}

/// `table.sort`: the same comparisons in the same order as Lua's quicksort makes, since a script may see them.
pub(crate) fn sort(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    check_writable(stack)?;
    let count = stack.length(1) as i32;
    if !matches!(stack.kind(2), Type::None | Type::Nil) {
        stack.function_argument(2)?;
    }
    stack.set_top(2);
    sort_range(stack, 1, count)?;
    Ok(0)
}

/// Sets the element `first` to the value on top, and `second` to the one below, both of which go.
fn set_two(stack: &mut Stack, first: i32, second: i32) {
    stack.set_element(1, first);
    stack.set_element(1, second);
}

fn is_less(stack: &mut Stack, left: i32, right: i32) -> Result<bool, Raised> {
    stack.pay(4)?;
    if stack.kind(2) == Type::Nil {
        return stack.is_less(left, right);
    }
    stack.push_copy(2);
    stack.push_copy(left - 1);
    stack.push_copy(right - 2);
    stack.call(2, Some(1))?;
    let is_less = stack.boolean(-1);
    stack.pop(1);
    Ok(is_less)
}

fn sort_range(stack: &mut Stack, mut lower: i32, mut upper: i32) -> Result<(), Raised> {
    stack.reserve(20)?;
    while lower < upper {
        stack.get_element(1, lower);
        stack.get_element(1, upper);
        if is_less(stack, -1, -2)? {
            set_two(stack, lower, upper);
        } else {
            stack.pop(2);
        }
        if upper - lower == 1 {
            break;
        }
        let middle = lower + (upper - lower) / 2;
        stack.get_element(1, middle);
        stack.get_element(1, lower);
        if is_less(stack, -2, -1)? {
            set_two(stack, middle, lower);
        } else {
            stack.pop(1);
            stack.get_element(1, upper);
            if is_less(stack, -1, -2)? {
                set_two(stack, middle, upper);
            } else {
                stack.pop(2);
            }
        }
        if upper - lower == 2 {
            break;
        }
        stack.get_element(1, middle);
        stack.push_copy(-1);
        stack.get_element(1, upper - 1);
        set_two(stack, middle, upper - 1);
        // The pivot is on top, and at `upper - 1`.
        let (mut low, mut high) = (lower, upper - 1);
        loop {
            loop {
                low += 1;
                stack.get_element(1, low);
                if !is_less(stack, -1, -2)? {
                    break;
                }
                if low > upper {
                    return Err(stack.error("invalid order function for sorting"));
                }
                stack.pop(1);
            }
            loop {
                high -= 1;
                stack.get_element(1, high);
                if !is_less(stack, -3, -1)? {
                    break;
                }
                if high < lower {
                    return Err(stack.error("invalid order function for sorting"));
                }
                stack.pop(1);
            }
            if high < low {
                stack.pop(3);
                break;
            }
            set_two(stack, low, high);
        }
        stack.get_element(1, upper - 1);
        stack.get_element(1, low);
        set_two(stack, upper - 1, low);
        let (from, to);
        if low - lower < upper - low {
            (from, to) = (lower, low - 1);
            lower = low + 1;
        } else {
            (from, to) = (low + 1, upper);
            upper = low - 1;
        }
        sort_range(stack, from, to)?;
    }
    Ok(())
}
