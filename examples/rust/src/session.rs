//! Sessions: one sequence, its keys and values, and the logits after its last token.
use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::error::{c_string, checked, list, Result};
use crate::ffi::{self, Handle};
use crate::generation::{Counts, GenerateOptions, StopReason, Token};
use crate::model::Model;

/// The source of guesses of the next tokens; one forward pass verifies several of them. Answers are the same with and
/// without guesses.
#[derive(Clone, Copy, Debug, Default)]
pub enum Draft<'a> {
    /// No guesses.
    #[default]
    Off,
    /// Guess the tokens that followed earlier in the sequence (prompt lookup).
    Lookup,
    /// Guess with a smaller model that has the same vocabulary.
    Model(&'a Model),
}

/// Options of a session; 0 selects the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions<'a> {
    /// Maximum number of tokens; 0: the model's context, at most 8192, within `max_memory`.
    pub n_ctx: usize,
    /// Maximum number of tokens that one forward pass of [`Session::score`] computes.
    pub logit_rows: usize,
    /// Limit of the memory of the file and this session together, in bytes; 0: none.
    pub max_memory: usize,
    /// Number of threads; 0: one for each physical core.
    pub n_threads: u32,
    /// The source of guesses.
    pub draft: Draft<'a>,
    /// Maximum number of guesses in one forward pass, 1 to 64; 0: 8.
    pub draft_tokens: usize,
}

struct Inner(Handle);
// SAFETY: through a shared reference only gemma_session_cancel() is called, which is thread-safe
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}
impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this is the last owner
        unsafe { ffi::gemma_session_free(self.0) }
    }
}

/// Cancels the computations of a session from any thread.
#[derive(Clone)]
pub struct Canceller {
    session: Arc<Inner>,
    _model: Model,         // must be freed after the session
    _draft: Option<Model>, // must be freed after the session
}

impl Canceller {
    /// Cancels the running call, which ends as soon as possible, and all later calls until [`Session::clear_cancel`].
    pub fn cancel(&self) {
        // SAFETY: may be called at any time from any thread
        unsafe { ffi::gemma_session_cancel(self.session.0) }
    }
}

/// One sequence of tokens.
pub struct Session {
    inner: Arc<Inner>, // declared before the models, so that it is freed before them
    model: Model,
    _draft: Option<Model>,
}

impl Session {
    /// Creates a session and allocates all memory that it needs.
    pub fn new(model: &Model, options: SessionOptions<'_>) -> Result<Session> {
        let draft_model = match options.draft {
            Draft::Model(model) => Some(model.clone()),
            _ => None,
        };
        let c = ffi::SessionOptions {
            size: size_of::<ffi::SessionOptions>(),
            n_ctx: options.n_ctx,
            chunk: 0,
            logit_rows: options.logit_rows,
            max_memory: options.max_memory,
            n_threads: options.n_threads,
            kv_float32: 0,
            kv_type: 0,
            draft_tokens: options.draft_tokens,
            draft_model: draft_model.as_ref().map_or(null_mut(), |m| m.handle()),
            draft: match options.draft {
                Draft::Off => 0,
                Draft::Lookup => 1,
                Draft::Model(_) => 2,
            },
        };
        // SAFETY: the session holds both models, so they outlive it
        let handle = checked(|error| unsafe { ffi::gemma_session_new(model.handle(), &c, error) })?;
        Ok(Session {
            inner: Arc::new(Inner(handle)),
            model: model.clone(),
            _draft: draft_model,
        })
    }

