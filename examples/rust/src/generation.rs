//! Options and results of generations.
use std::ffi::{c_char, CString};
use std::mem::size_of;
use std::ptr::null_mut;

use crate::error::{c_string, Result};
use crate::ffi;
use crate::model::Grammar;

/// How the next token is chosen; by default the likeliest one.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Logits are divided by this; 0: always choose the likeliest token.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0: all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probabilities sum to at least this; 1: all.
    pub top_p: f32,
    /// Keep tokens whose probability is at least `min_p` times that of the likeliest one; 0: all.
    pub min_p: f32,
    /// Penalty on the logits of recent tokens; 1: none.
    pub repeat_penalty: f32,
    /// Number of recent tokens that are penalised.
    pub repeat_last: usize,
    /// Seed of the random numbers: the same seed, options and logits give the same tokens.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: 64,
            seed: 0,
        }
    }
}

impl Sampling {
    pub(crate) fn to_c(self) -> ffi::SamplerOptions {
        ffi::SamplerOptions {
            size: size_of::<ffi::SamplerOptions>(),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last: self.repeat_last,
            seed: self.seed,
        }
    }
}

/// Options of a generation.
#[derive(Clone, Copy)]
pub struct GenerateOptions<'a> {
    /// Maximum number of tokens to generate.
    pub max_tokens: usize,
    /// Generation ends before the first occurrence of one of these texts.
    pub stop: &'a [&'a str],
    /// Continue after tokens that end a turn.
    pub ignore_end: bool,
    /// Compute [`Token::log_probability`].
    pub log_probabilities: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer must be a text of this grammar.
    pub grammar: Option<&'a Grammar>,
    /// Use guesses if the session was created with a [`Draft`](crate::Draft); answers are the same without.
    pub draft: bool,
}

impl Default for GenerateOptions<'_> {
    fn default() -> Self {
        GenerateOptions {
            max_tokens: 512,
            stop: &[],
            ignore_end: false,
            log_probabilities: false,
            sampling: Sampling::default(),
            grammar: None,
            draft: true,
        }
    }
}

/// Options in the form of the C interface, with the memory that they point to. C copies what it needs during the
/// call.
pub(crate) struct Given {
    pub(crate) c: ffi::GenerateOptions,
    _stops: Vec<CString>,
    _pointers: Vec<*const c_char>,
}

impl GenerateOptions<'_> {
    pub(crate) fn given(&self) -> Result<Given> {
        let stops = self
            .stop
            .iter()
            .map(|s| c_string(s))
            .collect::<Result<Vec<_>>>()?;
        let pointers: Vec<*const c_char> = stops.iter().map(|s| s.as_ptr()).collect();
        let c = ffi::GenerateOptions {
            size: size_of::<ffi::GenerateOptions>(),
            max_tokens: self.max_tokens,
            stop_strings: pointers.as_ptr(),
            n_stop_strings: pointers.len(),
            ignore_end: self.ignore_end as i32,
            log_probabilities: self.log_probabilities as i32,
            on_token: null_mut(),
            pick: null_mut(),
            user: null_mut(),
            process: null_mut(),
            grammar: self.grammar.map_or(null_mut(), |g| g.0),
            no_draft: !self.draft as i32,
        };
        Ok(Given {
            c,
            _stops: stops,
            _pointers: pointers,
        })
    }
}

/// One step of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// `None`: the step only returns text that had been held back.
    pub id: Option<i32>,
    /// New text in whole characters; often empty.
    pub text: String,
    /// Natural logarithm of the token's probability if requested, otherwise 0.
    pub log_probability: f64,
}

impl Token {
    pub(crate) const EMPTY: ffi::Token = ffi::Token {
        id: -1,
        text: std::ptr::null(),
        text_length: 0,
        log_probability: 0.0,
    };

    /// # Safety
    /// `c.text` must point to `c.text_length` bytes.
    pub(crate) unsafe fn from_c(c: &ffi::Token) -> Token {
        let bytes = std::slice::from_raw_parts(c.text.cast::<u8>(), c.text_length);
        let id = if c.id < 0 { None } else { Some(c.id) };
        Token {
            id,
            text: String::from_utf8_lossy(bytes).into_owned(),
            log_probability: c.log_probability,
        }
    }
}

/// Counts of a generation's forward passes and guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forward passes that computed tokens of the answer.
    pub n_steps: usize,
    /// Guesses that these passes verified.
    pub n_drafted: usize,
    /// Guesses that were right.
    pub n_accepted: usize,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended its turn.
    EndOfTurn,
    /// A stop string was generated.
    StopString,
    /// `max_tokens` tokens were generated.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The generation was cancelled or dropped before its end.
    Cancelled,
}

impl StopReason {
    pub(crate) fn from_c(reason: i32) -> StopReason {
        match reason {
            0 => StopReason::EndOfTurn,
            1 => StopReason::StopString,
            2 => StopReason::MaxTokens,
            3 => StopReason::ContextFull,
            _ => StopReason::Cancelled,
        }
    }
}
