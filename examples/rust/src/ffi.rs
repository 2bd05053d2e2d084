//! Declarations of the C interface; `gemma/c_api.h` documents them. Objects are opaque pointers. The `size` of every
//! structure must be set; NULL options select the defaults.
use std::ffi::{c_char, c_double, c_float, c_int, c_uint, c_void};

/// An opaque object: a model, a session, an error.
pub type Handle = *mut c_void;

#[repr(C)]
pub struct ModelInfo {
    pub size: usize,
    pub vocab_size: usize,
    pub d_model: usize,
    pub n_layers: usize,
    pub max_seq_len: usize,
    pub file_bytes: usize,
    pub bos: i32,
    pub eos: i32,
    pub embedding_width: usize,
    pub has_head: c_int,
}

#[repr(C)]
pub struct SessionOptions {
    pub size: usize,
    pub n_ctx: usize,
    pub chunk: usize,
    pub logit_rows: usize,
    pub max_memory: usize,
    pub n_threads: c_uint,
    pub kv_float32: c_int,
    pub kv_type: c_int,
    pub draft_tokens: usize,
    pub draft_model: Handle,
    pub draft: c_int,
}

#[repr(C)]
pub struct SchedulerOptions {
    pub size: usize,
    pub max_sequences: usize,
    pub n_ctx: usize,
    pub chunk: usize,
    pub max_memory: usize,
    pub max_queue: usize,
    pub n_threads: c_uint,
    pub kv_type: c_int,
}

#[repr(C)]
pub struct SamplerOptions {
    pub size: usize,
    pub temperature: c_float,
    pub top_k: usize,
    pub top_p: c_float,
    pub min_p: c_float,
    pub repeat_penalty: c_float,
    pub repeat_last: usize,
    pub seed: u64,
}

#[repr(C)]
pub struct Token {
    pub id: i32,
    pub text: *const c_char,
    pub text_length: usize,
    pub log_probability: c_double,
}

#[repr(C)]
pub struct GenerateOptions {
    pub size: usize,
    pub max_tokens: usize,
    pub stop_strings: *const *const c_char,
    pub n_stop_strings: usize,
    pub ignore_end: c_int,
    pub log_probabilities: c_int,
    pub on_token: Handle, // callbacks are not used: this crate has iterators instead
    pub pick: Handle,
    pub user: Handle,
    pub process: Handle,
    pub grammar: Handle,
    pub no_draft: c_int,
}

#[repr(C)]
pub struct GenerateResult {
    pub size: usize,
    pub n_tokens: usize,
    pub reason: c_int,
    pub seconds: c_double,
    pub first_token_seconds: c_double,
    pub n_steps: usize,
    pub n_drafted: usize,
    pub n_accepted: usize,
}

#[repr(C)]
pub struct Text {
    pub text: *const c_char,
    pub length: usize,
}

#[repr(C)]
pub struct EmbedOptions {
    pub size: usize,
    pub n_ctx: usize,
    pub chunk: usize,
    pub dims: usize,
    pub max_memory: usize,
    pub n_threads: c_uint,
    pub prompt: c_int,
    pub pooling: c_int,
    pub truncate: c_int,
}

type Error = *mut Handle;

#[link(name = "gemma")]
extern "C" {
    pub fn gemma_version() -> *const c_char;
    pub fn gemma_error_get_code(error: Handle) -> c_int;
    pub fn gemma_error_get_message(error: Handle) -> *const c_char;
    pub fn gemma_error_free(error: Handle);
    pub fn gemma_model_load(path: *const c_char, options: *const c_void, error: Error) -> Handle;
    pub fn gemma_model_free(model: Handle);
    pub fn gemma_model_get_info(model: Handle, info: *mut ModelInfo, error: Error) -> c_int;
    pub fn gemma_encode(
        model: Handle,
        text: *const c_char,
        length: usize,
        flags: c_int,
        out: *mut i32,
        capacity: usize,
        n: *mut usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_decode(
        model: Handle,
        ids: *const i32,
        n_ids: usize,
        out: *mut c_char,
        capacity: usize,
        n: *mut usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_embed(
        model: Handle,
        texts: *const Text,
        n_texts: usize,
        options: *const EmbedOptions,
        out: *mut f32,
        capacity: usize,
        n: *mut usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_conversation_new(
        model: Handle,
        chat_template: *const c_char,
        error: Error,
    ) -> Handle;
    pub fn gemma_conversation_free(conversation: Handle);
    pub fn gemma_conversation_n_messages(conversation: Handle) -> usize;
    pub fn gemma_conversation_add(
        conversation: Handle,
        role: *const c_char,
        content: *const c_char,
        ids: *const i32,
        n_ids: usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_conversation_truncate(
        conversation: Handle,
        n_messages: usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_conversation_encode(
        conversation: Handle,
        thinking: c_int,
        out: *mut i32,
        capacity: usize,
        n: *mut usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_session_new(model: Handle, options: *const SessionOptions, error: Error)
        -> Handle;
    pub fn gemma_session_free(session: Handle);
    pub fn gemma_session_set_tokens(
        session: Handle,
        ids: *const i32,
        n_ids: usize,
        n_reused: *mut usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_session_append(
        session: Handle,
        ids: *const i32,
        n_ids: usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_session_truncate(session: Handle, n: usize, error: Error) -> c_int;
    pub fn gemma_session_n_past(session: Handle) -> usize;
    pub fn gemma_session_n_ctx(session: Handle) -> usize;
    pub fn gemma_session_logits(session: Handle, error: Error) -> *const f32;
    pub fn gemma_session_score(
        session: Handle,
        ids: *const i32,
        n_ids: usize,
        out: *mut c_double,
        error: Error,
    ) -> c_int;
    pub fn gemma_session_cancel(session: Handle);
    pub fn gemma_session_clear_cancel(session: Handle);
    pub fn gemma_sampler_new(options: *const SamplerOptions, error: Error) -> Handle;
    pub fn gemma_sampler_free(sampler: Handle);
    pub fn gemma_grammar_new(
        model: Handle,
        kind: c_int,
        text: *const c_char,
        length: usize,
        error: Error,
    ) -> Handle;
    pub fn gemma_grammar_free(grammar: Handle);
    pub fn gemma_grammar_matches(
        grammar: Handle,
        text: *const c_char,
        length: usize,
        error: Error,
    ) -> c_int;
    pub fn gemma_session_stream(
        session: Handle,
        sampler: Handle,
        options: *const GenerateOptions,
        error: Error,
    ) -> Handle;
    pub fn gemma_stream_next(stream: Handle, token: *mut Token, error: Error) -> c_int;
    pub fn gemma_stream_get_result(
        stream: Handle,
        result: *mut GenerateResult,
        error: Error,
    ) -> c_int;
    pub fn gemma_stream_free(stream: Handle);
    pub fn gemma_scheduler_new(
        model: Handle,
        options: *const SchedulerOptions,
        error: Error,
    ) -> Handle;
    pub fn gemma_scheduler_free(scheduler: Handle);
    pub fn gemma_scheduler_submit(
        scheduler: Handle,
        ids: *const i32,
        n_ids: usize,
        sampler: *const SamplerOptions,
        options: *const GenerateOptions,
        error: Error,
    ) -> Handle;
    pub fn gemma_answer_next(
        answer: Handle,
        token: *mut Token,
        timeout_ms: i64,
        error: Error,
    ) -> c_int;
    pub fn gemma_answer_cancel(answer: Handle);
    pub fn gemma_answer_free(answer: Handle);
}
