//! The library `coroutine`. Its `yield` is run by the machine itself
//! ([`Machine::begin_call`](crate::machine::Machine::begin_call)).

use crate::functions::number_of;
use crate::heap::{Function, Status, Val};
use crate::limits::BYTES_PER_WORK;
use crate::stack::{Raised, Stack};

/// `coroutine.create`.
pub(crate) fn create(stack: &mut Stack) -> Result<usize, Raised> {
    let function = match stack.value(1) {
        Some(Val::Function(number)) if is_of_script(stack, number) => Val::Function(number),
        _ => return Err(stack.bad_argument(1, "Lua function expected")),
    };
    let thread = stack.machine.make_coroutine(function);
    stack.push(Val::Thread(thread));
    Ok(1)
}

fn is_of_script(stack: &Stack, function: u32) -> bool {
    matches!(stack.machine.heap.function_of(function), Function::Lua { .. })
}

fn thread_argument(stack: &mut Stack) -> Result<u32, Raised> {
    match stack.value(1) {
        Some(Val::Thread(thread)) => Ok(thread),
        _ => Err(stack.bad_argument(1, "coroutine expected")),
    }
}

/// `coroutine.resume`.
pub(crate) fn resume(stack: &mut Stack) -> Result<usize, Raised> {
    let thread = thread_argument(stack)?;
    let first = stack.base + 1;
    match stack.machine.resume(thread, first) {
        Ok(count) => {
            stack.push_boolean(true);
            stack.insert(2);
            Ok(count + 1)
        }
        Err(Raised(error)) => {
            stack.set_top(1);
            stack.push_boolean(false);
            stack.push(error);
            Ok(2)
        }
    }
}

/// `coroutine.yield`, where nothing is run by it.
pub(crate) fn give(stack: &mut Stack) -> Result<usize, Raised> {
    Err(stack.plain_error("attempt to yield across metamethod/C-call boundary"))
}

/// `coroutine.wrap`.
pub(crate) fn wrap(stack: &mut Stack) -> Result<usize, Raised> {
    create(stack)?;
    stack.push_closure(number_of("wrapped coroutine"), 1);
    Ok(1)
}

/// The function that [`wrap`] gives.
pub(crate) fn run_wrapped(stack: &mut Stack) -> Result<usize, Raised> {
    let Val::Thread(thread) = stack.upvalue(0) else { unreachable!("it was made with a coroutine") };
    let first = stack.base;
    match stack.machine.resume(thread, first) {
        Ok(count) => Ok(count),
        Err(Raised(error)) => {
            // Lua says where it was resumed.
            match stack.machine.string_of(error) {
                Some(text) => {
                    let text = stack.machine.heap.shared_bytes(text);
                    stack.pay(text.len() / BYTES_PER_WORK)?;
                    Err(stack.error_bytes(&text))
                }
                None => Err(Raised(error)),
            }
        }
    }
}

/// `coroutine.status`.
pub(crate) fn status(stack: &mut Stack) -> Result<usize, Raised> {
    let thread = thread_argument(stack)?;
    let status = match stack.machine.heap.threads[thread as usize].status {
        Status::Suspended => "suspended",
        Status::Running => "running",
        Status::Normal => "normal",
        Status::Dead => "dead",
    };
    stack.push_bytes(status.as_bytes());
    Ok(1)
}

/// `coroutine.running`.
pub(crate) fn running(stack: &mut Stack) -> Result<usize, Raised> {
    match stack.machine.thread {
        0 => stack.push_nil(),
        thread => stack.push(Val::Thread(thread)),
    }
    Ok(1)
}
