//! Schedulers: requests from any number of threads are computed together.
use std::mem::size_of;

use crate::error::{checked, Result};
use crate::ffi::{self, Handle};
use crate::generation::{GenerateOptions, Token};
use crate::model::Model;

/// Computes many requests together in a separate thread. Prefixes that requests share are computed once.
pub struct Scheduler {
    handle: Handle,
    model: Model, // must be freed after the scheduler
}
// SAFETY: any number of threads may use a gemma_scheduler
unsafe impl Send for Scheduler {}
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Creates a scheduler for `max_sequences` simultaneous requests of at most `n_ctx` tokens each; 0 selects the
    /// default.
    pub fn new(model: &Model, max_sequences: usize, n_ctx: usize) -> Result<Scheduler> {
        let c = ffi::SchedulerOptions {
            size: size_of::<ffi::SchedulerOptions>(),
            max_sequences,
            n_ctx,
            chunk: 0,
            max_memory: 0,
            max_queue: 0,
            n_threads: 0,
            kv_type: 0,
        };
        // SAFETY: the scheduler holds the model, so the model outlives it
        let handle =
            checked(|error| unsafe { ffi::gemma_scheduler_new(model.handle(), &c, error) })?;
        Ok(Scheduler {
            handle,
            model: model.clone(),
        })
    }

    /// Adds a request for a continuation of `ids` to the queue.
    pub fn submit(&self, ids: &[i32], options: &GenerateOptions<'_>) -> Result<Answer> {
        let (given, how) = (options.given()?, options.sampling.to_c());
        // SAFETY: C copies all arguments
        let handle = checked(|error| unsafe {
            ffi::gemma_scheduler_submit(self.handle, ids.as_ptr(), ids.len(), &how, &given.c, error)
        })?;
        Ok(Answer {
            handle,
            _model: self.model.clone(),
        })
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; answers stay valid
        unsafe { ffi::gemma_scheduler_free(self.handle) }
    }
}

/// The answer to a request: an iterator over its tokens. Dropping it cancels the request.
pub struct Answer {
    handle: Handle,
    _model: Model, // must be freed after the answer
}
// SAFETY: any thread may use a gemma_answer
unsafe impl Send for Answer {}

impl Answer {
    /// Cancels the request, which then ends as soon as possible.
    pub fn cancel(&self) {
        // SAFETY: may be called at any time from any thread
        unsafe { ffi::gemma_answer_cancel(self.handle) }
    }
    /// Waits for the end of the answer and returns the text that has not been read yet.
    pub fn text(self) -> Result<String> {
        self.map(|token| token.map(|t| t.text)).collect()
    }
}

impl Iterator for Answer {
    type Item = Result<Token>;
    fn next(&mut self) -> Option<Result<Token>> {
        let mut token = Token::EMPTY;
        // SAFETY: the token's text is valid until the next call
        match checked(|error| unsafe { ffi::gemma_answer_next(self.handle, &mut token, -1, error) })
        {
            Ok(1) => Some(Ok(unsafe { Token::from_c(&token) })),
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: this is the only owner
        unsafe { ffi::gemma_answer_free(self.handle) }
    }
}
