//! [`squad_client::json::verify_json`] for whoever can run WebAssembly: one text in, one text out.
//!
//! The host calls `question(length)` for a place in this module's memory, writes the question there as UTF-8, calls
//! `verify()` for the answer's length, and reads the answer at `answer()`. Nothing here takes a pointer, so that nothing
//! that a host passes makes this read or write outside of what it owns. It imports nothing: no clock, no network.
#![warn(missing_docs)]

use std::cell::RefCell;

thread_local! {
    static QUESTION: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for a question of `length` bytes and says where; 0 if it is longer than any question that is read.
#[unsafe(no_mangle)]
pub extern "C" fn question(length: usize) -> usize {
    if length > squad_client::json::MAX_QUESTION_BYTES {
        return 0;
    }
    QUESTION.with_borrow_mut(|question| {
        *question = vec![0; length];
        question.as_ptr() as usize
    })
}

/// Answers the question and forgets it; the length of the answer in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn verify() -> usize {
    let question = QUESTION.take();
    let answer = squad_client::json::verify_json(&String::from_utf8_lossy(&question));
    let length = answer.len();
    ANSWER.set(answer.into_bytes());
    length
}

/// Where the last answer stands.
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> usize {
    ANSWER.with_borrow(|answer| answer.as_ptr() as usize)
}
