//! A look at the threads of a process, for whoever wants the reason that one stands still.

use std::fs;
use std::path::Path;

/// Gives a line for each thread of the process: its name, its state, the time that it had a processor, in ticks, and the call of
/// the kernel that it is in. What the kernel does not tell is left out.
pub fn threads_of(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().map(|thread| line_of(&thread.path())).collect()
}

fn line_of(thread: &Path) -> String {
    let told = |file: &str| fs::read_to_string(thread.join(file)).unwrap_or_default();
    let stat = told("stat");
    // The name stands in brackets and may hold any; the state is the first word behind them, the times the twelfth and thirteenth.
    let words: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, words)| words).split_whitespace().collect();
    let word = |place: usize| words.get(place).copied().unwrap_or("?");
    let calls: Vec<String> =
        told("stack").lines().filter_map(|line| Some(line.split_once("] ")?.1.split('+').next()?.to_owned())).collect();
    format!("{}: {}, {} + {} ticks, in {}", told("comm").trim(), word(0), word(11), word(12), calls.join(" < "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_is_told_with_its_name_and_state() {
        let (told, word) = std::sync::mpsc::channel::<()>();
        let waits = move || word.recv().is_err();
        let waiting = std::thread::Builder::new().name("awaits a word".into()).spawn(waits).expect("it starts");
        crate::eventually("the thread sleeps", crate::DEADLINE, || {
            let lines = threads_of(std::process::id());
            if lines.iter().any(|line| line.starts_with("awaits a word: S, ")) { Ok(()) } else { Err(lines) }
        });
        drop(told);
        assert!(waiting.join().expect("it ends"));
    }
}
