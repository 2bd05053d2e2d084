//! The C interface from Rust, without crates: asks a model and prints the answer as it comes.
//!     rustc --edition 2021 -O ask.rs -L FOLDER_OF_LIBGEMMA_SO && ./ask MODEL.gguf "a question"
//! Structures and functions are those of gemma/c_api.h, which documents them; `size` is set, NULL options are defaults.
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

#[repr(C)]
struct Token {
    id: i32,
    text: *const c_char,
    text_length: usize,
    log_probability: f64,
}

#[repr(C)]
struct GenerateOptions {
    size: usize,
    max_tokens: usize,
    stop_strings: *const *const c_char,
    n_stop_strings: usize,
    ignore_end: c_int,
    log_probabilities: c_int,
    on_token: Option<extern "C" fn(*const Token, *mut c_void) -> c_int>,
    pick: Option<extern "C" fn(*const f32, usize, *mut c_void) -> i32>,
    user: *mut c_void,
}

type Handle = *mut c_void; // a model, a session, an error: opaque

#[link(name = "gemma")]
extern "C" {
    fn gemma_error_get_message(error: Handle) -> *const c_char;
    fn gemma_error_free(error: Handle);
    fn gemma_model_load(path: *const c_char, options: *const c_void, error: *mut Handle) -> Handle;
    fn gemma_model_free(model: Handle);
    fn gemma_conversation_new(
        model: Handle,
        chat_template: *const c_char,
        error: *mut Handle,
    ) -> Handle;
    fn gemma_conversation_free(conversation: Handle);
    fn gemma_conversation_add(
        conversation: Handle,
        role: *const c_char,
        content: *const c_char,
        ids: *const i32,
        n_ids: usize,
        error: *mut Handle,
    ) -> c_int;
    fn gemma_conversation_encode(
        conversation: Handle,
        thinking: c_int,
        out: *mut i32,
        capacity: usize,
        n: *mut usize,
        error: *mut Handle,
    ) -> c_int;
    fn gemma_session_new(model: Handle, options: *const c_void, error: *mut Handle) -> Handle;
    fn gemma_session_free(session: Handle);
    fn gemma_session_set_tokens(
        session: Handle,
        ids: *const i32,
        n_ids: usize,
        n_reused: *mut usize,
        error: *mut Handle,
    ) -> c_int;
    fn gemma_session_generate(
        session: Handle,
        sampler: Handle,
        options: *const GenerateOptions,
        result: *mut c_void,
        error: *mut Handle,
    ) -> c_int;
}

extern "C" fn print_token(token: *const Token, _user: *mut c_void) -> c_int {
    let text =
        unsafe { std::slice::from_raw_parts((*token).text as *const u8, (*token).text_length) };
    let mut out = std::io::stdout();
    (out.write_all(text).is_ok() && out.flush().is_ok()) as c_int
}

fn main() {
    let args: Vec<CString> = std::env::args().map(|a| CString::new(a).unwrap()).collect();
    if args.len() != 3 {
        std::process::exit(1);
    }
    let user = CString::new("user").unwrap();
    let options = GenerateOptions {
        size: std::mem::size_of::<GenerateOptions>(),
        max_tokens: 100,
        stop_strings: null(),
        n_stop_strings: 0,
        ignore_end: 0,
        log_probabilities: 0,
        on_token: Some(print_token),
        pick: None,
        user: null_mut(),
    };
    let (mut error, mut session, mut chat) = (null_mut(), null_mut(), null_mut());
    let (mut ids, mut n) = ([0i32; 1000], 0);
    let mut answered = false;
    unsafe {
        let model = gemma_model_load(args[1].as_ptr(), null(), &mut error);
        if !model.is_null() {
            session = gemma_session_new(model, null(), &mut error);
            chat = gemma_conversation_new(model, null(), &mut error);
        }
        if !session.is_null() && !chat.is_null() {
            answered = gemma_conversation_add(
                chat,
                user.as_ptr(),
                args[2].as_ptr(),
                null(),
                0,
                &mut error,
            ) == 0
                && gemma_conversation_encode(
                    chat,
                    0,
                    ids.as_mut_ptr(),
                    ids.len(),
                    &mut n,
                    &mut error,
                ) == 0
                && n <= ids.len()
                && gemma_session_set_tokens(session, ids.as_ptr(), n, null_mut(), &mut error) == 0
                && gemma_session_generate(session, null_mut(), &options, null_mut(), &mut error)
                    == 0;
        }
        if answered {
            println!();
        } else if !error.is_null() {
            eprintln!(
                "ask: {}",
                CStr::from_ptr(gemma_error_get_message(error)).to_string_lossy()
            );
        }
        gemma_error_free(error);
        gemma_session_free(session);
        gemma_conversation_free(chat);
        gemma_model_free(model);
    }
    std::process::exit(!answered as i32);
}
