//! Sessions: one sequence, its keys and values, and the logits after its last token.
use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::error::{c_string, checked, list, Result};
use crate::ffi::{self, Handle};
use crate::generation::{Counts, GenerateOptions, StopReason, Token};
use crate::model::Model;

/// Where guesses of the next tokens come from, which are verified several in a pass. Answers are the same with and without.
#[derive(Clone, Copy, Debug, Default)]
pub enum Draft<'a> {
    /// No guesses.
    #[default]
    Off,
    /// What followed in the sequence before.
    Lookup,
    /// A smaller model of the same vocabulary.
    Model(&'a Model),
}

/// What a session is made of; zeros are defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions<'a> {
    /// Tokens it can hold; 0: the model's context, at most 8192, within `max_memory`.
    pub n_ctx: usize,
    /// Tokens that [`Session::score`] computes at a time.
    pub logit_rows: usize,
    /// Bytes that the file and this session may take together; 0: no limit.
    pub max_memory: usize,
    /// 0: one for each physical core.
    pub n_threads: u32,
    /// Guesses of the next tokens.
    pub draft: Draft<'a>,
    /// Guesses of one pass, 1 to 64; 0: 8.
    pub draft_tokens: usize,
}

struct Inner(Handle);
// SAFETY: only gemma_session_cancel() is called through a shared reference, which any thread may
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}
impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the last owner
        unsafe { ffi::gemma_session_free(self.0) }
    }
}

/// Ends what a session computes, from any thread.
#[derive(Clone)]
pub struct Canceller {
    session: Arc<Inner>,
    _model: Model,         // must be freed after the session
    _draft: Option<Model>, // so must this
}

impl Canceller {
    /// The call that runs, and later ones, end as soon as they can, until [`Session::clear_cancel`].
    pub fn cancel(&self) {
        // SAFETY: may be called at any time from any thread
        unsafe { ffi::gemma_session_cancel(self.session.0) }
    }
}

/// One sequence of tokens.
pub struct Session {
    inner: Arc<Inner>, // freed before the model
    model: Model,
    _draft: Option<Model>, // so is this
}