    /// The model of the session.
    pub fn model(&self) -> &Model {
        &self.model
    }
    /// Number of tokens in the sequence.
    pub fn n_past(&self) -> usize {
        // SAFETY: reads a number; nothing is computed while there is a shared reference
        unsafe { ffi::gemma_session_n_past(self.inner.0) }
    }
    /// Maximum number of tokens of the sequence.
    pub fn n_ctx(&self) -> usize {
        // SAFETY: as above
        unsafe { ffi::gemma_session_n_ctx(self.inner.0) }
    }
    /// A handle by which another thread can cancel this session.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            session: self.inner.clone(),
            _model: self.model.clone(),
            _draft: self._draft.clone(),
        }
    }
    /// Ends the effect of [`Canceller::cancel`].
    pub fn clear_cancel(&mut self) {
        // SAFETY: may be called at any time
        unsafe { ffi::gemma_session_clear_cancel(self.inner.0) }
    }

    /// Makes the sequence equal to `ids`. The common prefix with the present sequence is kept, and the remaining tokens are
    /// computed. Returns the number of tokens that were kept.
    pub fn set_tokens(&mut self, ids: &[i32]) -> Result<usize> {
        let mut reused = 0;
        // SAFETY: C reads ids.len() numbers
        checked(|error| unsafe {
            ffi::gemma_session_set_tokens(self.inner.0, ids.as_ptr(), ids.len(), &mut reused, error)
        })?;
        Ok(reused)
    }
    /// Appends tokens to the sequence.
    pub fn append(&mut self, ids: &[i32]) -> Result<()> {
        // SAFETY: C reads ids.len() numbers
        checked(|error| unsafe {
            ffi::gemma_session_append(self.inner.0, ids.as_ptr(), ids.len(), error)
        })
        .map(drop)
    }
    /// Removes all but the first `n` tokens.
    pub fn truncate(&mut self, n: usize) -> Result<()> {
        // SAFETY: plain numbers
        checked(|error| unsafe { ffi::gemma_session_truncate(self.inner.0, n, error) }).map(drop)
    }

    /// Logits after the last token, `[vocab_size]`, without a copy: the session cannot compute while they are borrowed.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let n = self.model.info().vocab_size;
        // SAFETY: C returns vocab_size floats, valid until the next call that changes the sequence, which needs &mut self
        checked(|error| unsafe { ffi::gemma_session_logits(self.inner.0, error) })
            .map(|first| unsafe { std::slice::from_raw_parts(first, n) })
    }
    /// Appends `ids` to the sequence and returns the natural logarithm of the probability of each, given the tokens
    /// before it.
    pub fn score(&mut self, ids: &[i32]) -> Result<Vec<f64>> {
        let mut out = vec![0.0; ids.len()];
        // SAFETY: C reads ids.len() ids and writes as many numbers
        checked(|error| unsafe {
            ffi::gemma_session_score(
                self.inner.0,
                ids.as_ptr(),
                ids.len(),
                out.as_mut_ptr(),
                error,
            )
        })?;
        Ok(out)
    }

    /// Generates a continuation of the sequence: an iterator that computes one token at a time.
    pub fn stream(&mut self, options: &GenerateOptions<'_>) -> Result<Stream<'_>> {
        let given = options.given()?;
        let how = options.sampling.to_c();
        // SAFETY: the stream owns the sampler and borrows the session; C copies the options
        let sampler = checked(|error| unsafe { ffi::gemma_sampler_new(&how, error) })?;
        let made = checked(|error| unsafe {
            ffi::gemma_session_stream(self.inner.0, sampler, &given.c, error)
        });
        match made {
            Ok(stream) => Ok(Stream {
                stream,
                sampler,
                is_over: false,
                _session: PhantomData,
            }),
            Err(e) => {
                unsafe { ffi::gemma_sampler_free(sampler) };
                Err(e)
            }
        }
    }
    /// Generates a continuation of the sequence and returns its whole text.
    pub fn generate(&mut self, options: &GenerateOptions<'_>) -> Result<String> {
        self.stream(options)?
            .map(|token| token.map(|t| t.text))
            .collect()
    }
}

/// A running generation. Dropping it ends the generation.
pub struct Stream<'s> {
    stream: Handle,
    sampler: Handle,
    is_over: bool,
    _session: PhantomData<&'s mut Session>,
}

