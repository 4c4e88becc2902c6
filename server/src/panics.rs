//! Work whose panic is an error of it and not the program's end: opening the store, since redb panics on some kinds of damage
//! and a program that ends at each start has nobody to tell why.
//!
//! In a release build a panic aborts, and nothing unwinds. The program's panic hook, which comes before that, therefore hands
//! the panic over and keeps the thread from going on, for good: it must hold nothing that anybody waits for. (It holds the hook
//! itself, which nobody changes once the program has started.)

use std::cell::RefCell;
use std::panic::{PanicHookInfo, resume_unwind};
use std::sync::mpsc;
use std::thread;

/// Stack of the thread, as the program's first one has it.
const STACK_LEN: usize = 8 * 1024 * 1024;

/// Takes what a panic says to who waits for the work.
type Tell = Box<dyn FnOnce(String)>;

thread_local! {
    /// Of guarded work, on its thread.
    static GUARD: RefCell<Option<Tell>> = const { RefCell::new(None) };
}

/// Does the work on a thread of its own and waits for it.
///
/// # Errors
/// What a panic said, in one line.
pub fn guarded<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (tell, outcome) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_LEN).spawn(move || {
        let tell_panic = tell.clone();
        // The one who waits is there until one of the two has come.
        GUARD.set(Some(Box::new(move |panic| drop(tell_panic.send(Err(panic))))));
        let done = work();
        GUARD.take();
        drop(tell.send(Ok(done)));
    });
    let thread = thread.expect("the system can start a thread while the server starts");
    // Without the hook, as in tests, the panic goes on here.
    outcome.recv().unwrap_or_else(|_| resume_unwind(thread.join().expect_err("it ended without an outcome")))
}

/// The panic hook's: does not return where the panic is that of guarded work.
pub fn hand_over(panic: &PanicHookInfo<'_>) {
    if let Some(tell) = GUARD.take() {
        tell(panic.to_string().replace('\n', " "));
        loop {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, exit};

    use super::*;

    /// Asks this test for the work itself. It takes a process of its own: a thread that is kept in the hook keeps the test
    /// harness from ending, which sets another hook then.
    const INSIDE: &str = "POSTHOUSE_TEST_INSIDE";

    #[test]
    fn a_panic_of_guarded_work_is_its_error_and_any_other_is_none_of_its() {
        if std::env::var_os(INSIDE).is_some() {
            std::panic::set_hook(Box::new(hand_over));
            let checked = std::panic::catch_unwind(check);
            exit(i32::from(checked.is_err()));
        }
        let name = "panics::tests::a_panic_of_guarded_work_is_its_error_and_any_other_is_none_of_its";
        let mut inside = Command::new(std::env::current_exe().expect("it runs"));
        let status = inside.args(["--exact", name]).env(INSIDE, "1").status().expect("it starts again");
        assert!(status.success(), "{status}");
    }

    fn check() {
        assert_eq!(guarded("works", || 7), Ok(7));
        let panicked = guarded("breaks", || -> u8 { panic!("a page\nmakes no sense") }).expect_err("it panics");
        assert!(panicked.contains("panics.rs") && panicked.ends_with("a page makes no sense"), "{panicked}");
        let later = guarded("works", || thread::spawn(|| panic!("later"))).expect("it works");
        assert!(later.join().is_err(), "it ends as every thread does");
    }
}