impl Session {
    /// Takes all memory that the session will need.
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
        // SAFETY: both models live at least as long as the session, which holds them
        let handle = checked(|error| unsafe { ffi::gemma_session_new(model.handle(), &c, error) })?;
        Ok(Session {
            inner: Arc::new(Inner(handle)),
            model: model.clone(),
            _draft: draft_model,
        })
    }

    /// The model it computes with.
    pub fn model(&self) -> &Model {
        &self.model
    }
    /// Tokens in the sequence.
    pub fn n_past(&self) -> usize {
        // SAFETY: reads a number; nobody computes while there is a shared reference
        unsafe { ffi::gemma_session_n_past(self.inner.0) }
    }
    /// Tokens it can hold.
    pub fn n_ctx(&self) -> usize {
        // SAFETY: as above
        unsafe { ffi::gemma_session_n_ctx(self.inner.0) }
    }
    /// For another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            session: self.inner.clone(),
            _model: self.model.clone(),
            _draft: self._draft.clone(),
        }
    }
    /// Lets the session work again.
    pub fn clear_cancel(&mut self) {
        // SAFETY: may be called at any time
        unsafe { ffi::gemma_session_clear_cancel(self.inner.0) }
    }

    /// Makes the sequence equal to `ids`: what it begins with already is kept, the rest is computed. Returns how many were
    /// kept.
    pub fn set_tokens(&mut self, ids: &[i32]) -> Result<usize> {
        let mut reused = 0;
        // SAFETY: C reads ids.len() numbers
        checked(|error| unsafe {
            ffi::gemma_session_set_tokens(self.inner.0, ids.as_ptr(), ids.len(), &mut reused, error)
        })?;
        Ok(reused)
    }
    /// Adds tokens.
    pub fn append(&mut self, ids: &[i32]) -> Result<()> {
        // SAFETY: C reads ids.len() numbers
        checked(|error| unsafe {
            ffi::gemma_session_append(self.inner.0, ids.as_ptr(), ids.len(), error)
        })
        .map(drop)
    }
    /// Forgets all but the first `n` tokens.
    pub fn truncate(&mut self, n: usize) -> Result<()> {
        // SAFETY: plain numbers
        checked(|error| unsafe { ffi::gemma_session_truncate(self.inner.0, n, error) }).map(drop)
    }

    /// Logits after the last token, without a copy: as long as they are borrowed, nothing is computed.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let n = self.model.info().vocab_size;
        // SAFETY: C gives vocab_size floats, valid until the next call that changes the sequence, which needs &mut self
        checked(|error| unsafe { ffi::gemma_session_logits(self.inner.0, error) })
            .map(|first| unsafe { std::slice::from_raw_parts(first, n) })
    }
    /// Natural logarithms of the probability of each id after the sequence and the ids before it. They join it.
    pub fn score(&mut self, ids: &[i32]) -> Result<Vec<f64>> {
        let mut out = vec![0.0; ids.len()];
        // SAFETY: C reads, and writes, ids.len() numbers
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

    /// Chooses tokens after the sequence until something ends it: an iterator, one computed at a time.
    pub fn stream(&mut self, options: &GenerateOptions<'_>) -> Result<Stream<'_>> {
        let given = options.given()?;
        let how = options.sampling.to_c();
        // SAFETY: the sampler is the stream's own; C copies the options; the stream borrows the session
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
    /// The whole answer.
    pub fn generate(&mut self, options: &GenerateOptions<'_>) -> Result<String> {
        self.stream(options)?
            .map(|token| token.map(|t| t.text))
            .collect()
    }
}

/// A generation under way. Dropping it ends it.
pub struct Stream<'s> {
    stream: Handle,
    sampler: Handle,
    is_over: bool,
    _session: PhantomData<&'s mut Session>,
}

impl Stream<'_> {
    /// Why it ended, when it has.
    pub fn reason(&self) -> Option<StopReason> {
        let c = self.result();
        if self.is_over {
            Some(StopReason::from_c(c.reason))
        } else {
            None
        }
    }
    /// What it took up to now.
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
        // SAFETY: the structure is C's, its size is set
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
        // SAFETY: the only owner of both
        unsafe {
            ffi::gemma_stream_free(self.stream);
            ffi::gemma_sampler_free(self.sampler);
        }
    }
}

/// Turns with a model. Answers keep their ids, so that nothing of them is computed again.
pub struct Conversation {
    handle: Handle,
    _model: Model, // freed after it
}
// SAFETY: one thread at a time, as &mut sees to
unsafe impl Send for Conversation {}

impl Conversation {
    /// In the model's own turns.
    pub fn new(model: &Model) -> Result<Conversation> {
        // SAFETY: NULL is the model's own
        let handle = checked(|error| unsafe {
            ffi::gemma_conversation_new(model.handle(), std::ptr::null(), error)
        })?;
        Ok(Conversation {
            handle,
            _model: model.clone(),
        })
    }
    /// Turns.
    pub fn n_messages(&self) -> usize {
        // SAFETY: reads a number
        unsafe { ffi::gemma_conversation_n_messages(self.handle) }
    }
    /// Adds a turn. `ids`: of an answer, as they were generated; else none.
    pub fn add(&mut self, role: &str, content: &str, ids: &[i32]) -> Result<()> {
        let (role, content) = (c_string(role)?, c_string(content)?);
        // SAFETY: C copies all of it
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
    /// Forgets all but the first turns.
    pub fn truncate(&mut self, n: usize) -> Result<()> {
        // SAFETY: plain numbers
        checked(|error| unsafe { ffi::gemma_conversation_truncate(self.handle, n, error) })
            .map(drop)
    }
    /// The ids of all turns, ending where the answer begins.
    pub fn encode(&self) -> Result<Vec<i32>> {
        // SAFETY: C writes what fits
        list(1024, |out, capacity, n, error| unsafe {
            ffi::gemma_conversation_encode(self.handle, 0, out, capacity, n, error)
        })
    }

    /// The answer to a question; both join the conversation. `on_text` hears it as it comes. An error leaves neither.
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
            ids.clear(); // a stop string cuts text, not tokens
        }
        drop(stream);
        self.add("assistant", &text, &ids)?;
        Ok(text)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // SAFETY: the only owner
        unsafe { ffi::gemma_conversation_free(self.handle) }
    }
}