impl Stream<'_> {
    /// Why the generation ended; `None` while it runs.
    pub fn reason(&self) -> Option<StopReason> {
        let c = self.result();
        if self.is_over {
            Some(StopReason::from_c(c.reason))
        } else {
            None
        }
    }
    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let c = self.result();
        Counts {
            n_steps: c.n_steps,
            n_drafted: c.n_drafted,
            n_accepted: c.n_accepted,
        }
    }

    fn result(&self) -> ffi::GenerateResult {
        let mut c = ffi::GenerateResult {
            size: size_of::<ffi::GenerateResult>(),
            n_tokens: 0,
            reason: 0,
            seconds: 0.0,
            first_token_seconds: 0.0,
            n_steps: 0,
            n_drafted: 0,
            n_accepted: 0,
        };
        // SAFETY: the structure is that of C, with its size set
        let _ =
            checked(|error| unsafe { ffi::gemma_stream_get_result(self.stream, &mut c, error) });
        c
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<Token>;
    fn next(&mut self) -> Option<Result<Token>> {
        if self.is_over {
            return None;
        }
        let mut token = Token::EMPTY;
        // SAFETY: the token's text is valid until the next call
        match checked(|error| unsafe { ffi::gemma_stream_next(self.stream, &mut token, error) }) {
            Ok(1) => Some(Ok(unsafe { Token::from_c(&token) })),
            Ok(_) => {
                self.is_over = true;
                None
            }
            Err(e) => {
                self.is_over = true;
                Some(Err(e))
            }
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: this is the only owner of both
        unsafe {
            ffi::gemma_stream_free(self.stream);
            ffi::gemma_sampler_free(self.sampler);
        }
    }
}

/// The turns of a conversation. Answers keep their token ids, so that they are not computed again.
pub struct Conversation {
    handle: Handle,
    _model: Model, // must be freed after the conversation
}
// SAFETY: one thread at a time uses it, as &mut ensures
unsafe impl Send for Conversation {}

impl Conversation {
    /// Creates an empty conversation in the model's chat template.
    pub fn new(model: &Model) -> Result<Conversation> {
        // SAFETY: NULL selects the model's chat template
        let handle = checked(|error| unsafe {
            ffi::gemma_conversation_new(model.handle(), std::ptr::null(), error)
        })?;
        Ok(Conversation {
            handle,
            _model: model.clone(),
        })
    }
    /// Number of messages.
    pub fn n_messages(&self) -> usize {
        // SAFETY: reads a number
        unsafe { ffi::gemma_conversation_n_messages(self.handle) }
    }
    /// Adds a message. `ids`: the ids of a generated answer; empty for other messages.
    pub fn add(&mut self, role: &str, content: &str, ids: &[i32]) -> Result<()> {
        let (role, content) = (c_string(role)?, c_string(content)?);
        // SAFETY: C copies all arguments
        checked(|error| unsafe {
            ffi::gemma_conversation_add(
                self.handle,
                role.as_ptr(),
                content.as_ptr(),
                ids.as_ptr(),
                ids.len(),
                error,
            )
        })
        .map(drop)
    }
    /// Removes all but the first `n` messages.
    pub fn truncate(&mut self, n: usize) -> Result<()> {
        // SAFETY: plain numbers
        checked(|error| unsafe { ffi::gemma_conversation_truncate(self.handle, n, error) })
            .map(drop)
    }
    /// The token ids of all messages, up to the beginning of the next answer.
    pub fn encode(&self) -> Result<Vec<i32>> {
        // SAFETY: C writes at most `capacity` ids
        list(1024, |out, capacity, n, error| unsafe {
            ffi::gemma_conversation_encode(self.handle, 0, out, capacity, n, error)
        })
    }

    /// Asks a question, passes the text of the answer to `on_text` while it is generated, and returns it. Both messages
    /// are added to the conversation; on an error, neither is.
    pub fn ask(
        &mut self,
        session: &mut Session,
        question: &str,
        options: &GenerateOptions<'_>,
        on_text: impl FnMut(&str),
    ) -> Result<String> {
        let before = self.n_messages();
        self.add("user", question, &[])?;
        let answered = self.answer(session, options, on_text);
        if answered.is_err() {
            self.truncate(before)?;
        }
        answered
    }

    fn answer(
        &mut self,
        session: &mut Session,
        options: &GenerateOptions<'_>,
        mut on_text: impl FnMut(&str),
    ) -> Result<String> {
        session.set_tokens(&self.encode()?)?;
        let mut stream = session.stream(options)?;
        let (mut text, mut ids) = (String::new(), Vec::new());
        for token in stream.by_ref() {
            let token = token?;
            on_text(&token.text);
            text.push_str(&token.text);
            ids.extend(token.id);
        }
        if !matches!(
            stream.reason(),
            Some(StopReason::EndOfTurn | StopReason::MaxTokens | StopReason::ContextFull)
        ) {
            ids.clear(); // a stop string cut the text, which the ids no longer spell
        }
        drop(stream);
        self.add("assistant", &text, &ids)?;
        Ok(text)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // SAFETY: this is the only owner
        unsafe { ffi::gemma_conversation_free(self.handle) }
    }
}
